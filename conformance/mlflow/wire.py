"""What goes over the wire: what the client would not show."""

from __future__ import annotations

import base64

from checks import SOURCE, Checks, Context, equal
from servers import Answer

check = Checks()


def is_refused(answer: Answer, text: str, code: str = "INVALID_PARAMETER_VALUE", status: int = 400) -> None:
    equal((answer.status, answer.code), (status, code), str(answer))
    assert text in answer.message, f"{answer} has no {text!r}"


@check
def wire_version_is_a_string(t: Context) -> None:
    name = t.model()
    made = t.server.rpc("POST", "model-versions/create", {"name": name, "source": SOURCE})
    equal(made.body["model_version"]["version"], "1")
    is_refused(t.server.rpc("POST", "model-versions/transition-stage", {"name": name, "version": 1, "stage": "Staging"}), "")
    is_refused(t.server.rpc("DELETE", "model-versions/delete", {"name": name, "version": 1}), "")
    equal(t.server.rpc("GET", "model-versions/get", {"name": name, "version": "01"}).body["model_version"]["version"], "1")
    alias = {"name": name, "alias": "a", "version": "1"}
    equal(t.server.rpc("POST", "registered-models/alias", alias).text.replace("\n", "").strip(), "{}")
    model = t.server.rpc("GET", "registered-models/get", {"name": name}).body["registered_model"]
    equal(model["aliases"], [{"alias": "a", "version": "1"}])


@check
def wire_timestamps_are_numbers(t: Context) -> None:
    name = t.model(versions=1)
    model = t.server.rpc("GET", "registered-models/get", {"name": name}).body["registered_model"]
    version = t.server.rpc("GET", "model-versions/get", {"name": name, "version": "1"}).body["model_version"]
    for shown in (model, version):
        for field in ("creation_timestamp", "last_updated_timestamp"):
            assert type(shown[field]) is int and shown[field] > 1_600_000_000_000, (field, shown)


@check
def wire_version_is_ready_and_described(t: Context) -> None:
    """Without a status the client waits for minutes, without a description it sees None."""
    name = t.model()
    made = t.server.rpc("POST", "model-versions/create", {"name": name, "source": SOURCE}).body["model_version"]
    equal((made["status"], made["description"], made["current_stage"]), ("READY", "", "None"))


@check
def wire_empty_answers(t: Context) -> None:
    name = t.model(versions=1)
    for method, route, args in (
        ("GET", "registered-models/search", {"filter": "name = 'nobody'"}),
        ("GET", "model-versions/search", {"filter": "name = 'nobody'"}),
        ("POST", "registered-models/set-tag", {"name": name, "key": "k"}),
        ("DELETE", "registered-models/delete-tag", {"name": name, "key": "k"}),
        ("POST", "model-versions/set-tag", {"name": name, "version": "1", "key": "k"}),
        ("DELETE", "model-versions/delete-tag", {"name": name, "version": "1", "key": "k"}),
        ("DELETE", "registered-models/alias", {"name": name, "alias": "a"}),
        ("DELETE", "model-versions/delete", {"name": name, "version": "1"}),
        ("DELETE", "registered-models/delete", {"name": name}),
    ):
        answer = t.server.rpc(method, route, args)
        equal((answer.status, answer.body), (200, {}), f"{method} {route}")
        assert answer.headers.get("content-type", "").startswith("application/json"), answer.headers


@check
def wire_missing_parameters(t: Context) -> None:
    name = t.model(versions=1)
    for method, route, args, missing in (
        ("POST", "registered-models/create", {}, "name"),
        ("POST", "registered-models/create", {"name": None}, "name"),
        ("POST", "registered-models/rename", {"name": name}, "new_name"),
        ("GET", "registered-models/get", {}, "name"),
        ("POST", "registered-models/set-tag", {"name": name, "value": "v"}, "key"),
        ("POST", "registered-models/alias", {"name": name, "version": "1"}, "alias"),
        ("GET", "registered-models/alias", {"name": name}, "alias"),
        ("POST", "model-versions/create", {"name": name}, "source"),
        ("GET", "model-versions/get", {"name": name}, "version"),
        ("POST", "model-versions/transition-stage", {"name": name, "version": "1"}, "stage"),
    ):
        is_refused(t.server.rpc(method, route, args), f"Missing value for required parameter '{missing}'")


@check
def wire_malformed_json_is_an_empty_object(t: Context) -> None:
    for body in (b"{not json", b"", b"null"):
        answer = t.server.rpc("POST", "registered-models/create", body)
        is_refused(answer, "Missing value for required parameter 'name'")


@check
def wire_content_type_is_needed(t: Context) -> None:
    answer = t.server.rpc("POST", "registered-models/create", {"name": t.name()}, headers={"Content-Type": "text/plain"})
    equal(answer.status, 400, str(answer))


@check
def wire_unknown_fields_and_nulls(t: Context) -> None:
    name = t.name()
    args = {"name": name, "novelty": {"a": 1}, "description": None, "tags": None}
    equal(t.server.rpc("POST", "registered-models/create", args).status, 200)
    equal(t.server.rpc("GET", "registered-models/get", {"name": name, "novelty": "1"}).status, 200)


@check
def wire_duplicate_tags(t: Context) -> None:
    """The last one wins."""
    name = t.name()
    tags = [{"key": "k", "value": "1"}, {"key": "k", "value": "2"}]
    t.server.rpc("POST", "registered-models/create", {"name": name, "tags": tags})
    equal(t.client.get_registered_model(name).tags, {"k": "2"})


@check
def wire_two_prefixes(t: Context) -> None:
    """MLflow's web pages call below /ajax-api."""
    name = t.model()
    answer = t.server.request("GET", "/ajax-api/2.0/mlflow/registered-models/get", query={"name": name})
    equal(answer.body["registered_model"]["name"], name)
    equal(t.server.request("GET", "/api/2.0/preview/mlflow/registered-models/get", query={"name": name}).status, 404)


@check
def wire_latest_versions_by_get(t: Context) -> None:
    name = t.model(versions=2)
    t.client.transition_model_version_stage(name, "1", "Staging")
    for stages, want in ((["None", "Staging"], {"1", "2"}), (["Staging"], {"1"}), ([], {"1", "2"})):
        answer = t.server.rpc("GET", "registered-models/get-latest-versions", {"name": name, "stages": stages})
        equal({v["version"] for v in answer.body["model_versions"]}, want)


@check
def wire_page_tokens(t: Context) -> None:
    t.model(versions=2)
    for route in ("registered-models/search", "model-versions/search"):
        is_refused(t.server.rpc("GET", route, {"page_token": "evilhax"}), "Invalid page token, could not base64-decode")
        for token in (base64.b64encode(b"evilhax").decode(), "AAAA", "!"):
            answer = t.server.rpc("GET", route, {"page_token": token})
            is_refused(answer, "Invalid page token")
        last = t.server.rpc("GET", route, {"filter": "name = 'nobody'"})
        assert not last.body.get("next_page_token"), last


@check
def wire_max_results(t: Context) -> None:
    for value in ("x", "1.5", "99999999999999999999"):
        equal(t.server.rpc("GET", "model-versions/search", {"max_results": value}).status, 400, value)
    for value in ("1001", "x"):
        equal(t.server.rpc("GET", "registered-models/search", {"max_results": value}).status, 400, value)


@check.reference_fails("got 200, want 400")
def wire_max_results_below_one(t: Context) -> None:
    """MLflow takes 0 and -1, and gives a token for ever."""
    for value in ("0", "-1"):
        equal(t.server.rpc("GET", "registered-models/search", {"max_results": value}).status, 400)


@check
def wire_order_by_is_repeated(t: Context) -> None:
    prefix = t.name("wire-order")
    for name in "ab":
        t.client.create_registered_model(prefix + name)
    args = {"filter": f"name LIKE '{prefix}%'", "order_by": ["name DESC", "last_updated_timestamp ASC"]}
    models = t.server.rpc("GET", "registered-models/search", args).body["registered_models"]
    equal([m["name"] for m in models], [prefix + "b", prefix + "a"])


@check.reference_fails("got 500")
def wire_order_by_twice_the_same(t: Context) -> None:
    """MLflow sends 500 for what the caller did wrong."""
    answer = t.server.rpc("GET", "model-versions/search", {"order_by": ["name ASC", "name DESC"]})
    equal(answer.status, 400)


@check
def wire_health_and_version(t: Context) -> None:
    equal(t.server.request("GET", "/health").status, 200)
    equal(t.server.request("GET", "/version").status, 200)


@check.reference_fails("got .*500")
def wire_wrong_bodies(t: Context) -> None:
    """MLflow sends 500 for a body that isn't an object."""
    name = t.model(versions=1)
    for body in ([], "x", 1, {"name": 5}, {"name": ["a"]}, {"name": {}}, {"name": name, "tags": "x"}, {"name": t.name(), "tags": [1]}):
        answer = t.server.rpc("POST", "registered-models/create", body)
        equal(answer.status, 400, str(body))
        assert answer.code in ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "MALFORMED_REQUEST"), answer


@check.modelog_only("MLflow answers with a page of HTML")
def wire_unknown_route(t: Context) -> None:
    """The client falls back from POST to GET only with this code."""
    for method, route in (("GET", "runs/get"), ("POST", "experiments/create"), ("GET", "nothing/at-all"), ("PUT", "registered-models/get")):
        answer = t.server.rpc(method, route)
        equal((answer.status, answer.code), (404, "ENDPOINT_NOT_FOUND"), f"{method} {route}: {answer}")
