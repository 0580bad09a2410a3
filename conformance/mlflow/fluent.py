"""The fluent API: models are logged to a local tracking store, and registered with the server."""

from __future__ import annotations

from pathlib import Path

import mlflow
import numpy as np
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression

from checks import SOURCE, Checks, Context, equal

check = Checks()

X = np.array([[0.0, 1.0], [1.0, 0.0], [0.2, 0.9], [0.9, 0.1]])
Y = np.array([0, 1, 0, 1])
# MLflow's own server looks models and runs up in its own tracking store.
UNKNOWN_MODEL = "too many 500 error responses"
UNKNOWN_RUN = "The run_id request parameter must identify the resource"


def log_model(**more: object):
    model = LogisticRegression().fit(X, Y)
    return mlflow.sklearn.log_model(
        model, name="model", signature=infer_signature(X, Y), pip_requirements=["scikit-learn"], serialization_format="cloudpickle", **more
    )


def logged(t: Context) -> None:
    """Logs the model that several checks register, once."""
    if t.model_id:
        return
    with mlflow.start_run() as run:
        info = log_model()
    t.model_id, t.run_id = info.model_id, run.info.run_id
    t.model_uri = mlflow.get_logged_model(t.model_id).artifact_location


def predicts(model_uri: str) -> None:
    equal(mlflow.pyfunc.load_model(model_uri).predict(X).tolist(), Y.tolist(), model_uri)


@check.reference_fails(UNKNOWN_MODEL)
def fluent_log_model_and_load(t: Context) -> None:
    """MLflow doesn't know the model, which a local tracking store has."""
    name = t.name("logged")
    for version in "123":
        info = log_model(registered_model_name=name)
        equal(str(info.registered_model_version), version)
    got = t.client.get_model_version(name, "3")
    equal((got.source, got.status), (f"models:/{info.model_id}", "READY"))
    t.client.set_registered_model_alias(name, "champion", "2")
    t.client.transition_model_version_stage(name, "1", "Production")
    for ref in ("@champion", "/3", "/latest", "/Production"):
        predicts(f"models:/{name}{ref}")
    equal(mlflow.sklearn.load_model(f"models:/{name}@champion").predict(X).tolist(), Y.tolist())
    equal(mlflow.models.get_model_info(f"models:/{name}/2").flavors["python_function"]["loader_module"], "mlflow.sklearn")


@check.reference_fails(UNKNOWN_MODEL)
def fluent_register_from_a_run(t: Context) -> None:
    """MLflow doesn't know the run."""
    logged(t)
    name = t.name("from-run")
    got = mlflow.register_model(f"runs:/{t.run_id}/model", name, tags={"k": "v"})
    equal((got.version, got.run_id, got.tags), ("1", t.run_id, {"k": "v"}))
    equal(got.source, f"models:/{t.model_id}")
    equal(mlflow.register_model(f"runs:/{t.run_id}/model", name).version, "2")
    predicts(f"models:/{name}/2")


@check.reference_fails(UNKNOWN_MODEL)
def fluent_register_a_logged_model(t: Context) -> None:
    """MLflow doesn't know the model."""
    logged(t)
    name = t.name("from-model")
    got = mlflow.register_model(f"models:/{t.model_id}", name)
    equal((got.version, got.source), ("1", f"models:/{t.model_id}"))
    predicts(f"models:/{name}/1")
    tagged = mlflow.get_logged_model(t.model_id).tags["mlflow.modelVersions"]
    assert name in tagged, tagged


@check.reference_fails(UNKNOWN_MODEL)
def fluent_register_a_registered_version(t: Context) -> None:
    """MLflow doesn't know the model."""
    logged(t)
    name, copy = t.name("source"), t.name("copy")
    mlflow.register_model(f"models:/{t.model_id}", name)
    got = mlflow.register_model(f"models:/{name}/1", copy)
    equal((got.name, got.version, got.source), (copy, "1", f"models:/{name}/1"))
    predicts(f"models:/{copy}/1")
    t.client.copy_model_version(f"models:/{copy}/1", name)
    predicts(f"models:/{name}/2")


@check
def fluent_register_a_uri(t: Context) -> None:
    name = t.name("uri")
    got = mlflow.register_model(SOURCE + "7", name, tags={"k": "v"})
    equal((got.version, got.source, got.tags), ("1", SOURCE + "7", {"k": "v"}))


@check
def fluent_search_and_tags(t: Context) -> None:
    name = t.model("fluent", versions=2)
    equal([m.name for m in mlflow.search_registered_models(filter_string=f"name = '{name}'")], [name])
    versions = mlflow.search_model_versions(filter_string=f"name = '{name}'", order_by=["version_number DESC"])
    equal([v.version for v in versions], ["2", "1"])
    mlflow.set_model_version_tag(name, "1", "k", "v")
    equal(t.client.get_model_version(name, "1").tags, {"k": "v"})
    equal(len(mlflow.search_registered_models(max_results=3)), 3)


@check.reference_fails(UNKNOWN_RUN)
def fluent_register_files_of_a_run(t: Context) -> None:
    """As clients of MLflow 2 do: the model is among the run's own artifacts."""
    logged(t)
    with mlflow.start_run() as run:
        mlflow.log_artifacts(str(Path(t.model_uri.removeprefix("file://"))), "files")
    name = t.name("files")
    got = mlflow.register_model(f"runs:/{run.info.run_id}/files", name)
    equal((got.version, got.run_id), ("1", run.info.run_id))
    predicts(f"models:/{name}/1")
