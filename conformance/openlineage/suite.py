"""Judges modelog's lineage with OpenLineage's own, unmodified Python client, and
its PROV-JSON with the prov library.

    python suite.py --modelog bin/modelog

Prints a line for each check, and ends with 1 if one failed.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tempfile
import time
import traceback
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "mlflow"))

from openlineage.client import OpenLineageClient  # noqa: E402
from openlineage.client.event_v2 import (  # noqa: E402
    DatasetEvent,
    InputDataset,
    Job,
    JobEvent,
    OutputDataset,
    Run,
    RunEvent,
    RunState,
)
from openlineage.client.generated.base import StaticDataset  # noqa: E402
from openlineage.client.facet_v2 import (  # noqa: E402
    dataset_type_dataset,
    dataset_version_dataset,
    parent_run,
    schema_dataset,
    source_code_location_job,
    symlinks_dataset,
)
from openlineage.client.serde import Serde  # noqa: E402
from openlineage.client.transport.http import HttpConfig, HttpTransport  # noqa: E402
from prov.model import ProvDocument  # noqa: E402

from servers import Modelog  # noqa: E402: of the suite beside this one

PRODUCER = "https://git.example.com/ml/fraud"
CHECKS: list[Callable[["Context"], None]] = []


def check(run: Callable[["Context"], None]) -> Callable[["Context"], None]:
    CHECKS.append(run)
    return run


class Context:
    """The registry, and clients as Airflow, Spark and dbt have them."""

    def __init__(self, server: Modelog) -> None:
        self.server = server
        self.begin = datetime.now(timezone.utc) - timedelta(hours=1)
        self._names = 0

    def client(self, **more: Any) -> OpenLineageClient:
        settings = {"url": self.server.url, "retry": {"total": 0}} | more
        return OpenLineageClient(transport=HttpTransport(HttpConfig.from_dict(settings)))

    def name(self, about: str) -> str:
        self._names += 1
        return f"{about}-{self._names}"

    def at(self, seconds: float) -> str:
        return (self.begin + timedelta(seconds=seconds)).isoformat()

    def run_event(self, run: str, state: RunState, seconds: float, job: str = "train", **more: Any) -> RunEvent:
        facets = more.pop("facets", {})
        return RunEvent(
            eventType=state, eventTime=self.at(seconds), producer=PRODUCER, run=Run(run, facets), job=Job("airflow", job), **more
        )

    def model(self, about: str = "model", **more: Any) -> str:
        """A new model with a version 1."""
        name = self.name(about)
        answer = self.server.request("POST", "/v1/models", {"name": name})
        assert answer.status == 201, answer
        self.version(name, **more)
        return name

    def version(self, model: str, **more: Any) -> None:
        answer = self.server.request("POST", f"/v1/models/{model}/versions", {"source": f"s3://models/{model}"} | more)
        assert answer.status == 201, answer

    def reports(self, after: int) -> list[dict[str, Any]]:
        return [e for e in self.server.events(after) if e["type"] == "dev.modelog.lineage.reported.v1"]

    def lineage(self, path: str, **query: Any) -> Any:
        answer = self.server.request("GET", f"/v1/lineage{path}", query=query)
        assert answer.status == 200, answer
        return answer.body


def model_output(host: str, model: str, version: int) -> OutputDataset:
    return OutputDataset(
        f"modelregistry://{host}",
        model,
        facets={
            "version": dataset_version_dataset.DatasetVersionDatasetFacet(str(version)),
            "datasetType": dataset_type_dataset.DatasetTypeDatasetFacet("MODEL"),
        },
    )


@check
def events_are_kept_as_the_client_sent_them(t: Context) -> None:
    before = t.server.sequence()
    event = t.run_event(str(uuid.uuid4()), RunState.START, 0, inputs=[InputDataset("s3://lake", "raw")])
    t.client().emit(event)
    (kept,) = t.reports(before)
    assert kept["data"]["raw"] == Serde.to_json(event)
    assert kept["data"]["inputs"] == [{"namespace": "s3://lake", "name": "raw"}]
    assert not kept["data"].get("marks"), kept["data"]["marks"]


@check
def gzip_and_an_api_key_make_no_difference(t: Context) -> None:
    before = t.server.sequence()
    client = t.client(compression="gzip", auth={"type": "api_key", "apiKey": "s3cr3t"})
    client.emit(t.run_event(str(uuid.uuid4()), RunState.START, 0))
    assert len(t.reports(before)) == 1
    assert "s3cr3t" not in t.server.log.read_text()


@check
def an_event_that_is_sent_again_is_kept_once(t: Context) -> None:
    before = t.server.sequence()
    event = t.run_event(str(uuid.uuid4()), RunState.COMPLETE, 0)
    for _ in range(3):
        t.client().emit(event)
    assert len(t.reports(before)) == 1


@check
def the_other_path_takes_events_too(t: Context) -> None:
    before = t.server.sequence()
    t.client(endpoint="lineage").emit(t.run_event(str(uuid.uuid4()), RunState.START, 0))
    assert len(t.reports(before)) == 1


@check
def job_and_dataset_events_are_taken(t: Context) -> None:
    before = t.server.sequence()
    job = Job("airflow", t.name("job"))
    t.client().emit(JobEvent(eventTime=t.at(0), producer=PRODUCER, job=job, inputs=[InputDataset("s3://lake", "a")], outputs=[OutputDataset("s3://lake", "b")]))
    t.client().emit(DatasetEvent(eventTime=t.at(1), producer=PRODUCER, dataset=StaticDataset("s3://lake", "a")))
    assert len(t.reports(before)) == 2


@check
def a_batch_is_taken(t: Context) -> None:
    before = t.server.sequence()
    events = [json.loads(Serde.to_json(t.run_event(str(uuid.uuid4()), RunState.START, i))) for i in range(50)]
    answer = t.server.request("POST", "/api/v1/lineage/batch", events)
    assert answer.status == 204, answer
    assert len(t.reports(before)) == 50


@check
def what_is_wrong_is_refused_for_good(t: Context) -> None:
    answer = t.server.request("POST", "/api/v1/lineage", {"eventTime": t.at(0), "run": {"runId": 7}})
    assert answer.status == 400 and answer.body["errors"][0]["pointer"] == "/run/runId", answer


@check
def a_run_joins_the_data_with_the_model_that_it_wrote(t: Context) -> None:
    model, run, data = t.model(), str(uuid.uuid4()), t.name("features")
    client = t.client()
    facets = {"schema": schema_dataset.SchemaDatasetFacet([schema_dataset.SchemaDatasetFacetFields("amount", "DOUBLE")])}
    code = {"sourceCodeLocation": source_code_location_job.SourceCodeLocationJobFacet("git", "https://git.example.com/ml", version="4f2c9d1")}
    start = t.run_event(run, RunState.START, 0, inputs=[InputDataset("s3://lake", data, facets=facets)])
    start.job.facets = code
    done = t.run_event(run, RunState.COMPLETE, 60, outputs=[model_output("models.example.com", model, 1)])
    client.emit(done)  # whichever comes first
    client.emit(start)
    hits = impact(t, "s3://lake", data)
    assert [f"{h['model']}/{h['number']}" for h in hits] == [f"{model}/1"], hits


@check
def a_run_that_failed_made_nothing(t: Context) -> None:
    model, run, data = t.model(), str(uuid.uuid4()), t.name("features")
    client = t.client()
    client.emit(t.run_event(run, RunState.START, 0, inputs=[InputDataset("s3://lake", data)], outputs=[model_output("h", model, 1)]))
    assert impact(t, "s3://lake", data)
    client.emit(t.run_event(run, RunState.FAIL, 60))
    assert not impact(t, "s3://lake", data)


@check
def a_table_is_the_files_that_it_links_to(t: Context) -> None:
    model, table = t.model(), t.name("table")
    client = t.client()
    links = symlinks_dataset.SymlinksDatasetFacet([symlinks_dataset.Identifier("hive://metastore:9083", table, "TABLE")])
    etl, train = str(uuid.uuid4()), str(uuid.uuid4())
    raw = t.name("raw")
    client.emit(t.run_event(etl, RunState.COMPLETE, 0, "etl", inputs=[InputDataset("s3://lake", raw)],
                            outputs=[OutputDataset("s3://lake", f"warehouse/{table}", facets={"symlinks": links})]))
    client.emit(t.run_event(train, RunState.COMPLETE, 9, inputs=[InputDataset("hive://metastore:9083", table)], outputs=[model_output("h", model, 1)]))
    assert [f"{h['model']}/{h['number']}" for h in impact(t, "s3://lake", raw)] == [f"{model}/1"]


@check
def parents_are_kept(t: Context) -> None:
    dag, task = str(uuid.uuid4()), str(uuid.uuid4())
    parent = parent_run.ParentRunFacet(parent_run.Run(dag), parent_run.Job("airflow", "dag"))
    before = t.server.sequence()
    t.client().emit(t.run_event(task, RunState.START, 0, facets={"parent": parent}))
    (kept,) = t.reports(before)
    assert kept["data"]["parent_run"] == dag


@check
def withdrawn_data_keeps_its_models_from_production(t: Context) -> None:
    model, run, data = t.model(), str(uuid.uuid4()), t.name("features")
    t.client().emit(t.run_event(run, RunState.COMPLETE, 0, inputs=[InputDataset("s3://lake", data)], outputs=[model_output("h", model, 1)]))
    assert impact(t, "s3://lake", data)
    answer = t.server.request("POST", "/v1/datasets/withdraw", {"namespace": "s3://lake", "name": data, "reason": "no consent"})
    assert answer.status == 200, answer
    refused = t.server.request("POST", f"/v1/models/{model}/versions/1/promote", {"to": "Production"})
    assert refused.status == 409, refused
    forced = t.server.request("POST", f"/v1/models/{model}/versions/1/promote", {"to": "Production", "force": True, "reason": "retraining is under way"})
    assert forced.status == 200, forced


@check
def prov_reads_the_lineage(t: Context) -> None:
    model, run, data = t.model(), str(uuid.uuid4()), t.name("fe\"a<t>ures é %41 ns:x")
    t.client().emit(t.run_event(run, RunState.COMPLETE, 0, inputs=[InputDataset("s3://lake", data)], outputs=[model_output("h", model, 1)]))
    answer = t.server.request("GET", "/v1/lineage", query={"node": f"version:{model}/1", "format": "prov"})
    assert answer.status == 200, answer
    document = ProvDocument.deserialize(io.StringIO(answer.text))
    labels = {str(v) for r in document.get_records() for k, v in r.attributes if str(k) == "prov:label"}
    assert f"{model}/1" in labels and any(data in label for label in labels), labels
    assert ProvDocument.deserialize(io.StringIO(document.serialize())) == document
    assert document.unified()


def impact(t: Context, namespace: str, name: str) -> list[Any]:
    return t.lineage("/impact", namespace=namespace, name=name, kind="version")["hits"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--modelog", type=Path, metavar="BINARY", required=True, help="judge this modelog")
    args = parser.parse_args()
    begun, failed = time.monotonic(), 0
    with tempfile.TemporaryDirectory(prefix="conformance-") as d, Modelog(Path(d) / "server", binary=args.modelog.resolve()) as server:
        t = Context(server)
        print(f"OpenLineage's client against modelog: {len(CHECKS)} checks")
        for run in CHECKS:
            start, why = time.monotonic(), ""
            try:
                run(t)
            except Exception as e:  # noqa: BLE001: whatever it is, it is reported
                failed += 1
                where = [f for f in traceback.extract_tb(e.__traceback__) if f.filename == __file__]
                why = f"\n      {type(e).__name__}: {str(e)[:1500]}" + "".join(f"\n      {f.lineno}: {f.line}" for f in where[1:])
            print(f"{'FAIL' if why else 'ok':5} {run.__name__} ({time.monotonic() - start:.1f} s){why}", flush=True)
    print(f"{len(CHECKS) - failed} ok, {failed} failed in {time.monotonic() - begun:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
