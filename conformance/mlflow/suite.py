"""Judges a model registry with MLflow's own, unmodified client.

    python suite.py --modelog bin/modelog     modelog
    python suite.py --reference               MLflow's own server, to check the checks

Prints a line for each check, and ends with 1 if one failed.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import re
import sys
import tempfile
import time
import traceback
import warnings
from contextlib import redirect_stderr
from pathlib import Path

# One attempt per request, so that a wrong 5xx is seen and not waited for.
os.environ |= {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_ALIAS_PROMPT_CACHE_TTL_SECONDS": "0",
    "MLFLOW_VERSION_PROMPT_CACHE_TTL_SECONDS": "0",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}
warnings.filterwarnings("ignore")

import mlflow  # noqa: E402: reads the environment
from mlflow import MlflowClient  # noqa: E402

import fluent  # noqa: E402
import log  # noqa: E402
import prompts  # noqa: E402
import registry  # noqa: E402
import webhooks  # noqa: E402
import wire  # noqa: E402
from checks import Check, Context  # noqa: E402
from servers import Modelog, Reference, Server  # noqa: E402

FILES = (registry, wire, fluent, prompts, webhooks, log)


def judge(check: Check, t: Context, reference: bool) -> tuple[str, str]:
    """Runs one check, and gives "ok", "skip", "known" or "FAIL", and why."""
    if reference and check.modelog_only:
        return "skip", check.modelog_only
    try:
        with redirect_stderr(io.StringIO()):  # the client tells there what it does
            check.run(t)
    except Exception as e:  # noqa: BLE001: whatever it is, it is reported
        text = f"{type(e).__name__}: {e}"
        if reference and check.reference_fails and re.search(check.reference_fails, text):
            return "known", check.about or text.splitlines()[0][:120]
        where = [f for f in traceback.extract_tb(e.__traceback__) if Path(f.filename).parent == Path(__file__).parent]
        lines = "".join(f"\n      {Path(f.filename).name}:{f.lineno}: {f.line}" for f in where[1:] or where)
        return "FAIL", f"{text[:1500]}{lines}"
    if reference and check.reference_fails:
        return "FAIL", f"passes, although it is said to fail with {check.reference_fails!r}"
    return "ok", ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--modelog", type=Path, metavar="BINARY", help="judge this modelog")
    which.add_argument("--reference", action="store_true", help="judge MLflow's own server")
    parser.add_argument("--only", default="", metavar="REGEX", help="run only the checks with such a name")
    args = parser.parse_args()

    checks = [c for f in FILES for c in f.check if re.search(args.only, c.name)]
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="conformance-") as d:
        directory = Path(d)
        server: Server = Reference(directory / "server") if args.reference else Modelog(directory / "server", binary=args.modelog.resolve())
        os.chdir(directory)  # where the client keeps the files of runs
        tracking_uri = f"sqlite:///{directory}/tracking.db"
        mlflow.set_tracking_uri(tracking_uri)
        with server:
            mlflow.set_registry_uri(server.url)
            t = Context(server, MlflowClient(tracking_uri, server.url), directory, tracking_uri)
            print(f"MLflow {mlflow.__version__}'s client against {server.name}: {len(checks)} checks")
            results = []
            for check in checks:
                start = time.monotonic()
                result, why = judge(check, t, args.reference)
                took = time.monotonic() - start
                print(f"{result:5} {check.name} ({took:.1f} s)" + (f"\n      {why}" if why else ""), flush=True)
                results.append(result)
        os.chdir("/")
    count = {r: results.count(r) for r in ("ok", "known", "skip", "FAIL") if r in results}
    print(", ".join(f"{n} {r}" for r, n in count.items()) + f" in {time.monotonic() - begun:.0f} s")
    return 1 if "FAIL" in results else 0


if __name__ == "__main__":
    sys.exit(main())
