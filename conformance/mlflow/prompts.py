"""The prompt registry, which is the model registry with tags."""

from __future__ import annotations

import re

import mlflow

from checks import Checks, Context, equal, refused
from servers import wait_until

check = Checks()


@check
def prompt_register_and_load(t: Context) -> None:
    name = t.name("prompt")
    first = mlflow.register_prompt(name, "Summarise: {{text}}", commit_message="first", tags={"team": "red"})
    equal((first.name, first.version, first.template, first.commit_message), (name, 1, "Summarise: {{text}}", "first"))
    second = mlflow.register_prompt(name, "In {{n}} words: {{text}}", commit_message="second")
    equal(second.version, 2)
    got = mlflow.load_prompt(name, version=1)
    equal((got.template, got.version, got.tags), ("Summarise: {{text}}", 1, {"team": "red"}))
    equal(got.format(text="x"), "Summarise: x")
    equal(mlflow.load_prompt(f"prompts:/{name}/2").template, "In {{n}} words: {{text}}")
    equal(mlflow.load_prompt(name).version, 2, "the latest")
    equal(mlflow.load_prompt(f"prompts:/{name}@latest").version, 2)
    equal(mlflow.load_prompt(name, version=9, allow_missing=True), None)
    with refused("RESOURCE_DOES_NOT_EXIST", "not found"):
        mlflow.load_prompt(name, version=9)
    wait_until(lambda: t.client.get_prompt(name).tags.get("_mlflow_experiment_ids"), "the prompt is linked to its experiment")


@check
def prompt_chat(t: Context) -> None:
    name = t.name("chat")
    template = [{"role": "system", "content": "You are {{who}}."}, {"role": "user", "content": "{{question}}"}]
    response = {"type": "object", "properties": {"answer": {"type": "string"}}}
    config = {"model_name": "a-model", "temperature": 0.5}
    mlflow.register_prompt(name, template, response_format=response, model_config=config)
    got = mlflow.load_prompt(name, version=1)
    equal((got.template, got.is_text_prompt, got.response_format), (template, False, response))
    equal({k: got.model_config[k] for k in config}, config)
    equal(got.format(who="me", question="?")[0], {"role": "system", "content": "You are me."})


@check
def prompt_aliases(t: Context) -> None:
    name = t.name("prompt")
    for text in ("one", "two"):
        mlflow.register_prompt(name, text)
    mlflow.set_prompt_alias(name, "production", 1)
    equal(mlflow.load_prompt(f"prompts:/{name}@production").template, "one")
    mlflow.set_prompt_alias(name, "production", 2)
    equal(mlflow.load_prompt(f"prompts:/{name}@production").template, "two")
    equal(t.client.get_prompt_version_by_alias(name, "production").version, 2)
    equal(mlflow.load_prompt(name, version=2).aliases, ["production"])
    mlflow.delete_prompt_alias(name, "production")
    with refused("INVALID_PARAMETER_VALUE", "alias production not found"):
        mlflow.load_prompt(f"prompts:/{name}@production")
    equal(mlflow.load_prompt(f"prompts:/{name}@production", allow_missing=True), None)


@check
def prompt_tags(t: Context) -> None:
    name = t.name("prompt")
    mlflow.register_prompt(name, "text", tags={"author": "ann"})
    t.client.set_prompt_tag(name, "team", "red")
    equal({k: t.client.get_prompt(name).tags.get(k) for k in ("author", "team")}, {"author": "ann", "team": "red"})
    t.client.delete_prompt_tag(name, "team")
    assert "team" not in t.client.get_prompt(name).tags
    t.client.set_prompt_version_tag(name, 1, "score", "9")
    equal(mlflow.load_prompt(name, version=1).tags["score"], "9")
    t.client.delete_prompt_version_tag(name, 1, "score")
    assert "score" not in mlflow.load_prompt(name, version=1).tags


@check
def prompt_search(t: Context) -> None:
    """Prompts are not models, and models are not prompts."""
    prefix = t.name("seek")
    for name in "abc":
        mlflow.register_prompt(f"{prefix}-{name}", name, tags={"team": "red" if name < "c" else "blue"})
    t.client.create_registered_model(f"{prefix}-model", tags={"team": "red"})
    mine = f"name LIKE '{prefix}%'"
    equal([p.name for p in mlflow.genai.search_prompts(mine)], [f"{prefix}-{n}" for n in "abc"])
    equal([p.name for p in t.client.search_prompts(f"{mine} AND tags.team = 'red'")], [f"{prefix}-a", f"{prefix}-b"])
    equal([m.name for m in t.client.search_registered_models(mine)], [f"{prefix}-model"])
    raw = t.server.rpc("GET", "registered-models/search", {"filter": mine}).body["registered_models"]
    equal([m["name"] for m in raw], [f"{prefix}-model"])
    for clause, want in (("= 'true'", "abc"), ("!= 'false'", "abc"), ("= 'false'", "model"), ("!= 'true'", "model")):
        args = {"filter": f"{mine} AND tags.`mlflow.prompt.is_prompt` {clause}"}
        found = t.server.rpc("GET", "registered-models/search", args).body.get("registered_models", [])
        equal([m["name"] for m in found], [f"{prefix}-{n}" for n in ("abc" if want == "abc" else ["model"])], clause)
    first = t.client.search_prompts(mine, max_results=2)
    rest = t.client.search_prompts(mine, max_results=2, page_token=first.token)
    equal([p.name for p in [*first, *rest]], [f"{prefix}-{n}" for n in "abc"])
    assert not rest.token, rest.token


@check
def prompt_conflicts(t: Context) -> None:
    """A name is a prompt's or a model's."""
    model, prompt = t.model(versions=1), t.name("prompt")
    mlflow.register_prompt(prompt, "text")
    with refused("INVALID_PARAMETER_VALUE", "exists with the same name"):
        mlflow.register_prompt(model, "text")
    with refused("RESOURCE_ALREADY_EXISTS", "already taken by a prompt"):
        t.client.create_registered_model(prompt)
    is_prompt = [{"key": "mlflow.prompt.is_prompt", "value": "true"}]
    for name, text in ((prompt, rf"Prompt \(name={prompt}\) already exists"), (model, "already taken by a registered model")):
        answer = t.server.rpc("POST", "registered-models/create", {"name": name, "tags": is_prompt})
        equal((answer.status, answer.code), (400, "RESOURCE_ALREADY_EXISTS"))
        assert re.search(text, answer.message), answer
    for call in (
        lambda: t.client.get_registered_model(prompt),
        lambda: t.client.set_registered_model_alias(prompt, "a", "1"),
        lambda: t.client.delete_registered_model(prompt),
    ):
        with refused("RESOURCE_DOES_NOT_EXIST", f"Registered Model with name='?{prompt}'? not found"):
            call()


@check
def prompt_delete(t: Context) -> None:
    name = t.name("prompt")
    for text in ("one", "two"):
        mlflow.register_prompt(name, text)
    t.client.delete_prompt_version(name, "2")
    equal(mlflow.load_prompt(name, version=2, allow_missing=True), None)
    equal(mlflow.load_prompt(name).version, 1, "the latest that is there")
    t.client.delete_prompt(name)
    equal(t.client.get_prompt(name), None)
    equal(mlflow.register_prompt(name, "anew").version, 1)


@check
def prompt_client_methods(t: Context) -> None:
    name = t.name("prompt")
    equal(t.client.create_prompt(name, description="what it is", tags={"k": "v"}).name, name)
    made = t.client.create_prompt_version(name, "Hello {{who}}", description="first", tags={"a": "b"})
    equal((int(made.version), made.template), (1, "Hello {{who}}"))
    got = t.client.get_prompt(name)
    equal((got.description, got.tags), ("what it is", {"k": "v"}))
    equal(t.client.get_prompt_version(name, "1").tags, {"a": "b"})
    with refused("RESOURCE_DOES_NOT_EXIST", rf"\(name={name}, version=9\) not found"):
        t.client.get_prompt_version(name, "9")
    equal(t.client.get_prompt("nobody"), None)
