"""Train the demo's models: three generations of one breast-cancer classifier.

    pip install -r requirements.txt
    python train.py [directory]
    python check.py [directory]

The data is the Wisconsin diagnostic breast-cancer set that scikit-learn ships:
569 tumours, 30 measurements each, target 0 = malignant, 1 = benign. 30 % of
the rows are held out as test.csv; nothing below is fitted or tuned on them.

v1  Logistic regression on mean radius, texture and smoothness. A baseline.
v2  Logistic regression on all 30 measurements, standardised. Better than v1 in
    every metric by a wide margin.
v3  v2 and a calibrated support vector machine, averaged. It ranks a little
    better than v2 in cross-validation on train.csv (roc_auc), though the folds
    flatter it because they also tuned it, and misjudges one row more than v2
    in test.csv: a challenger to compare before anyone promotes it.

All three take the same 30 float32 columns and answer in the same form, so one
can replace another. f1 takes class 1, benign, as the positive class, and
roc_auc the probability of it.

What is reproducible
--------------------
With the libraries of requirements.txt, two runs on one machine write the same
bytes into every file, whatever the hash seed or the number of threads. On
another kind of processor the linear algebra may round the last bit of a
coefficient differently: then joblib and ONNX files, and with them their hashes
in models.json, may differ. The CSV files stay byte-identical, and the metrics
are rounded so coarsely that they stay the same.
"""

from __future__ import annotations

import argparse
import csv
import json
import platform
import warnings
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from onnx import ModelProto
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.base import ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    StratifiedKFold,
    cross_validate,
    train_test_split,
)
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

from check import (
    HERE,
    INPUT,
    PREDICTORS,
    RECORD,
    TARGET,
    Data,
    measure,
    read_data,
    sha256,
    signature,
)

SEED = 42
TEST_SHARE = 0.3
FOLDS = StratifiedKFold(n_splits=5, shuffle=True, random_state=SEED)
METRICS = ("accuracy", "f1", "roc_auc")
DATASETS = {"train": "train.csv", "test": "test.csv"}
LIBRARIES = ("joblib", "numpy", "onnx", "onnxruntime", "scikit-learn", "scipy", "skl2onnx")

# Old enough for runtimes other than the pinned one, new enough for every operator used.
OPSETS = {"": 18, "ai.onnx.ml": 3}

# ONNX computes in float32, scikit-learn in float64; probabilities differ by less than this.
TOLERANCE = 1e-5

BASELINE_FEATURES = ("mean radius", "mean texture", "mean smoothness")
SVM_GRID = {"svm__C": [0.1, 1.0, 10.0, 100.0], "svm__gamma": [0.001, 0.01, 0.1]}


@dataclass(frozen=True)
class Generation:
    """A model to train; hyperparameters names the parameters worth recording."""

    name: str
    algorithm: str
    features: tuple[str, ...]
    estimator: ClassifierMixin
    hyperparameters: tuple[str, ...]
    base: str | None = None


def write_datasets(directory: Path) -> tuple[str, ...]:
    """Split and write the data, and return the names of the features.

    Rows keep the order of the original and numbers their shortest exact form,
    so the bytes depend on the seed alone.
    """
    source = load_breast_cancer()
    features = tuple(str(name) for name in source.feature_names)
    train, test = train_test_split(
        np.arange(len(source.target)),
        test_size=TEST_SHARE,
        stratify=source.target,
        random_state=SEED,
    )
    for role, rows in (("train", train), ("test", test)):
        with (directory / DATASETS[role]).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([*features, TARGET])
            for row in sorted(rows):
                writer.writerow([*source.data[row].tolist(), source.target[row]])
    return features


def scaled_logistic_regression() -> Pipeline:
    """The estimator of v2, which v3 takes as a member."""
    return Pipeline(
        [("scale", StandardScaler()), ("logistic", LogisticRegression(C=1.0, max_iter=1000))]
    )


def tuned_svm(train: Data) -> SVC:
    """The support vector machine of the grid that ranks best in cross-validation."""
    pipeline = Pipeline([("scale", StandardScaler()), ("svm", SVC(kernel="rbf"))])
    search = GridSearchCV(pipeline, SVM_GRID, scoring="roc_auc", cv=FOLDS, refit=False)
    best = search.fit(train.features, train.target).best_params_
    return SVC(kernel="rbf", C=best["svm__C"], gamma=best["svm__gamma"])


def first_generation(features: tuple[str, ...]) -> Generation:
    """A baseline: it picks its columns itself, so that it takes the same input."""
    columns = [features.index(name) for name in BASELINE_FEATURES]
    select = ColumnTransformer([("select", "passthrough", columns)])
    logistic = LogisticRegression(C=1.0, max_iter=5000)
    return Generation(
        name="v1",
        algorithm="Logistic regression on three features",
        features=BASELINE_FEATURES,
        estimator=Pipeline([("columns", select), ("logistic", logistic)]),
        hyperparameters=("logistic__C", "logistic__max_iter", "logistic__solver"),
    )


def second_generation(features: tuple[str, ...]) -> Generation:
    """The whole of the data; without scaling the large columns would dominate."""
    return Generation(
        name="v2",
        algorithm="Logistic regression on all features, standardised",
        features=features,
        estimator=scaled_logistic_regression(),
        hyperparameters=("logistic__C", "logistic__max_iter", "logistic__solver"),
    )


def third_generation(features: tuple[str, ...], train: Data) -> Generation:
    """v2 with a second opinion that is not linear.

    The support vector machine is calibrated because only probabilities can be
    averaged with those of v2. flatten_transform has no effect on predictions;
    skl2onnx converts no other value.
    """
    calibrated = CalibratedClassifierCV(
        tuned_svm(train), method="sigmoid", cv=FOLDS, ensemble=False
    )
    svm = Pipeline([("scale", StandardScaler()), ("calibrate", calibrated)])
    members = [("v2", scaled_logistic_regression()), ("svm", svm)]
    return Generation(
        name="v3",
        algorithm="Mean of v2 and a calibrated support vector machine tuned by grid search",
        features=features,
        estimator=VotingClassifier(members, voting="soft", flatten_transform=False),
        hyperparameters=(
            "voting",
            "v2__logistic__C",
            "v2__logistic__max_iter",
            "v2__logistic__solver",
            "svm__calibrate__estimator__C",
            "svm__calibrate__estimator__gamma",
            "svm__calibrate__estimator__kernel",
            "svm__calibrate__method",
            "svm__calibrate__cv",
        ),
        base="v2",
    )


def cross_validation(estimator: ClassifierMixin, train: Data) -> dict[str, float]:
    """Mean metrics over the folds of train.csv: what one knows before the test."""
    scores = cross_validate(estimator, train.features, train.target, cv=FOLDS, scoring=METRICS)
    return {name: round(float(scores[f"test_{name}"].mean()), 4) for name in METRICS}


def write_model(directory: Path, generation: Generation) -> list[Path]:
    """Write a trained model in both formats."""
    paths = [directory / f"{generation.name}{suffix}" for suffix in PREDICTORS]
    joblib_path, onnx_path = paths
    joblib.dump(generation.estimator, joblib_path)
    onnx_path.write_bytes(to_onnx(generation).SerializeToString(deterministic=True))
    return paths


def to_onnx(generation: Generation) -> ModelProto:
    """Convert a trained model into the same bytes every time.

    Left alone, skl2onnx names the graph at random and lists the operator sets
    in the order of a Python set, which changes with the hash seed.
    """
    estimator = generation.estimator
    columns = estimator.n_features_in_
    with warnings.catch_warnings():
        # skl2onnx asks every SVC for attributes that scikit-learn is phasing out.
        warnings.filterwarnings("ignore", "Attribute `prob[AB]_`", FutureWarning)
        model: ModelProto = convert_sklearn(
            estimator,
            name=f"breast_cancer_{generation.name}",
            initial_types=[(INPUT, FloatTensorType([None, columns]))],
            options={"zipmap": False},
            target_opset=OPSETS,
        )
    opsets = sorted(model.opset_import, key=lambda opset: opset.domain)
    del model.opset_import[:]
    model.opset_import.extend(opsets)
    return model


def measure_both(paths: list[Path], test: Data) -> dict[str, float]:
    """Measure a model, after making sure that its two formats agree row by row."""
    native, onnx = (PREDICTORS[path.suffix](path, test) for path in paths)
    np.testing.assert_array_equal(onnx.labels, native.labels)
    np.testing.assert_allclose(onnx.scores, native.scores, rtol=0, atol=TOLERANCE)
    metrics = measure(native, test.target)
    if measure(onnx, test.target) != metrics:
        raise ValueError(f"{paths[1].name} does not measure like {paths[0].name}")
    return metrics


def describe_file(path: Path) -> dict[str, Any]:
    """A file as the record identifies it."""
    return {"file": path.name, "sha256": sha256(path), "size": path.stat().st_size}


def make(directory: Path, generation: Generation, train: Data, test: Data) -> dict[str, Any]:
    """Train, write and measure one generation, and return its record."""
    estimator = generation.estimator
    validated = cross_validation(estimator, train)
    estimator.fit(train.features, train.target)
    paths = write_model(directory, generation)
    parameters = estimator.get_params()
    return {
        "name": generation.name,
        "base": generation.base,
        "algorithm": generation.algorithm,
        "features": list(generation.features),
        "hyperparameters": {key: str(parameters[key]) for key in generation.hyperparameters},
        "cross_validation": validated,
        "metrics": measure_both(paths, test),
        "signature": signature(paths[1]),
        "files": [describe_file(path) for path in paths],
    }


def check_base(derived: VotingClassifier, base: Pipeline) -> None:
    """Make sure that v3 holds v2 itself: its base is a fact, not an intention."""
    member = derived.named_estimators_["v2"]
    for name in ("coef_", "intercept_"):
        np.testing.assert_array_equal(
            getattr(member["logistic"], name), getattr(base["logistic"], name)
        )


def describe_datasets(directory: Path, datasets: dict[str, Data]) -> list[dict[str, Any]]:
    """The data sets' part of the record."""
    return [
        {"role": role, "rows": len(data.target), **describe_file(directory / DATASETS[role])}
        for role, data in datasets.items()
    ]


def train_all(directory: Path) -> None:
    """Write the data sets, the models and their record into a directory."""
    features = write_datasets(directory)
    datasets = {role: read_data(directory / name) for role, name in DATASETS.items()}
    train, test = datasets["train"], datasets["test"]
    first = first_generation(features)
    second = second_generation(features)
    third = third_generation(features, train)
    records = [make(directory, each, train, test) for each in (first, second, third)]
    check_base(third.estimator, second.estimator)
    record = {
        "name": "breast-cancer",
        "classes": [str(name) for name in load_breast_cancer().target_names],
        "seed": SEED,
        "python": ".".join(platform.python_version_tuple()[:2]),
        "libraries": {name: version(name) for name in LIBRARIES},
        "datasets": describe_datasets(directory, datasets),
        "generations": records,
    }
    text = json.dumps(record, indent=2) + "\n"
    (directory / RECORD).write_text(text, encoding="utf-8", newline="\n")


def main() -> None:
    """Train from the command line; one thread, so that sums have one order."""
    parser = argparse.ArgumentParser(description="Train the demo's models.")
    parser.add_argument("directory", nargs="?", type=Path, default=HERE)
    directory = parser.parse_args().directory
    directory.mkdir(parents=True, exist_ok=True)
    with threadpool_limits(limits=1):
        train_all(directory)


if __name__ == "__main__":
    main()
