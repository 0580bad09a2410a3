"""Sends the same raw calls to MLflow's own server and to modelog, and shows where the answers differ.

    python compare.py --modelog bin/modelog              differences that nothing explains; ends with 1 if there are any
    python compare.py --modelog bin/modelog --markdown   the explained ones, as rows of a table

expected_differences.json says of a call why modelog answers otherwise.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from servers import Answer, Modelog, Reference, Server

EXPECTED = Path(__file__).with_name("expected_differences.json")
LAST_TOKEN = "<token of the call before>"
LAST_ID = "{id}"  # of the last webhook


@dataclass(frozen=True)
class Call:
    name: str
    method: str
    route: str
    args: Any
    path: str = ""  # in place of the route
    compared: bool = True  # False for what only brings both servers to the same state again

    def send(self, server: Server, token: str, webhook: str) -> Answer:
        args = self.args
        if isinstance(args, dict) and args.get("page_token") == LAST_TOKEN:
            args = args | {"page_token": token}
        if self.path:
            return server.request(self.method, self.path, args)
        return server.rpc(self.method, self.route.replace(LAST_ID, webhook), args)


def calls() -> list[Call]:
    """The calls, in their order: later ones build on earlier ones."""
    all_calls: list[Call] = []

    def call(method: str, route: str, about: str, args: Any = None) -> None:
        all_calls.append(Call(f"{method} {route}: {about}", method, route, args))

    def get(route: str, about: str, **args: Any) -> None:
        call("GET", route, about, args)

    def post(route: str, about: str, **args: Any) -> None:
        call("POST", route, about, args)

    def forget(*names: str) -> None:
        """Deletes models that perhaps only one server has."""
        for name in names:
            all_calls.append(Call(f"forget {name!r}", "DELETE", models + "delete", {"name": name}, compared=False))

    models, versions = "registered-models/", "model-versions/"
    tags = [{"key": "k", "value": "v"}, {"key": "a key", "value": ""}]

    # Registered models
    get(models + "search", "nothing there")
    get(versions + "search", "nothing there")
    post(models + "create", "name only", name="m")
    post(models + "create", "tags and description", name="n", tags=tags, description="what it is")
    post(models + "create", "tag twice", name="twice", tags=[{"key": "k", "value": "1"}, {"key": "k", "value": "2"}])
    post(models + "create", "tag without value", name="bare-tag", tags=[{"key": "k"}])
    post(models + "create", "empty description", name="empty", description="")
    post(models + "create", "exists", name="m")
    post(models + "create", "no name")
    post(models + "create", "null name", name=None)
    post(models + "create", "empty name", name="")
    post(models + "create", "blank name", name="  ")
    post(models + "create", "name with spaces around", name=" around ")
    post(models + "create", "name with a slash", name="a/b")
    post(models + "create", "name with a colon", name="a:b")
    post(models + "create", "name ..", name="..")
    post(models + "create", "name with a line break", name="a\nb")
    post(models + "create", "long name", name="x" * 300)
    forget(" around ", "a\nb", "x" * 300)
    post(models + "create", "Unicode name", name="模型 é")
    post(models + "create", "number as name", name=5)
    post(models + "create", "list as name", name=["a"])
    post(models + "create", "tags not a list", name="tags", tags="x")
    post(models + "create", "tag without key", name="tags", tags=[{"value": "v"}])
    post(models + "create", "bad tag key", name="tags", tags=[{"key": "a//b", "value": "v"}])
    post(models + "create", "unknown field", name="unknown", novelty=1)
    call("POST", models + "create", "malformed JSON", b"{not json")
    call("POST", models + "create", "empty body", b"")
    call("POST", models + "create", "list as body", [])
    get(models + "get", "by name", name="m")
    get(models + "get", "with tags", name="n")
    get(models + "get", "unknown", name="nobody")
    get(models + "get", "no name")
    call("PATCH", models + "update", "description", {"name": "m", "description": "new"})
    call("PATCH", models + "update", "no description", {"name": "m"})
    call("PATCH", models + "update", "unknown", {"name": "nobody", "description": "d"})
    call("PATCH", models + "update", "no name", {"description": "d"})
    post(models + "rename", "free name", name="twice", new_name="renamed")
    post(models + "rename", "taken name", name="renamed", new_name="m")
    post(models + "rename", "same name", name="renamed", new_name="renamed")
    post(models + "rename", "bad name", name="renamed", new_name="a/b")
    post(models + "rename", "no new name", name="renamed")
    post(models + "rename", "unknown", name="nobody", new_name="somebody")
    post(models + "set-tag", "new", name="m", key="k", value="v")
    post(models + "set-tag", "no value", name="m", key="empty")
    post(models + "set-tag", "no key", name="m", value="v")
    post(models + "set-tag", "bad key", name="m", key="../k", value="v")
    post(models + "set-tag", "long key", name="m", key="k" * 251, value="v")
    post(models + "set-tag", "long value", name="m", key="long", value="v" * 100_001)
    post(models + "set-tag", "number as value", name="m", key="number", value=5)
    post(models + "set-tag", "unknown", name="nobody", key="k", value="v")
    call("DELETE", models + "delete-tag", "there", {"name": "m", "key": "empty"})
    call("DELETE", models + "delete-tag", "not there", {"name": "m", "key": "empty"})
    call("DELETE", models + "delete-tag", "no key", {"name": "m"})
    call("DELETE", models + "delete-tag", "unknown", {"name": "nobody", "key": "k"})

    # Model versions
    post(versions + "create", "source only", name="m", source="s3://b/1")
    full = {"run_id": "r1", "run_link": "http://r/1", "description": "first", "tags": tags}
    post(versions + "create", "everything", name="m", source="s3://b/2", **full)
    post(versions + "create", "third", name="m", source="s3://b/3", run_id="r2")
    post(versions + "create", "of another", name="n", source="s3://b/1")
    post(versions + "create", "copy", name="n", source="models:/m/2")
    post(versions + "create", "copy by alias that isn't there", name="n", source="models:/m@nobody")
    post(versions + "create", "copy of an unknown version", name="n", source="models:/m/77")
    post(versions + "create", "copy of an unknown model", name="n", source="models:/nobody/1")
    post(models + "create", "for sources", name="sources")
    post(versions + "create", "source of a run", name="sources", source="runs:/r1/model", run_id="r1")
    post(versions + "create", "logged model", name="sources", source="models:/m-00000000000000000000000000000000", model_id="m-00000000000000000000000000000000")
    post(versions + "create", "source of another run", name="sources", source="runs:/r1/model", run_id="r2")
    post(versions + "create", "proxied source", name="sources", source="mlflow-artifacts:/0/r1/model", run_id="r1")
    post(versions + "create", "https source", name="sources", source="https://h/x", run_id="r1")
    post(versions + "create", "local source", name="sources", source="/etc/passwd")
    post(versions + "create", "local source with run", name="sources", source="/etc/passwd", run_id="r1")
    post(versions + "create", "file source", name="sources", source="file:///etc/passwd")
    forget("sources")
    post(versions + "create", "climbing source", name="m", source="s3://b/../c")
    post(versions + "create", "encoded climbing source", name="m", source="s3://b/%2e%2e/c")
    post(versions + "create", "no source", name="m")
    post(versions + "create", "empty source", name="m", source="")
    post(versions + "create", "no name", source="s3://b/1")
    post(versions + "create", "unknown model", name="nobody", source="s3://b/1")
    post(versions + "create", "bad tag key", name="m", source="s3://b/1", tags=[{"key": "a//b", "value": "v"}])
    for version in ("1", "2", "01", "7", "0", "-1", "x", "1.0", ""):
        get(versions + "get", f"version {version!r}", name="m", version=version)
    get(versions + "get", "unknown model", name="nobody", version="1")
    get(versions + "get", "no version", name="m")
    get(versions + "get-download-uri", "of a version", name="m", version="2")
    get(versions + "get-download-uri", "of a copy", name="n", version="2")
    get(versions + "get-download-uri", "unknown", name="m", version="7")
    call("PATCH", versions + "update", "description", {"name": "m", "version": "1", "description": "new"})
    call("PATCH", versions + "update", "no description", {"name": "m", "version": "1"})
    call("PATCH", versions + "update", "unknown", {"name": "m", "version": "7", "description": "d"})
    call("PATCH", versions + "update", "number as version", {"name": "m", "version": 1, "description": "d"})
    post(versions + "transition-stage", "to Production", name="m", version="1", stage="Production")
    post(versions + "transition-stage", "archiving others", name="m", version="2", stage="production", archive_existing_versions=True)
    post(versions + "transition-stage", "to where it is", name="m", version="2", stage="Production")
    post(versions + "transition-stage", "to no stage", name="m", version="2", stage="Live")
    post(versions + "transition-stage", "empty stage", name="m", version="2", stage="")
    post(versions + "transition-stage", "archiving with None", name="m", version="2", stage="None", archive_existing_versions=True)
    post(versions + "transition-stage", "unknown", name="m", version="7", stage="Staging")
    post(versions + "transition-stage", "number as version", name="m", version=2, stage="Staging")
    post(versions + "transition-stage", "text as bool", name="m", version="2", stage="Staging", archive_existing_versions="yes")
    post(versions + "set-tag", "new", name="m", version="1", key="k", value="v")
    post(versions + "set-tag", "no value", name="m", version="1", key="empty")
    post(versions + "set-tag", "bad key", name="m", version="1", key="a//b", value="v")
    post(versions + "set-tag", "long value", name="m", version="1", key="k", value="v" * 100_001)
    post(versions + "set-tag", "unknown", name="m", version="7", key="k", value="v")
    call("DELETE", versions + "delete-tag", "there", {"name": "m", "version": "1", "key": "empty"})
    call("DELETE", versions + "delete-tag", "not there", {"name": "m", "version": "1", "key": "empty"})
    call("DELETE", versions + "delete-tag", "unknown", {"name": "m", "version": "7", "key": "k"})

    # Latest versions
    for method in ("POST", "GET"):
        call(method, models + "get-latest-versions", "all stages", {"name": "m"})
        call(method, models + "get-latest-versions", "two stages", {"name": "m", "stages": ["None", "production"]})
        call(method, models + "get-latest-versions", "bad stage", {"name": "m", "stages": ["Live"]})
        call(method, models + "get-latest-versions", "unknown", {"name": "nobody"})

    # Aliases
    post(models + "alias", "new", name="m", alias="champion", version="1")
    post(models + "alias", "moved", name="m", alias="champion", version="2")
    for alias in ("latest", "Latest", "v1", "a b", "a.b", "", "a" * 256):
        post(models + "alias", f"name {alias[:10]!r}", name="m", alias=alias, version="1")
    post(models + "alias", "unknown version", name="m", alias="a", version="7")
    post(models + "alias", "unknown model", name="nobody", alias="a", version="1")
    post(models + "alias", "number as version", name="m", alias="a", version=1)
    post(models + "alias", "no version", name="m", alias="a")
    get(models + "alias", "there", name="m", alias="champion")
    get(models + "alias", "not there", name="m", alias="nobody")
    get(models + "alias", "bad name", name="m", alias="a b")
    get(models + "alias", "latest", name="n", alias="latest")
    get(models + "alias", "unknown model", name="nobody", alias="champion")
    get(models + "get", "with an alias", name="m")
    get(versions + "get", "with an alias", name="m", version="2")
    call("DELETE", models + "alias", "not there", {"name": "m", "alias": "nobody"})
    call("DELETE", models + "alias", "unknown model", {"name": "nobody", "alias": "a"})
    call("DELETE", models + "alias", "no alias", {"name": "m"})

    # Search
    mine = "name IN ('m', 'n')"
    get(models + "search", "all")
    for about, clause in {
        "name": "name = 'n'",
        "like": "name LIKE 'n%'",
        "tag": "tags.k = 'v'",
        "key in backticks": "tags.`a key` = ''",
        "no match": "name = 'nobody'",
        "OR": "name = 'm' OR name = 'n'",
        "parentheses": "(name = 'm')",
        "bad comparator": "name > 'm'",
        "bad attribute": "nome = 'm'",
        "number": "name = 5",
        "no quotes": "name = m",
        "unclosed quote": "name = 'm",
        "dangling AND": "name = 'm' AND",
        "only AND": "AND",
        "semicolon": "name = 'm';",
        "IN": mine,
    }.items():
        get(models + "search", f"filter {about}", filter=clause)
    get(models + "search", "first page", max_results=2)
    get(models + "search", "second page", max_results=2, page_token=LAST_TOKEN)
    get(models + "search", "evil token", page_token="evilhax")
    for value in ("1001", "0", "-1", "x"):
        get(models + "search", f"max_results {value}", max_results=value)
    get(models + "search", "by name down", order_by=["name DESC"])
    get(models + "search", "by a wrong column", order_by=["description"])
    get(models + "search", "order of three words", order_by=["name ASC DESC"])
    get(models + "search", "twice the same order", order_by=["name ASC", "name DESC"])
    order = ["name ASC", "version_number ASC"]
    get(versions + "search", "all", order_by=order)
    for about, clause in {
        "name": "name = 'm'",
        "run": "run_id = 'r1'",
        "run IN": "run_id IN ('r1', 'r2')",
        "name IN": mine,
        "empty IN": "run_id IN ()",
        "numbers IN": "run_id IN (1)",
        "source": "source_path LIKE 's3://b/%'",
        "number": "version_number >= 2",
        "number in quotes": "version_number = '2'",
        "number like": "version_number LIKE '2'",
        "big number": "version_number < 99999999999999999999",
        "tag": "tags.k = 'v'",
        "bad attribute": "current_stage = 'None'",
        "unquoted word": "version = 1",
        "OR": "name = 'm' OR name = 'n'",
        "bad comparator": "name < 'm'",
    }.items():
        get(versions + "search", f"filter {about}", filter=clause, order_by=order)
    get(versions + "search", "first page", max_results=2, order_by=order)
    get(versions + "search", "second page", max_results=2, order_by=order, page_token=LAST_TOKEN)
    get(versions + "search", "evil token", page_token="evilhax")
    for value in ("0", "200001"):
        get(versions + "search", f"max_results {value}", max_results=value)
    get(versions + "search", "by a wrong column", order_by=["run_id"])
    get(versions + "search", "twice the same order", order_by=["name ASC", "name DESC"])

    # Prompts
    is_prompt = [{"key": "mlflow.prompt.is_prompt", "value": "true"}]
    text = [*is_prompt, {"key": "mlflow.prompt.text", "value": "Hello {{who}}"}]
    post(models + "create", "prompt", name="p", tags=is_prompt)
    post(models + "create", "prompt exists", name="p", tags=is_prompt)
    post(models + "create", "model with a prompt's name", name="p")
    post(models + "create", "prompt with a model's name", name="m", tags=is_prompt)
    post(versions + "create", "prompt", name="p", source="dummy-source", tags=text)
    post(versions + "create", "prompt with a local source", name="p", source="/etc/passwd", tags=text)
    get(models + "search", "prompts hidden", filter="name = 'p'")
    for clause in ("= 'true'", "!= 'false'", "= 'false'", "!= 'true'"):
        get(models + "search", f"prompt {clause}", filter=f"tags.`mlflow.prompt.is_prompt` {clause}")
    get(versions + "search", "of a prompt", filter="name = 'p'")
    get(models + "alias", "latest of a prompt", name="p", alias="latest")

    # Deletion
    call("DELETE", versions + "delete", "there", {"name": "m", "version": "2"})
    call("DELETE", versions + "delete", "again", {"name": "m", "version": "2"})
    call("DELETE", versions + "delete", "number as version", {"name": "m", "version": 3})
    call("DELETE", versions + "delete", "no version", {"name": "m"})
    get(models + "alias", "of a deleted version", name="m", alias="champion")
    get(models + "get", "after its alias' version is gone", name="m")
    get(versions + "get-download-uri", "of a copy whose source is gone", name="n", version="2")
    post(versions + "create", "after a deletion", name="m", source="s3://b/4")
    call("DELETE", models + "delete", "there", {"name": "m"})
    call("DELETE", models + "delete", "again", {"name": "m"})
    call("DELETE", models + "delete", "no name", {})
    post(models + "create", "deleted name", name="m")
    get(versions + "search", "of a deleted name", filter="name = 'm'")
    post(versions + "create", "of a deleted name", name="m", source="s3://b/1")

    # Webhooks
    created, tagged = {"entity": "MODEL_VERSION", "action": "CREATED"}, {"entity": "PROMPT_TAG", "action": "SET"}
    hook = {"name": "on-call", "url": "http://127.0.0.1:9/hook?token=1", "events": [created, tagged]}
    one = "webhooks/" + LAST_ID
    get("webhooks", "nothing there")
    post("webhooks", "least", **hook)
    post("webhooks", "everything", **hook | {"description": "what it is", "secret": "hush", "status": "DISABLED"})
    for field in ("name", "url", "events"):
        post("webhooks", f"no {field}", **{k: v for k, v in hook.items() if k != field})
    for about, changed in {
        "name with a space": {"name": "on call"},
        "name of 64": {"name": "n" * 64},
        "number as name": {"name": 5},
        "ftp URL": {"url": "ftp://127.0.0.1/x"},
        "no URL": {"url": "nonsense"},
        "URL without a host": {"url": "http:///x"},
        "URL with a user": {"url": "http://u:p@127.0.0.1/x"},
        "no events": {"events": []},
        "text as events": {"events": "MODEL_VERSION.CREATED"},
        "unknown entity": {"events": [{"entity": "RUN", "action": "CREATED"}]},
        "unknown combination": {"events": [{"entity": "MODEL_VERSION", "action": "DELETED"}]},
        "event of the gateway": {"events": [{"entity": "BUDGET_POLICY", "action": "EXCEEDED"}]},
        "event twice": {"events": [created, created]},
        "unknown status": {"status": "PAUSED"},
    }.items():
        post("webhooks", about, **hook | changed)
        all_calls.append(Call("forget it", "DELETE", one, {}, compared=False))  # perhaps only one server has it
    post("webhooks", "another", **hook)
    get(one, "there")
    for about, change in {
        "nothing": {},
        "name": {"name": "other"},
        "empty name": {"name": ""},
        "bad name": {"name": "-"},
        "no description": {"description": ""},
        "events": {"events": [tagged]},
        "no events": {"events": []},
        "URL": {"url": "http://127.0.0.1:9/other"},
        "bad URL": {"url": "ftp://127.0.0.1/x"},
        "secret": {"secret": "new"},
        "active": {"status": "ACTIVE"},
    }.items():
        call("PATCH", one, about, change)
    get("webhooks", "first page", max_results=1)
    get("webhooks", "second page", max_results=1, page_token=LAST_TOKEN)
    get("webhooks", "evil token", page_token="evilhax")
    for value in ("1001", "0", "-1", "x"):
        get("webhooks", f"max_results {value}", max_results=value)
    post(f"{one}/test", "unknown combination", event={"entity": "MODEL_VERSION", "action": "DELETED"})
    call("DELETE", one, "there")
    for method in ("GET", "PATCH", "DELETE"):
        call(method, one, "deleted", None if method == "GET" else {})
    post(f"{one}/test", "deleted")
    get("webhooks/none", "unknown")

    # Routes
    all_calls += [
        Call("unknown route", "GET", "nothing/at-all", None),
        Call("wrong method", "PUT", models + "get", {}),
        Call("GET /health", "GET", "", None, "/health"),
        Call("GET /ajax-api", "GET", "", None, "/ajax-api/2.0/mlflow/registered-models/get?name=n"),
        Call("GET /api/2.0/preview", "GET", "", None, "/api/2.0/preview/mlflow/registered-models/get?name=n"),
    ]
    return all_calls


# What differs in every answer with a version in it, and is not shown call by call.
EVERYWHERE = {
    "`description` of a version that has none": "always `\"\"`: MLflow leaves it out where it was never set or was cleared, and its client shows `None` or `\"\"`",
    "`aliases` of versions in search results and in `latest_versions`": "filled in: MLflow has them in single versions only, and its users ask for them (#9783, #16734)",
}


def normal(value: Any, key: str = "", hide_aliases: bool = False) -> Any:
    """The value without what depends on the clock or the server, and without what differs everywhere."""
    if key.endswith("_timestamp"):
        return "timestamp" if type(value) is int else f"not a number: {value!r}"
    if key == "next_page_token":
        return "token" if value else ""
    if key == "webhook_id":
        return "id"
    if isinstance(value, dict):
        ignored = {"sqlstate", "error_class"}  # newer servers' additions to errors
        if "version" in value and value.get("description") == "":
            ignored.add("description")
        if "version" in value and hide_aliases:
            ignored.add("aliases")
        return {k: normal(v, k, hide_aliases or k == "latest_versions") for k, v in sorted(value.items()) if k not in ignored}
    if isinstance(value, list):
        items = [normal(v, "", hide_aliases) for v in value]
        return sorted(items, key=str) if key in ("tags", "aliases", "latest_versions", "events") else items
    if key == "message":
        value = re.sub(r"(Webhook with ID) \S+", r"\1 ...", value)
        return re.sub(r"\{'[^}]*'\}", "{...}", value)  # a Python set, in any order
    return value


def shown(call: Call, answer: Answer) -> str:
    body = answer.body
    if body is None:
        return f"{answer.status} not JSON: {answer.text[:40]!r}…"
    search = call.route.endswith("search")
    if call.route.endswith("get-latest-versions") and "model_versions" in body:
        body = body | {"model_versions": sorted(body["model_versions"], key=lambda v: int(v["version"]))}  # in no order
    return f"{answer.status} {json.dumps(normal(body, hide_aliases=search), ensure_ascii=False)}"


@dataclass(frozen=True)
class Difference:
    call: Call
    reference: Answer
    modelog: Answer

    @property
    def only_text(self) -> bool:
        """Whether both refuse alike, in other words."""
        return self.reference.status == self.modelog.status and self.reference.code == self.modelog.code is not None

    def in_short(self, answer: Answer) -> str:
        if answer.status == 200:
            return "200"
        return f"{answer.status} {answer.code or 'not JSON'}"


def run(server: Server) -> list[Answer]:
    answers, token, webhook = [], "", ""
    with server:
        for call in calls():
            answer = call.send(server, token, webhook)
            body = answer.body if isinstance(answer.body, dict) else {}
            token = body.get("next_page_token", "")
            if call.method == "POST" and call.route == "webhooks":
                webhook = body.get("webhook", {}).get("webhook_id", "none")
            answers.append(answer)
    return answers


def expected(reasons: dict[str, str], name: str) -> str:
    return reasons.get(name) or next((why for pattern, why in reasons.items() if fnmatchcase(name, pattern)), "")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--modelog", type=Path, metavar="BINARY", required=True)
    parser.add_argument("--markdown", action="store_true", help="print the explained differences as rows of a table")
    args = parser.parse_args()

    reasons: dict[str, str] = json.loads(EXPECTED.read_text())
    with tempfile.TemporaryDirectory(prefix="compare-") as d, ThreadPoolExecutor() as pool:
        servers = Reference(Path(d) / "mlflow"), Modelog(Path(d) / "modelog", binary=args.modelog)
        reference, modelog = pool.map(run, servers)
    different = [Difference(*three) for three in zip(calls(), reference, modelog, strict=True) if three[0].compared and shown(three[0], three[1]) != shown(three[0], three[2])]
    explained = [d for d in different if expected(reasons, d.call.name)]
    unexplained = [d for d in different if d not in explained]
    stale = [pattern for pattern in reasons if not any(fnmatchcase(d.call.name, pattern) or d.call.name == pattern for d in different)]
    if args.markdown:
        print("| call | MLflow | modelog | why |\n|---|---|---|---|")
        for what, why in EVERYWHERE.items():
            print(f"| {what} | | | {why} |")
        for d in explained:
            print(f"| {d.call.name} | {d.in_short(d.reference)} | {d.in_short(d.modelog)} | {expected(reasons, d.call.name)} |".replace("\n", " "))
        return 1 if unexplained else 0
    for d in unexplained:
        print(f"{d.call.name}{' (only the text)' if d.only_text else ''}\n  MLflow   {shown(d.call, d.reference)[:600]}\n  modelog  {shown(d.call, d.modelog)[:600]}")
    for pattern in stale:
        print(f"expected_differences.json explains {pattern!r}, where nothing differs")
    print(f"{sum(c.compared for c in calls())} calls: {len(different)} differ, {len(explained)} of them explained")
    return 1 if unexplained or stale else 0


if __name__ == "__main__":
    sys.exit(main())
