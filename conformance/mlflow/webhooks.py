"""Webhooks, delivered to a receiver that checks signatures with MLflow's own function."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from mlflow.entities.webhook import VALID_ENTITY_ACTIONS, WebhookAction, WebhookEntity, WebhookEvent, WebhookStatus
from mlflow.webhooks.delivery import _generate_hmac_signature
from mlflow.webhooks.types import get_example_payload_for_event, get_payload_class_for_event

from checks import Checks, Context, equal, refused
from servers import free_port, wait_until

check = Checks()

URL = "http://127.0.0.1:9/hook?token=1"  # where nobody listens
SECRET = "hush, größe"  # no form is asked of it: its letters are the key
ALL = [WebhookEvent(e, a) for e, actions in VALID_ENTITY_ACTIONS.items() for a in actions if e != WebhookEntity.BUDGET_POLICY]
VERSION_CREATED = WebhookEvent(WebhookEntity.MODEL_VERSION, WebhookAction.CREATED)


@dataclass
class Delivery:
    headers: dict[str, str]
    text: str

    @property
    def body(self) -> Any:
        return json.loads(self.text)

    @property
    def event(self) -> str:
        return f"{self.body['entity']}.{self.body['action']}"

    @property
    def id(self) -> str:
        return self.headers["x-mlflow-delivery-id"]

    def signed_with(self, secret: str) -> bool:
        want = _generate_hmac_signature(secret, self.id, self.headers["x-mlflow-timestamp"], self.text)
        return self.headers.get("x-mlflow-signature") == want


@dataclass
class Receiver:
    """Notes what comes, and answers with the statuses in their order, then with 200."""

    statuses: list[int] = field(default_factory=list)
    port: int = field(default_factory=free_port)
    got: list[Delivery] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?token=1"

    @contextmanager
    def listening(self) -> Iterator["Receiver"]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # noqa: N802: http.server calls it so
                text = self.rfile.read(int(self.headers["Content-Length"])).decode()
                receiver.got.append(Delivery({k.lower(): v for k, v in self.headers.items()}, text))
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 200)
                self.send_header("Content-Length", "6")
                self.end_headers()
                self.wfile.write(b"thanks")

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def about(self, name: str) -> list[Delivery]:
        return [d for d in self.got if d.body["data"].get("name") == name]


@contextmanager
def hooked(t: Context, events: list[WebhookEvent] = ALL, secret: str | None = SECRET, statuses: list[int] | None = None) -> Iterator[Receiver]:
    """A receiver with a webhook, which is deleted after."""
    with Receiver(statuses or []).listening() as receiver:
        hook = t.client.create_webhook(t.name("hook"), receiver.url, events, secret=secret)
        try:
            yield receiver
        finally:
            t.client.delete_webhook(hook.webhook_id)


def said(d: Delivery) -> tuple[str, dict[str, Any]]:
    return d.event, d.body["data"]


@check
def webhook_create_get_update_and_delete(t: Context) -> None:
    events = [VERSION_CREATED, WebhookEvent(WebhookEntity.PROMPT_TAG, WebhookAction.DELETED)]
    made = t.client.create_webhook("on-call.1", URL, events, description="to the channel", secret=SECRET)
    got = t.client.get_webhook(made.webhook_id)
    equal((got.name, got.url, set(got.events), got.description, got.status), ("on-call.1", URL, set(events), "to the channel", WebhookStatus.ACTIVE))
    equal((got.secret, made.secret), (None, None), "the secret is never shown")
    equal(got.creation_timestamp, got.last_updated_timestamp)
    changed = t.client.update_webhook(
        made.webhook_id, name="other", description="", url=URL + "2", events=ALL, secret="new", status=WebhookStatus.DISABLED
    )
    equal((changed.name, changed.url, changed.description, changed.status), ("other", URL + "2", None, WebhookStatus.DISABLED))
    equal(set(changed.events), set(ALL))
    assert changed.last_updated_timestamp >= changed.creation_timestamp == got.creation_timestamp, changed
    equal(repr(t.client.get_webhook(made.webhook_id)), repr(changed))
    equal(t.client.update_webhook(made.webhook_id, status=WebhookStatus.ACTIVE).status, WebhookStatus.ACTIVE)
    equal(t.client.update_webhook(made.webhook_id, name="third").url, URL + "2", "what isn't given stays")
    t.client.delete_webhook(made.webhook_id)
    for call in (t.client.get_webhook, t.client.delete_webhook, t.client.update_webhook, t.client.test_webhook):
        with refused("RESOURCE_DOES_NOT_EXIST", f"Webhook with ID {made.webhook_id} not found", 404):
            call(made.webhook_id)


@check
def webhook_created_disabled(t: Context) -> None:
    made = t.client.create_webhook(t.name("hook"), URL, [VERSION_CREATED], status=WebhookStatus.DISABLED)
    equal((made.status, t.client.get_webhook(made.webhook_id).status), (WebhookStatus.DISABLED,) * 2)
    t.client.delete_webhook(made.webhook_id)


@check
def webhook_list(t: Context) -> None:
    made = []
    for _ in range(7):
        made.append(t.client.create_webhook("same-name", URL, [VERSION_CREATED]))
        wait_until(lambda: time.time_ns() // 1_000_000 > made[-1].creation_timestamp, "another millisecond")
    ids = [w.webhook_id for w in made]
    found, token, pages = [], None, 0
    while token != "":
        page = t.client.list_webhooks(max_results=3, page_token=token)
        found += [w.webhook_id for w in page]
        token, pages = page.token or "", pages + 1
    equal(found, ids[::-1], "the newest first")
    equal(pages, 3)
    equal([w.webhook_id for w in t.client.list_webhooks()], ids[::-1])
    with refused("INVALID_PARAMETER_VALUE", "max_results must be between 1 and 1000"):
        t.client.list_webhooks(max_results=1001)
    with refused("INVALID_PARAMETER_VALUE", "Invalid page token, could not base64-decode"):
        t.client.list_webhooks(page_token="evilhax")
    for w in ids:
        t.client.delete_webhook(w)
    equal(list(t.client.list_webhooks()), [])


@check
def webhook_that_is_refused(t: Context) -> None:
    for name in ("", " ", "a b", "-a", "a.", "a" * 64, "a/b", "ä"):
        with refused("INVALID_PARAMETER_VALUE", "name", 400):
            t.client.create_webhook(name, URL, [VERSION_CREATED])
    for url in ("", "ftp://h/x", "file:///etc/passwd", "no-url", "http://"):
        with refused("INVALID_PARAMETER_VALUE", "(?i)url", 400):
            t.client.create_webhook("a", url, [VERSION_CREATED])
    with refused("INVALID_PARAMETER_VALUE", "events", 400):
        t.client.create_webhook("a", URL, [])
    with refused("RESOURCE_DOES_NOT_EXIST", "Webhook with ID none not found", 404):
        t.client.get_webhook("none")
    wrong = {"name": "a", "url": URL, "events": [{"entity": "MODEL_VERSION", "action": "DELETED"}]}
    answer = t.server.rpc("POST", "webhooks", wrong)
    equal((answer.status, answer.code), (400, "INVALID_PARAMETER_VALUE"), str(answer))
    assert answer.message.startswith("Invalid action 'deleted' for entity 'model_version'. Valid actions are: ['created']"), answer
    equal(list(t.client.list_webhooks()), [])


@check
def webhook_deliveries_of_a_model(t: Context) -> None:
    name = t.name()
    with hooked(t) as receiver:
        t.client.create_registered_model(name, {"team": "red"}, "scores")
        t.client.create_model_version(name, "s3://models/m/1", run_id="r1", tags={"a": "b"}, description="first")
        t.client.create_model_version(name, "s3://models/m/2")
        t.client.set_model_version_tag(name, "1", "k", "größe")
        t.client.delete_model_version_tag(name, "1", "k")
        t.client.set_registered_model_alias(name, "champion", "1")
        t.client.set_registered_model_alias(name, "champion", "2")
        t.client.delete_registered_model_alias(name, "champion")
        t.client.set_registered_model_tag(name, "nobody", "is told")
        t.client.transition_model_version_stage(name, "1", "Staging")
        t.client.delete_model_version(name, "1")
        t.client.rename_registered_model(name, name + "-renamed")
        t.client.delete_registered_model(name + "-renamed")
        t.client.create_registered_model(last := t.name())
        wait_until(lambda: receiver.about(last) and len(receiver.about(name)) >= 8, f"all came, of {len(receiver.got)}")
    want = [
        ("registered_model.created", {"name": name, "tags": {"team": "red"}, "description": "scores"}),
        ("model_version.created", {"name": name, "version": "1", "source": "s3://models/m/1", "run_id": "r1", "tags": {"a": "b"}, "description": "first"}),
        ("model_version.created", {"name": name, "version": "2", "source": "s3://models/m/2", "run_id": None, "tags": {}, "description": None}),
        ("model_version_tag.set", {"name": name, "version": "1", "key": "k", "value": "größe"}),
        ("model_version_tag.deleted", {"name": name, "version": "1", "key": "k"}),
        ("model_version_alias.created", {"name": name, "alias": "champion", "version": "1"}),
        ("model_version_alias.created", {"name": name, "alias": "champion", "version": "2"}),
        ("model_version_alias.deleted", {"name": name, "alias": "champion"}),
    ]
    judge(t, receiver, name, want)


@check
def webhook_deliveries_of_a_prompt(t: Context) -> None:
    name = t.name("prompt")
    with hooked(t) as receiver:
        t.client._get_registry_client().create_registered_model(name, {"mlflow.prompt.is_prompt": "true", "_mlflow_prompt_type": "text", "team": "red"}, "greets")
        tags = {"mlflow.prompt.is_prompt": "true", "_mlflow_prompt_type": "text", "mlflow.prompt.text": "Hello {{name}}!", "a": "b"}
        t.client._get_registry_client().create_model_version(name, "dummy-source", tags=tags, description="first")
        t.client.set_prompt_tag(name, "k", "v")
        t.client.delete_prompt_tag(name, "k")
        t.client.set_prompt_version_tag(name, 1, "k", "v")
        t.client.delete_prompt_version_tag(name, 1, "k")
        t.client.set_prompt_alias(name, "live", 1)
        t.client.delete_prompt_alias(name, "live")
        wait_until(lambda: len(receiver.about(name)) >= 8, f"all came, of {len(receiver.got)}")
    want = [
        ("prompt.created", {"name": name, "tags": {"team": "red"}, "description": "greets"}),
        ("prompt_version.created", {"name": name, "version": "1", "template": "Hello {{name}}!", "tags": {"a": "b"}, "description": "first"}),
        ("prompt_tag.set", {"name": name, "key": "k", "value": "v"}),
        ("prompt_tag.deleted", {"name": name, "key": "k"}),
        ("prompt_version_tag.set", {"name": name, "version": "1", "key": "k", "value": "v"}),
        ("prompt_version_tag.deleted", {"name": name, "version": "1", "key": "k"}),
        ("prompt_alias.created", {"name": name, "alias": "live", "version": "1"}),
        ("prompt_alias.deleted", {"name": name, "alias": "live"}),
    ]
    judge(t, receiver, name, want)


def judge(t: Context, receiver: Receiver, name: str, want: list[tuple[str, dict[str, Any]]]) -> None:
    """Holds what came to what was to come, in order where the server keeps one."""
    got = receiver.about(name)
    if t.server.name != "modelog":  # each delivery is a thread of its own
        got.sort(key=lambda d: str(said(d)))
        want.sort(key=str)
    equal([said(d) for d in got], want)
    equal(len({d.id for d in receiver.got}), len(receiver.got), "ids of their own")
    for d in receiver.got:
        assert d.signed_with(SECRET) and not d.signed_with("other"), d
        equal(d.headers["content-type"], "application/json")
        event = WebhookEvent.from_str(d.event)
        equal(set(d.body), {"entity", "action", "timestamp", "data"})
        equal(set(d.body["data"]), set(get_payload_class_for_event(event).__annotations__), d.event)


@check
def webhook_of_some_events(t: Context) -> None:
    name = t.name()
    with hooked(t, [WebhookEvent(WebhookEntity.MODEL_VERSION_TAG, WebhookAction.DELETED)]) as receiver:
        t.client.create_registered_model(name)
        t.client.create_model_version(name, "s3://models/m/1", tags={"a": "b"})
        t.client.set_model_version_tag(name, "1", "c", "d")
        t.client.delete_model_version_tag(name, "1", "a")
        wait_until(lambda: receiver.got, "one came")
    equal([said(d) for d in receiver.got], [("model_version_tag.deleted", {"name": name, "version": "1", "key": "a"})])


@check
def webhook_without_a_secret_isnt_signed(t: Context) -> None:
    with hooked(t, secret=None) as receiver:
        t.client.create_registered_model(t.name())
        got = wait_until(lambda: receiver.got, "one came")[0]
    assert "x-mlflow-signature" not in got.headers and got.id and got.headers["x-mlflow-timestamp"], got


@check
def webhook_is_tried_again(t: Context) -> None:
    with hooked(t, statuses=[503]) as receiver:
        t.client.create_registered_model(t.name())
        wait_until(lambda: len(receiver.got) == 2, "it came again", 30)
    first, second = receiver.got
    equal((first.text, first.id), (second.text, second.id), "the same again")
    assert first.signed_with(SECRET) and second.signed_with(SECRET), receiver.got


@check
def webhook_with_another_secret(t: Context) -> None:
    with Receiver().listening() as receiver:
        hook = t.client.create_webhook(t.name("hook"), receiver.url, ALL, secret="old")
        t.client.update_webhook(hook.webhook_id, secret="new")
        t.client.create_registered_model(t.name())
        got = wait_until(lambda: receiver.got, "one came")[0]
        t.client.delete_webhook(hook.webhook_id)
    assert got.signed_with("new") and not got.signed_with("old"), got


@check
def webhook_test_sends_an_example(t: Context) -> None:
    with Receiver().listening() as receiver:
        hook = t.client.create_webhook(t.name("hook"), receiver.url, [VERSION_CREATED], secret=SECRET)
        result = t.client.test_webhook(hook.webhook_id)
        equal((result.success, result.response_status, result.response_body, result.error_message), (True, 200, "thanks", None))
        for event in ALL:
            assert t.client.test_webhook(hook.webhook_id, str(event)).success
        equal([said(d) for d in receiver.got], [(str(e), get_example_payload_for_event(e)) for e in [VERSION_CREATED, *ALL]])
        assert all(d.signed_with(SECRET) for d in receiver.got), receiver.got
        receiver.statuses = [418]
        result = t.client.test_webhook(hook.webhook_id)
        equal((result.success, result.response_status, result.response_body), (False, 418, "thanks"))
    result = t.client.test_webhook(hook.webhook_id)
    equal((result.success, result.response_status), (False, None))
    assert result.error_message.startswith("Failed to test webhook"), result
    t.client.delete_webhook(hook.webhook_id)


@check.modelog_only("MLflow's queue is in memory")
def webhook_deliveries_survive_a_restart(t: Context) -> None:
    receiver = Receiver()
    hook = t.client.create_webhook(t.name("hook"), receiver.url, ALL, secret=SECRET)
    names = [t.name() for _ in range(3)]
    for name in names:
        t.client.create_registered_model(name)
    t.modelog.stop()
    with receiver.listening():
        t.modelog.start()
        wait_until(lambda: all(receiver.about(name) for name in names), "all came after the restart", 30)
    assert all(d.signed_with(SECRET) for d in receiver.got), receiver.got
    t.client.delete_webhook(hook.webhook_id)


@check.modelog_only("MLflow has no tags by the dozen")
def webhook_of_many_tags_at_once(t: Context) -> None:
    name = t.model(versions=1)
    with hooked(t, statuses=[200, 503]) as receiver:
        tags = {"a": "1", "b": "2", "c": "3"}
        answer = t.modelog.request("PATCH", f"/v1/models/{name}/versions/1", {"tags": tags})
        equal(answer.status, 200, str(answer))
        wait_until(lambda: len(receiver.got) == 5, "all came, and the first two again", 30)
    equal([d.body["data"]["key"] for d in receiver.got], ["a", "b", "a", "b", "c"])
    ids = [d.id for d in receiver.got]
    equal((ids[:2], len(set(ids))), (ids[2:4], 3), "ids that stay")
