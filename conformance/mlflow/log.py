"""What modelog adds: everything is an event, with who did it, and the past can be asked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from mlflow import MlflowClient

from checks import SOURCE, Checks, Context, equal, refused

check = Checks()

USER = "zqwxk.ann@example.com"


@contextmanager
def credentials(user: str) -> Iterator[None]:
    """The client sends these with Basic authentication."""
    os.environ |= {"MLFLOW_TRACKING_USERNAME": user, "MLFLOW_TRACKING_PASSWORD": "secret-qwxzv"}
    try:
        yield
    finally:
        del os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"]


def principals(t: Context) -> dict[str, str]:
    """The ids of all that are in the directory, by name."""
    answer = t.modelog.request("GET", "/v1/principals")
    return {p["name"]: p["id"] for p in answer.body["principals"]}


def on_disk(t: Context, text: str) -> bool:
    files = t.modelog.event_files()
    assert files, "no files of the stream MODELOG_EVENTS"
    return any(text.encode() in f.read_bytes() for f in files)


@check.modelog_only("MLflow has no log")
def log_has_every_change_once(t: Context) -> None:
    """A call is an event, and one that changes nothing is none."""
    name, begun = t.name("logged"), t.modelog.sequence()
    t.client.create_registered_model(name, tags={"k": "v"})
    for v in "12":
        t.client.create_model_version(name, SOURCE + v)
        t.client.transition_model_version_stage(name, v, "Production", archive_existing_versions=True)
    for v in "112":
        t.client.set_registered_model_alias(name, "champion", v)
    t.client.delete_registered_model_alias(name, "champion")
    t.client.delete_registered_model_alias(name, "champion")
    t.client.delete_model_version(name, "1")
    t.client.delete_registered_model(name)
    kinds = [e["type"].removeprefix("dev.modelog.").rsplit(".", 1)[0] for e in t.modelog.events(begun)]
    version = ["version.registered", "version.promoted"]
    equal(kinds, ["model.registered", *version, *version, "alias.assigned", "alias.assigned", "alias.removed", "version.deleted", "model.deleted"])


@check.modelog_only("MLflow forgets where an alias pointed")
def log_has_where_an_alias_pointed(t: Context) -> None:
    name = t.model("aliased", versions=2)
    t.client.set_registered_model_alias(name, "champion", "1")
    begun = t.modelog.sequence()
    t.client.set_registered_model_alias(name, "champion", "2")
    (event,) = t.modelog.events(begun)
    equal(event["type"], "dev.modelog.alias.assigned.v1")
    equal({k: event["data"][k] for k in ("alias", "from", "to")}, {"alias": "champion", "from": 1, "to": 2})


@check.modelog_only("MLflow records nobody")
def log_has_who_did_it(t: Context) -> None:
    """The user of Basic authentication is in the directory, and on the log as an opaque id."""
    begun = t.modelog.sequence()
    with credentials(USER):
        name = t.model("authored", versions=1)
    ids = {e.get("authid") for e in t.modelog.events(begun)}
    equal(ids, {principals(t).get(USER)}, "authid of the events, and id in the directory")
    (who,) = ids
    assert who and who.startswith("prn_") and USER not in who, who
    assert on_disk(t, name), "the log's files don't have the model's name, so that this check would find nothing"
    assert not on_disk(t, USER), "the log's files have the user's name"
    for f in t.modelog.directory.rglob("*"):
        assert not f.is_file() or b"secret-qwxzv" not in f.read_bytes(), f"{f} has the password"


@check.modelog_only("MLflow keeps the tag as it is")
def log_does_not_have_the_tag_mlflow_user(t: Context) -> None:
    """It reads back and is found, and the log has an opaque id in its place."""
    begun, user = t.modelog.sequence(), "kqzjv.bob@example.com"
    name = t.name("tagged")
    t.client.create_registered_model(name, tags={"mlflow.user": user})
    t.client.create_model_version(name, SOURCE, tags={"mlflow.user": user})
    t.client.create_model_version(name, SOURCE)
    t.client.set_model_version_tag(name, "2", "mlflow.user", user)
    equal(t.client.get_registered_model(name).tags, {"mlflow.user": user})
    equal([t.client.get_model_version(name, v).tags for v in "12"], [{"mlflow.user": user}] * 2)
    clause = f"tags.`mlflow.user` = '{user}'"
    equal([m.name for m in t.client.search_registered_models(clause)], [name])
    equal({v.version for v in t.client.search_model_versions(clause)}, {"1", "2"})
    equal(t.client.search_model_versions("tags.`mlflow.user` = 'nobody'"), [])
    shown = str(t.modelog.events(begun))
    assert user not in shown and principals(t)[user] in shown, shown
    assert not on_disk(t, user), "the log's files have the user's name"


@check.modelog_only("MLflow has no past")
def log_answers_about_the_past(t: Context) -> None:
    """Reads take as_of."""
    name = t.model("past", versions=1)
    t.client.set_registered_model_alias(name, "champion", "1")
    then = t.modelog.sequence()
    t.client.create_model_version(name, SOURCE)
    t.client.set_registered_model_alias(name, "champion", "2")
    t.client.transition_model_version_stage(name, "1", "Archived")
    t.client.update_registered_model(name, "later")

    def read(route: str, part: str, **args: str):
        now = t.server.rpc("GET", route, args).body[part]
        past = t.server.rpc("GET", route, args | {"as_of": str(then)}).body[part]
        return past, now

    past, now = read("registered-models/get", "registered_model", name=name)
    equal((past["aliases"][0]["version"], now["aliases"][0]["version"]), ("1", "2"))
    equal((past.get("description", ""), now["description"]), ("", "later"))
    past, now = read("registered-models/alias", "model_version", name=name, alias="champion")
    equal((past["version"], now["version"]), ("1", "2"))
    past, now = read("model-versions/get", "model_version", name=name, version="1")
    equal((past["current_stage"], now["current_stage"]), ("None", "Archived"))
    past, now = read("model-versions/search", "model_versions", filter=f"name = '{name}'")
    equal((len(past), len(now)), (1, 2))
    past, now = read("registered-models/search", "registered_models", filter=f"name = '{name}'")
    equal((past[0]["latest_versions"][0]["version"], len(now[0]["latest_versions"])), ("1", 2))
    equal(t.server.rpc("GET", "registered-models/get", {"name": name, "as_of": "1"}).status, 404)
    equal(t.server.rpc("GET", "registered-models/get", {"name": name, "as_of": "never"}).status, 400)


@check.modelog_only("MLflow has one view of its data")
def log_is_one_with_the_native_api(t: Context) -> None:
    name = t.model("native", versions=1)
    t.client.set_registered_model_alias(name, "champion", "1")
    model = t.server.request("GET", f"/v1/models/{name}").body
    equal((model["aliases"], model["latest_version"]), ({"champion": 1}, 1))
    t.server.request("POST", f"/v1/models/{name}/versions", {"source": SOURCE + "native"})
    equal(t.client.get_model_version(name, "2").source, SOURCE + "native")


@check.modelog_only("MLflow keeps its state in a database")
def log_survives_a_restart(t: Context) -> None:
    """A client that goes on after a restart sees everything, and pages on from its token."""
    prefix = t.name("restart")
    for i in range(4):
        t.client.create_registered_model(f"{prefix}-{i}")
    name = f"{prefix}-0"
    t.client.create_model_version(name, SOURCE, tags={"k": "v", "mlflow.user": USER})
    t.client.set_registered_model_alias(name, "champion", "1")
    before = dict(t.client.get_registered_model(name)), dict(t.client.get_model_version(name, "1"))
    first = t.client.search_registered_models(f"name LIKE '{prefix}%'", max_results=2)
    state = t.modelog.request("GET", "/v1/state").body
    t.modelog.stop()
    t.modelog.start()
    equal(t.modelog.request("GET", "/v1/state").body["sequence"], state["sequence"])
    after = dict(t.client.get_registered_model(name)), dict(t.client.get_model_version(name, "1"))
    equal(str(after), str(before))
    rest = t.client.search_registered_models(f"name LIKE '{prefix}%'", max_results=2, page_token=first.token)
    equal([m.name for m in [*first, *rest]], [f"{prefix}-{i}" for i in range(4)])
    client = MlflowClient(t.tracking_uri, t.server.url)
    equal(client.create_model_version(name, SOURCE).version, "2")
    with refused("RESOURCE_ALREADY_EXISTS"):
        client.create_registered_model(name)
