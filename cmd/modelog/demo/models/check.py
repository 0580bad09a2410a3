"""Check the demo's models against what models.json says about them.

    pip install -r requirements.txt
    python check.py [directory]

Every recorded file is hashed again, every model is loaded and its metrics are
measured again on test.csv. One line is printed per model file, on standard error
if it differs from the record; the exit status is 1 when anything differs.

The directory defaults to the one this script is in. train.py uses the same
functions to make the record, so a recorded number and a checked one can only
differ when the files or the libraries do.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
import onnxruntime
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

HERE = Path(__file__).resolve().parent
RECORD = "models.json"
TARGET = "target"
INPUT = "X"
LABEL_OUTPUT, PROBABILITY_OUTPUT = "label", "probabilities"

# ONNX Runtime names element types in its own way, MLflow in NumPy's.
DTYPES = {"tensor(float)": "float32", "tensor(int64)": "int64"}


class CheckError(Exception):
    """Something differs from the record; the text says what."""


class Data(NamedTuple):
    """A data set as the models take it."""

    features: NDArray[np.float64]
    target: NDArray[np.int64]

    @property
    def inputs(self) -> NDArray[np.float32]:
        """The features as the signature types them, for joblib and ONNX alike."""
        return self.features.astype(np.float32)


class Prediction(NamedTuple):
    """What a model answers: the class of each row and the probability of class 1."""

    labels: NDArray[np.int64]
    scores: NDArray[np.float64]


def sha256(path: Path) -> str:
    """The hash by which the record identifies a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_data(path: Path) -> Data:
    """Read a data set; the target is the last column."""
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    if header[-1] != TARGET:
        raise CheckError(f"{path.name}: last column is {header[-1]!r}, not {TARGET!r}")
    table = np.array(rows, dtype=np.float64)
    return Data(table[:, :-1], table[:, -1].astype(np.int64))


def open_onnx(path: Path) -> onnxruntime.InferenceSession:
    """Load an ONNX model on the CPU, the one provider that is always there.

    Errors only: the runtime also warns of constants that a converter left unused.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def predict_joblib(path: Path, data: Data) -> Prediction:
    """Ask a scikit-learn model. Loading runs code: check the hash first."""
    model = joblib.load(path)
    return Prediction(model.predict(data.inputs), model.predict_proba(data.inputs)[:, 1])


def predict_onnx(path: Path, data: Data) -> Prediction:
    """Ask an ONNX model."""
    outputs = [LABEL_OUTPUT, PROBABILITY_OUTPUT]
    labels, probabilities = open_onnx(path).run(outputs, {INPUT: data.inputs})
    return Prediction(labels, probabilities[:, 1])


PREDICTORS = {".joblib": predict_joblib, ".onnx": predict_onnx}


def measure(prediction: Prediction, target: NDArray[np.int64]) -> dict[str, float]:
    """The recorded metrics, rounded so that a last-bit difference does not count."""
    metrics = {
        "accuracy": accuracy_score(target, prediction.labels),
        "f1": f1_score(target, prediction.labels),
        "roc_auc": roc_auc_score(target, prediction.scores),
    }
    return {name: round(float(value), 4) for name, value in metrics.items()}


def signature(path: Path) -> dict[str, list[dict[str, Any]]]:
    """The signature of an ONNX model, in MLflow's tensor style."""
    session = open_onnx(path)
    return {
        "inputs": [tensor(node) for node in session.get_inputs()],
        "outputs": [tensor(node) for node in session.get_outputs()],
    }


def tensor(node: onnxruntime.NodeArg) -> dict[str, Any]:
    """One input or output; a dimension ONNX leaves open is -1 in MLflow."""
    shape = [size if isinstance(size, int) else -1 for size in node.shape]
    return {
        "name": node.name,
        "type": "tensor",
        "tensor-spec": {"dtype": DTYPES[node.type], "shape": shape},
    }


def expect(what: str, recorded: object, found: object) -> None:
    """Fail unless what was found is what was recorded."""
    if recorded != found:
        raise CheckError(f"{what}: recorded {recorded}, found {found}")


def installed(library: str) -> str | None:
    """The installed version of a library, None if there is none."""
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def check_libraries(recorded: dict[str, str]) -> None:
    """Another version may load a joblib file wrongly without saying so."""
    for library, recorded_version in recorded.items():
        expect(f"{library} (see requirements.txt)", recorded_version, installed(library))


def check_file(directory: Path, entry: dict[str, Any]) -> Path:
    """Check a file's bytes and return its path."""
    path: Path = directory / entry["file"]
    if not path.is_file():
        raise CheckError(f"{path.name}: no such file")
    expect(f"{path.name}: size", entry["size"], path.stat().st_size)
    expect(f"{path.name}: sha256", entry["sha256"], sha256(path))
    return path


def check_datasets(directory: Path, entries: list[dict[str, Any]]) -> dict[str, Data]:
    """Check the data sets and return them by role."""
    datasets = {}
    for entry in entries:
        data = read_data(check_file(directory, entry))
        expect(f"{entry['file']}: rows", entry["rows"], len(data.target))
        datasets[entry["role"]] = data
    return datasets


def check_model(
    directory: Path, generation: dict[str, Any], entry: dict[str, Any], test: Data
) -> str:
    """Check one model file and return the line to print about it."""
    path = check_file(directory, entry)
    metrics = measure(PREDICTORS[path.suffix](path, test), test.target)
    expect(f"{path.name}: metrics", generation["metrics"], metrics)
    if path.suffix == ".onnx":
        expect(f"{path.name}: signature", generation["signature"], signature(path))
    return f"{path.name}: ok, " + ", ".join(f"{k} {v:.4f}" for k, v in metrics.items())


def check_models(directory: Path, generations: list[dict[str, Any]], test: Data) -> int:
    """Check every model, also after a failure, and return how many failed."""
    failed = 0
    for generation in generations:
        for entry in generation["files"]:
            try:
                print(check_model(directory, generation, entry, test), flush=True)
            except CheckError as error:
                failed += 1
                print(error, file=sys.stderr)
    return failed


def read_record(path: Path) -> dict[str, Any]:
    """Read models.json."""
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckError(f"cannot read the record: {error}") from error
    return record


def check(directory: Path) -> None:
    """Check a directory; nothing is measured with doubtful libraries or data."""
    record = read_record(directory / RECORD)
    check_libraries(record["libraries"])
    datasets = check_datasets(directory, record["datasets"])
    if failed := check_models(directory, record["generations"], datasets["test"]):
        raise CheckError(f"{failed} model file(s) differ from {RECORD}")


def main() -> int:
    """Run the check from the command line."""
    parser = argparse.ArgumentParser(description="Check the models against models.json.")
    parser.add_argument("directory", nargs="?", type=Path, default=HERE)
    try:
        check(parser.parse_args().directory)
    except CheckError as error:
        print(f"check failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
