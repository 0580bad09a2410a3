"""Every registry method of MlflowClient."""

from __future__ import annotations

import threading
import time

from mlflow import MlflowClient

from checks import SOURCE, Checks, Context, equal, refused

check = Checks()

MODEL_GONE = r"Registered Model with name=.* not found"
VERSION_GONE = r"Model Version \(name=.*, version=.*\) not found"


def millis() -> int:
    return time.time_ns() // 1_000_000


# Registered models


@check
def model_create_and_get(t: Context) -> None:
    name = t.name()
    before = millis()
    made = t.client.create_registered_model(name, tags={"k": "v", "a key": "x y", "n": 12345}, description="what it is")
    after = millis()
    equal(made.name, name)
    equal(made.tags, {"k": "v", "a key": "x y", "n": "12345"})
    equal(made.description, "what it is")
    assert before <= made.creation_timestamp == made.last_updated_timestamp <= after, (before, made, after)
    got = t.client.get_registered_model(name)
    equal(dict(got), dict(made) | {"latest_versions": [], "aliases": {}})
    equal(t.client.get_registered_model(t.model()).description, "", "description that was not given")


@check
def model_names(t: Context) -> None:
    """Spaces, dots, Unicode and percent signs are allowed; slashes, colons and blanks are not."""
    for name in ("with a space", "dots.and-dashes_", "模型 été", "50%25", "a&b=c?d#e", "quo'te \"double\"", "x" * 200):
        t.client.create_registered_model(name)
        equal(t.client.get_registered_model(name).name, name)
        equal(t.client.create_model_version(name, SOURCE).name, name)
    for name in ("a/b", "a:b", "..", ".", "", "  "):
        with refused("INVALID_PARAMETER_VALUE", "name|path"):
            t.client.create_registered_model(name)


@check
def model_exists(t: Context) -> None:
    name = t.model()
    with refused("RESOURCE_ALREADY_EXISTS", rf"Registered Model \(name={name}\) already exists", 400):
        t.client.create_registered_model(name)


@check
def model_not_found(t: Context) -> None:
    for call in (
        lambda: t.client.get_registered_model("nobody"),
        lambda: t.client.update_registered_model("nobody", "d"),
        lambda: t.client.rename_registered_model("nobody", "somebody"),
        lambda: t.client.delete_registered_model("nobody"),
        lambda: t.client.get_latest_versions("nobody"),
        lambda: t.client.set_registered_model_tag("nobody", "k", "v"),
        lambda: t.client.create_model_version("nobody", SOURCE),
        lambda: t.client.get_model_version_by_alias("nobody", "a"),
        lambda: t.client.set_registered_model_alias("nobody", "a", "1"),
    ):
        with refused("RESOURCE_DOES_NOT_EXIST", "name=nobody not found", 404):
            call()


@check
def model_update(t: Context) -> None:
    name = t.model()
    before = t.client.get_registered_model(name)
    equal(t.client.update_registered_model(name, "new").description, "new")
    got = t.client.get_registered_model(name)
    equal(got.description, "new")
    equal(got.creation_timestamp, before.creation_timestamp)
    assert got.last_updated_timestamp >= before.last_updated_timestamp
    t.client.update_registered_model(name, "")
    equal(t.client.get_registered_model(name).description, "")


@check
def model_rename(t: Context) -> None:
    """Versions, tags and aliases follow; the old name is free."""
    name, new = t.model(versions=2), t.name("renamed")
    t.client.set_registered_model_tag(name, "k", "v")
    t.client.set_model_version_tag(name, "1", "vk", "vv")
    t.client.set_registered_model_alias(name, "champion", "2")
    t.client.rename_registered_model(name, new)
    got = t.client.get_registered_model(new)
    equal((got.tags, got.aliases), ({"k": "v"}, {"champion": "2"}))
    equal({(v.name, v.version) for v in t.client.search_model_versions(f"name = '{new}'")}, {(new, "1"), (new, "2")})
    v1 = t.client.get_model_version(new, "1")
    equal(v1.tags, {"vk": "vv"})
    equal(v1.last_updated_timestamp, got.last_updated_timestamp, "a version's timestamp after a rename")
    equal(t.client.get_model_version_by_alias(new, "champion").version, "2")
    with refused("RESOURCE_DOES_NOT_EXIST", MODEL_GONE):
        t.client.get_registered_model(name)
    t.client.create_registered_model(name)
    equal(t.client.create_model_version(name, SOURCE).version, "1")
    with refused("RESOURCE_ALREADY_EXISTS", rf"Registered Model \(name={new}\) already exists"):
        t.client.rename_registered_model(name, new)
    with refused("INVALID_PARAMETER_VALUE"):
        t.client.rename_registered_model(name, "a/b")


@check
def model_delete(t: Context) -> None:
    """Everything goes along, and numbers begin anew."""
    name = t.model(versions=2)
    t.client.set_registered_model_tag(name, "k", "v")
    t.client.set_registered_model_alias(name, "champion", "2")
    t.client.delete_registered_model(name)
    with refused("RESOURCE_DOES_NOT_EXIST", MODEL_GONE):
        t.client.get_registered_model(name)
    with refused("RESOURCE_DOES_NOT_EXIST"):
        t.client.get_model_version(name, "1")
    equal(t.client.search_model_versions(f"name = '{name}'"), [])
    equal(t.client.search_registered_models(f"name = '{name}'"), [])
    made = t.client.create_registered_model(name)
    equal(t.client.create_model_version(name, SOURCE).version, "1")
    got = t.client.get_registered_model(name)
    equal((got.tags, got.aliases, got.creation_timestamp), ({}, {}, made.creation_timestamp))


@check
def model_tags(t: Context) -> None:
    name = t.model()
    before = t.client.get_registered_model(name).last_updated_timestamp
    for key, value in {"k": "v", "n": 1, "empty": "", "a/b:c-d_e.f g": "x", "long": "x" * 5000}.items():
        t.client.set_registered_model_tag(name, key, value)
    t.client.set_registered_model_tag(name, "k", "w")
    got = t.client.get_registered_model(name)
    equal(got.tags, {"k": "w", "n": "1", "empty": "", "a/b:c-d_e.f g": "x", "long": "x" * 5000})
    equal(got.last_updated_timestamp, before, "a tag changes no timestamp")
    t.client.delete_registered_model_tag(name, "k")
    t.client.delete_registered_model_tag(name, "not there")
    assert "k" not in t.client.get_registered_model(name).tags
    for key in ("a//b", "../x", "a\nb", "k" * 251, "ключ?"):
        with refused("INVALID_PARAMETER_VALUE"):
            t.client.set_registered_model_tag(name, key, "v")


@check
def model_latest_versions(t: Context) -> None:
    name = t.model(versions=7)
    for version, stage in {1: "Archived", 2: "Production", 3: "Archived", 4: "Production", 5: "Staging", 6: "Staging"}.items():
        t.client.transition_model_version_stage(name, str(version), stage)

    def latest(stages: list[str] | None) -> dict[str, str]:
        return {v.current_stage: v.version for v in t.client.get_latest_versions(name, stages)}

    everything = {"Production": "4", "Staging": "6", "Archived": "3", "None": "7"}
    for stages in (None, [], ["None", "Staging", "Production", "Archived"]):
        equal(latest(stages), everything)
    equal(latest(["production"]), {"Production": "4"})
    equal(latest(["None", "Staging"]), {"None": "7", "Staging": "6"})
    equal({v.current_stage: v.version for v in t.client.get_registered_model(name).latest_versions}, everything)
    with refused("INVALID_PARAMETER_VALUE", "Invalid Model Version stage: Live"):
        latest(["Live"])
    t.client.delete_model_version(name, "4")
    equal(latest(["Production"]), {"Production": "2"})


# Search of registered models


@check
def model_search(t: Context) -> None:
    prefix = t.name("find")
    teams = {"Alpha": "Red", "alphabet": "blue", "BETA_1": "red", "beta%2": None}
    for name, team in teams.items():
        t.client.create_registered_model(f"{prefix}{name}", tags={"team": team, "a key": "x"} if team else {})

    def found(filter_string: str) -> list[str]:
        mine = f"name LIKE '{prefix}%'"
        both = f"{mine} AND {filter_string}" if filter_string else mine
        return [m.name.removeprefix(prefix) for m in t.client.search_registered_models(both)]

    equal(found(""), ["Alpha", "BETA_1", "alphabet", "beta%2"], "default order: bytes of the name")
    equal(found(f"name = '{prefix}Alpha'"), ["Alpha"])
    equal(found(f'name = "{prefix}Alpha"'), ["Alpha"])
    equal(found(f"name != '{prefix}Alpha'"), ["BETA_1", "alphabet", "beta%2"])
    equal(found("name LIKE '%alpha%'"), ["alphabet"])
    equal(found("name ILIKE '%ALPHA%'"), ["Alpha", "alphabet"])
    equal(found("name ilike '%beta_1'"), ["BETA_1"])
    equal(found("name LIKE '%lph_'"), ["Alpha"])
    equal(found("attribute.name LIKE '%a%' and name LIKE '%t%'"), ["alphabet", "beta%2"])
    equal(found("tags.team = 'red'"), ["BETA_1"])
    equal(found("tag.team ILIKE 'RED'"), ["Alpha", "BETA_1"])
    equal(found("tags.team != 'red'"), ["Alpha", "alphabet"], "only models that have the tag")
    equal(found("tags.`a key` = 'x' AND tags.team LIKE '%e%' AND name LIKE '%t%'"), ["alphabet"])
    equal(found("tags.team = 'Red' AND tags.team = 'red'"), [])
    for wrong in (
        "name = 'a' OR name = 'b'",
        "(name = 'a')",
        "name > 'a'",
        "nome = 'a'",
        "name = 5",
        "name = a",
        "run_id = 'r'",
        "name = 'a';",
    ):
        with refused("INVALID_PARAMETER_VALUE", status=400):
            t.client.search_registered_models(wrong)


@check
def model_search_order(t: Context) -> None:
    prefix = t.name("order")
    for name in "bac":
        t.client.create_registered_model(prefix + name)
    t.client.update_registered_model(prefix + "a", "newest")

    def found(*order_by: str) -> str:
        models = t.client.search_registered_models(f"name LIKE '{prefix}%'", order_by=list(order_by))
        return "".join(m.name.removeprefix(prefix) for m in models)

    equal(found(), "abc")
    equal(found("name"), "abc")
    equal(found("name ASC"), "abc")
    equal(found("name DESC"), "cba")
    equal(found("last_updated_timestamp DESC")[0], "a")
    equal(found("timestamp desc", "name"), found("last_updated_timestamp DESC"))
    for wrong in ("description", "name UP", "name ASC DESC", "name; DROP TABLE x"):
        with refused("INVALID_PARAMETER_VALUE"):
            found(wrong)


@check
def model_search_pages(t: Context) -> None:
    prefix = t.name("page")
    names = [f"{prefix}-{i:02}" for i in range(29)]
    for name in names:
        t.client.create_registered_model(name)
    for size in (1, 8, 29, 100):
        got, token, pages = [], None, 0
        while token != "":
            page = t.client.search_registered_models(f"name LIKE '{prefix}-%'", max_results=size, page_token=token)
            got += [m.name for m in page]
            token, pages = page.token or "", pages + 1
        equal(got, names, f"pages of {size}")
        equal(pages, -(-29 // size), "pages, the last without a token")
    for wrong in (1001, 10**6):
        with refused("INVALID_PARAMETER_VALUE", "max_results"):
            t.client.search_registered_models(max_results=wrong)


@check.reference_fails("seen twice")
def model_search_while_others_write(t: Context) -> None:
    """Pages of 2,500 models have each one once, although models come that sort before them.

    MLflow's page token is an offset, which moves with every new name.
    """
    prefix = t.name("many")
    names = [f"{prefix}-m{i:04}" for i in range(2500)]

    def create(mine: list[str]) -> None:
        for name in mine:
            answer = t.server.rpc("POST", "registered-models/create", {"name": name})
            assert answer.status == 200, answer

    in_parallel([lambda mine=names[i::4]: create(mine) for i in range(4)])
    stop, others = threading.Event(), 0

    def write() -> None:
        nonlocal others
        while not stop.is_set():
            others += 1
            create([f"{prefix}-{'az'[others % 2]}{others:05}"])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        got, token, page = [], None, 0
        while token != "":
            models = t.client.search_registered_models(f"name LIKE '{prefix}-%'", max_results=500, page_token=token)
            got += [m.name for m in models if m.name.startswith(f"{prefix}-m")]
            token, page = models.token or "", page + 1
            create([f"{prefix}-A{page}"])  # sorts before all others
    finally:
        stop.set()
        writer.join()
    assert len(got) == len(set(got)), f"{len(got) - len(set(got))} models were seen twice"
    equal(sorted(got), names)


def in_parallel(calls: list) -> None:
    """Runs all at once, and raises the first error."""
    errors: list[BaseException] = []

    def guarded(call) -> None:
        try:
            call()
        except BaseException as e:  # noqa: BLE001: it is raised again
            errors.append(e)

    threads = [threading.Thread(target=guarded, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


# Model versions


@check
def version_create_and_get(t: Context) -> None:
    name = t.model()
    before = millis()
    made = t.client.create_model_version(
        name, SOURCE + "1", "a-run", tags={"k": "v", "n": 1}, run_link="http://runs/1", description="first"
    )
    after = millis()
    equal((made.name, made.version, made.current_stage, made.status), (name, "1", "None", "READY"))
    equal((made.source, made.run_id, made.run_link, made.description), (SOURCE + "1", "a-run", "http://runs/1", "first"))
    equal((made.tags, made.aliases), ({"k": "v", "n": "1"}, []))
    assert before <= made.creation_timestamp == made.last_updated_timestamp <= after
    equal(dict(t.client.get_model_version(name, "1")), dict(made))
    equal(dict(t.client.get_model_version(name, 1)), dict(made))
    bare = t.client.create_model_version(name, SOURCE + "2")
    equal((bare.version, bare.description, bare.run_link, bare.tags), ("2", "", "", {}))
    got = t.client.get_model_version(name, "2")
    equal((str(got.description), got.run_id or "", got.run_link or ""), ("", "", ""))
    equal(got.current_stage, "None")
    model = t.client.get_registered_model(name)
    equal([v.version for v in model.latest_versions], ["2"])
    equal(model.last_updated_timestamp, bare.creation_timestamp)


@check
def version_not_found(t: Context) -> None:
    name = t.model(versions=1)
    for call in (
        lambda: t.client.get_model_version(name, "7"),
        lambda: t.client.update_model_version(name, "7", "d"),
        lambda: t.client.delete_model_version(name, "7"),
        lambda: t.client.transition_model_version_stage(name, "7", "Staging"),
        lambda: t.client.get_model_version_download_uri(name, "7"),
        lambda: t.client.set_model_version_tag(name, "7", "k", "v"),
        lambda: t.client.delete_model_version_tag(name, "7", "k"),
        lambda: t.client.set_registered_model_alias(name, "a", "7"),
    ):
        with refused("RESOURCE_DOES_NOT_EXIST", rf"Model Version \(name={name}, version=7\) not found", 404):
            call()
    with refused("INVALID_PARAMETER_VALUE", "Parameter 'version' must be an integer, got 'x y'."):
        t.client.get_model_version(name, "x y")


@check
def version_numbers_are_never_used_again(t: Context) -> None:
    name = t.model(versions=3)
    t.client.delete_model_version(name, "1")
    t.client.delete_model_version(name, "3")
    equal({v.version for v in t.client.search_model_versions(f"name = '{name}'")}, {"2"})
    equal(t.client.create_model_version(name, SOURCE).version, "4")


@check
def version_numbers_of_four_clients(t: Context) -> None:
    """Four clients that register at once get every number once."""
    name, each = t.model(), 25
    versions: list[int] = []

    def register() -> None:
        client = MlflowClient(tracking_uri=t.tracking_uri, registry_uri=t.server.url)
        for _ in range(each):
            versions.append(int(client.create_model_version(name, SOURCE).version))

    in_parallel([register] * 4)
    equal(sorted(versions), list(range(1, 4 * each + 1)))
    equal(len(t.client.search_model_versions(f"name = '{name}'")), 4 * each)


@check
def version_update(t: Context) -> None:
    """A description changes the version's timestamp, and not its model's."""
    name = t.model(versions=1)
    model, version = t.client.get_registered_model(name), t.client.get_model_version(name, "1")
    equal(t.client.update_model_version(name, "1", "described").description, "described")
    got = t.client.get_model_version(name, "1")
    equal((got.description, got.creation_timestamp), ("described", version.creation_timestamp))
    assert got.last_updated_timestamp >= version.last_updated_timestamp
    equal(t.client.get_registered_model(name).last_updated_timestamp, model.last_updated_timestamp)


@check
def version_tags(t: Context) -> None:
    name = t.model(versions=2)
    before = t.client.get_model_version(name, "1").last_updated_timestamp
    for key, value in {"k": "v", "n": 1, "empty": ""}.items():
        t.client.set_model_version_tag(name, "1", key, value)
    t.client.set_model_version_tag(name, key="s", value="by stage", stage="None")
    equal(t.client.get_model_version(name, "2").tags, {"s": "by stage"})
    got = t.client.get_model_version(name, "1")
    equal((got.tags, got.last_updated_timestamp), ({"k": "v", "n": "1", "empty": ""}, before))
    t.client.delete_model_version_tag(name, "1", "k")
    t.client.delete_model_version_tag(name, "1", "not there")
    equal(t.client.get_model_version(name, "1").tags, {"n": "1", "empty": ""})
    with refused("INVALID_PARAMETER_VALUE", "exceeds the maximum length of 100000 characters"):
        t.client.set_model_version_tag(name, "1", "k", "x" * 100_001)
    t.client.set_model_version_tag(name, "1", "k", "x" * 100_000)
    equal(len(t.client.get_model_version(name, "1").tags["k"]), 100_000)


@check
def version_transition(t: Context) -> None:
    """A transition archives the others of its stage, all at one time."""
    name = t.model(versions=4)
    for version in "123":
        got = t.client.transition_model_version_stage(name, version, "production")
        equal((got.version, got.current_stage), (version, "Production"))
    t.client.transition_model_version_stage(name, "3", "Staging")
    moved = t.client.transition_model_version_stage(name, "4", "PRODUCTION", archive_existing_versions=True)
    versions = {v.version: v for v in t.client.search_model_versions(f"name = '{name}'")}
    equal(
        {k: v.current_stage for k, v in versions.items()},
        {"1": "Archived", "2": "Archived", "3": "Staging", "4": "Production"},
    )
    at = moved.last_updated_timestamp
    equal([versions[v].last_updated_timestamp for v in "12"], [at, at])
    equal(t.client.get_registered_model(name).last_updated_timestamp, at)
    t.client.transition_model_version_stage(name, "4", "None")
    equal(t.client.get_model_version(name, "4").current_stage, "None")
    equal(t.client.get_model_version_stages(name, "1"), ["None", "Staging", "Production", "Archived"])


@check
def version_transition_refused(t: Context) -> None:
    name = t.model(versions=1)
    with refused("INVALID_PARAMETER_VALUE", "Invalid Model Version stage: Live. Value must be one of None, Staging, Production, Archived."):
        t.client.transition_model_version_stage(name, "1", "Live")


@check.reference_fails("got 500, want 400")
def version_transition_cannot_archive_with_an_inactive_stage(t: Context) -> None:
    """MLflow sends 500 for what the caller did wrong."""
    name = t.model(versions=1)
    for stage in ("Archived", "None"):
        args = {"name": name, "version": "1", "stage": stage, "archive_existing_versions": True}
        answer = t.server.rpc("POST", "model-versions/transition-stage", args)
        text = f"Model version transition cannot archive existing model versions because '{stage}' is not an Active stage"
        assert text in answer.message, answer
        equal(answer.status, 400)


@check
def version_delete(t: Context) -> None:
    name = t.model(versions=2)
    before = t.client.get_registered_model(name).last_updated_timestamp
    t.client.delete_model_version(name, "2")
    for call in (
        lambda: t.client.get_model_version(name, "2"),
        lambda: t.client.delete_model_version(name, "2"),
        lambda: t.client.update_model_version(name, "2", "d"),
        lambda: t.client.transition_model_version_stage(name, "2", "Staging"),
        lambda: t.client.get_model_version_download_uri(name, "2"),
        lambda: t.client.set_registered_model_alias(name, "a", "2"),
    ):
        with refused("RESOURCE_DOES_NOT_EXIST", VERSION_GONE, 404):
            call()
    got = t.client.get_registered_model(name)
    assert got.last_updated_timestamp >= before
    equal([v.version for v in got.latest_versions], ["1"])


@check
def version_copy(t: Context) -> None:
    """A copy has its source's download URI, and so has a copy of a copy."""
    name, second, third = t.model(), t.name("copy"), t.name("copy")
    t.client.create_model_version(name, SOURCE + "1", "a-run", {"k": "v"}, "http://runs/1", "first")
    t.client.set_registered_model_alias(name, "champion", "1")
    made = t.client.copy_model_version(f"models:/{name}@champion", second)
    equal((made.name, made.version, made.source), (second, "1", f"models:/{name}/1"))
    equal((made.run_id, made.run_link, made.description, made.tags), ("a-run", "http://runs/1", "first", {"k": "v"}))
    t.client.copy_model_version(f"models:/{second}/1", third)
    equal(t.client.get_model_version(third, "1").source, f"models:/{second}/1")
    equal(t.client.get_model_version_download_uri(second, "1"), SOURCE + "1")
    equal(t.client.get_model_version_download_uri(third, "1"), SOURCE + "1")
    t.client.delete_registered_model(name)
    equal(t.client.get_model_version_download_uri(third, "1"), SOURCE + "1", "after its source is gone")
    with refused("RESOURCE_DOES_NOT_EXIST"):
        t.client.get_model_version(name, "1")


@check
def version_copy_of_an_unknown_one(t: Context) -> None:
    name = t.model()
    with refused("RESOURCE_DOES_NOT_EXIST", "name=nobody not found", 404):
        t.client.create_model_version(name, "models:/nobody/1")
    with refused("RESOURCE_DOES_NOT_EXIST", rf"Model Version \(name={name}, version=7\) not found", 404):
        t.client.create_model_version(name, f"models:/{name}/7")


def download_uris(t: Context, *sources: str) -> None:
    name = t.model()
    for source in sources:
        v = t.client.create_model_version(name, source, run_id="r").version
        equal(t.client.get_model_version_download_uri(name, v), source)
        t.client.update_model_version(name, v, "d")
        t.client.transition_model_version_stage(name, v, "Production")
        equal(t.client.get_model_version_download_uri(name, v), source)
        equal(t.client.get_model_version(name, v).source, source)


@check
def version_download_uri(t: Context) -> None:
    """It is what was registered, whatever happens to the version."""
    download_uris(t, "s3://b/m", "gs://b/m", "dbfs:/x", "s3://bücket/ключ/a b/%20")


@check.reference_fails("must identify the resource")
def version_download_uri_of_another_tracking_server(t: Context) -> None:
    """MLflow takes what its own tracking store has, and nothing else's."""
    download_uris(t, "runs:/r/model", "mlflow-artifacts:/0/r/m", "models:/m-0123456789abcdef", "https://h/x?y=1")


@check
def version_sources_refused(t: Context) -> None:
    """Paths that climb up."""
    name = t.model()
    for source in ("s3://b/../c", "s3://b/%2e%2e/c", "s3://b/%252e%252e/c", "/a/../b", "file:///a/../b"):
        with refused("INVALID_PARAMETER_VALUE", "[Ss]ource"):
            t.client.create_model_version(name, source)


# Search of model versions


@check
def version_search(t: Context) -> None:
    name, other = t.model(), t.model("other")
    for i, (run, team) in enumerate((("run1", "red"), ("run2", "Red"), ("run2", "blue")), 1):
        t.client.create_model_version(name, f"{SOURCE}{name}/{i}", run, {"team": team, "a key": "x"})
    t.client.create_model_version(other, f"{SOURCE}{name}/1", "run1")

    def found(filter_string: str) -> list[str]:
        return [v.version for v in t.client.search_model_versions(f"name = '{name}' AND {filter_string}", order_by=["version_number"])]

    equal(found("run_id = 'run2'"), ["2", "3"])
    equal(found("run_id != 'run2'"), ["1"])
    equal(found("run_id IN ('run1')"), ["1"])
    equal(found("run_id in ('run1', 'run2')"), ["1", "2", "3"])
    equal(found("run_id LIKE 'run%'"), ["1", "2", "3"])
    equal(found("version_number = 2"), ["2"])
    equal(found("version_number != 2"), ["1", "3"])
    equal(found("version_number > 1 AND version_number <= 3"), ["2", "3"])
    equal(found("version_number < 2"), ["1"])
    equal(found("version_number >= 3"), ["3"])
    equal(found(f"source_path = '{SOURCE}{name}/1'"), ["1"])
    equal(found("source_path LIKE '%/3'"), ["3"])
    equal(found("tags.team = 'red'"), ["1"])
    equal(found("tag.team ILIKE 'RED'"), ["1", "2"])
    equal(found("tag.`a key` = 'x' AND tags.team != 'red'"), ["2", "3"])
    equal({v.name for v in t.client.search_model_versions(f"source_path = '{SOURCE}{name}/1'")}, {name, other})
    equal(t.client.search_model_versions("name = 'nobody'"), [])
    t.client.delete_model_version(name, "2")
    equal(found("run_id = 'run2'"), ["3"])
    for wrong in (
        "version_number = 'a'",
        "version = 1",
        "name = 'a' OR name = 'b'",
        "run_id IN ()",
        "run_id IN (1)",
        "current_stage = 'None'",
        "name < 'a'",
        "version_number LIKE '1%'",
    ):
        with refused("INVALID_PARAMETER_VALUE", status=400):
            t.client.search_model_versions(wrong)


@check
def version_search_order(t: Context) -> None:
    a, b = t.model("order-a", versions=2), t.model("order-b", versions=2)
    t.client.update_model_version(a, "1", "newest")

    def found(*order_by: str) -> list[str]:
        versions = t.client.search_model_versions("name LIKE 'order-%'", order_by=list(order_by))
        return [("a" if v.name == a else "b") + v.version for v in versions]

    at = {("a" if n == a else "b") + v: t.client.get_model_version(n, v).last_updated_timestamp for n in (a, b) for v in "12"}
    equal(found(), sorted(at, key=lambda v: (-at[v], v[0], -int(v[1]))), "default order")
    equal([v[0] for v in found("name")], ["a", "a", "b", "b"])
    equal(found("name DESC", "version_number ASC"), ["b1", "b2", "a1", "a2"])
    equal(found("version_number DESC", "name ASC"), ["a2", "b2", "a1", "b1"])
    equal(found("last_updated_timestamp DESC")[0], "a1")
    equal(found("creation_timestamp ASC", "version_number")[0], "a1")
    with refused("INVALID_PARAMETER_VALUE"):
        found("run_id")


@check
def version_search_pages(t: Context) -> None:
    name = t.model(versions=23)
    for size in (1, 5, 23, 100):
        got, token = [], None
        while token != "":
            page = t.client.search_model_versions(f"name = '{name}'", size, ["version_number ASC"], token)
            got += [int(v.version) for v in page]
            token = page.token or ""
        equal(got, list(range(1, 24)), f"pages of {size}")
    for wrong in (0, -1, 200_001):
        with refused("INVALID_PARAMETER_VALUE", "max_results"):
            t.client.search_model_versions(max_results=wrong)


# Aliases


@check
def alias_set_move_and_delete(t: Context) -> None:
    name = t.model(versions=2)
    before = t.client.get_registered_model(name).last_updated_timestamp
    t.client.set_registered_model_alias(name, "champion", "1")
    t.client.set_registered_model_alias(name, "チャンピオン", "1")
    equal(t.client.get_registered_model(name).aliases, {"champion": "1", "チャンピオン": "1"})
    equal(sorted(t.client.get_model_version(name, "1").aliases), ["champion", "チャンピオン"])
    equal(dict(t.client.get_model_version_by_alias(name, "champion")), dict(t.client.get_model_version(name, "1")))
    t.client.set_registered_model_alias(name, "champion", 2)
    equal(t.client.get_model_version_by_alias(name, "champion").version, "2")
    equal(t.client.get_model_version(name, "1").aliases, ["チャンピオン"])
    equal([v.aliases for v in t.client.get_latest_versions(name)], [["champion"]])
    equal(t.client.get_registered_model(name).last_updated_timestamp, before, "an alias changes no timestamp")
    for _ in range(2):
        t.client.delete_registered_model_alias(name, "champion")
    with refused("INVALID_PARAMETER_VALUE", "Registered model alias champion not found", 400):
        t.client.get_model_version_by_alias(name, "champion")


@check
def alias_names(t: Context) -> None:
    name = t.model(versions=1)
    for alias in ("latest", "LATEST", "v1", "V12", "a b", "a/b", "a.b", "a" * 256, ""):
        with refused("INVALID_PARAMETER_VALUE", "alias"):
            t.client.set_registered_model_alias(name, alias, "1")
    for alias in ("v", "va1", "latest-one", "a" * 255, "-", "_"):
        t.client.set_registered_model_alias(name, alias, "1")
        equal(t.client.get_model_version_by_alias(name, alias).version, "1")


@check
def alias_goes_with_its_version(t: Context) -> None:
    name = t.model(versions=2)
    t.client.set_registered_model_alias(name, "champion", "2")
    t.client.delete_model_version(name, "2")
    equal(t.client.get_registered_model(name).aliases, {})
    with refused("INVALID_PARAMETER_VALUE", "Registered model alias champion not found"):
        t.client.get_model_version_by_alias(name, "champion")


@check.reference_fails(r"want \['champion'\]")
def alias_in_lists(t: Context) -> None:
    """MLflow leaves aliases out of search results, which users ask for."""
    name = t.model(versions=1)
    t.client.set_registered_model_alias(name, "champion", "1")
    equal([v.aliases for v in t.client.search_model_versions(f"name = '{name}'")][0], ["champion"])
    equal([m.latest_versions[0].aliases for m in t.client.search_registered_models(f"name = '{name}'")][0], ["champion"])
    equal(t.client.get_registered_model(name).latest_versions[0].aliases, ["champion"])
