"""Starts the servers that are judged, and speaks raw HTTP to them."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any

PREFIX = "/api/2.0/mlflow/"
START_DEADLINE = 120.0  # MLflow's own server first migrates an empty database


def wait_until(condition: Callable[[], Any], what: str, deadline: float = 10.0) -> Any:
    """Polls until condition gives something true, and returns that."""
    end = time.monotonic() + deadline
    while True:
        if value := condition():
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"after {deadline:.0f} s still not: {what}")
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def lower(headers: Message) -> dict[str, str]:
    return {k.lower(): v for k, v in headers.items()}


@dataclass(frozen=True)
class Answer:
    status: int
    text: str
    headers: dict[str, str]

    @property
    def body(self) -> Any:
        """The JSON of the answer, or None where it isn't JSON."""
        try:
            return json.loads(self.text)
        except ValueError:
            return None

    @property
    def code(self) -> str | None:
        return self.body.get("error_code") if isinstance(self.body, dict) else None

    @property
    def message(self) -> str:
        return self.body.get("message", "") if isinstance(self.body, dict) else ""

    def __str__(self) -> str:
        return f"{self.status} {self.text[:400]}"


@dataclass
class Server:
    """A server process on a port of its own, with its files below directory."""

    directory: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    name = "server"

    def command(self) -> list[str]:
        raise NotImplementedError

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.directory / "server.log"

    def start(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        env = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
        env |= {
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",
            "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
            "MLFLOW_WEBHOOK_CACHE_TTL": "0",
        }
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                self.command(), stdout=out, stderr=out, cwd=self.directory, env=env, start_new_session=True
            )
        wait_until(self._healthy, f"{self.name} answers /health", START_DEADLINE)

    def _healthy(self) -> bool:
        if self.process and self.process.poll() is not None:
            raise RuntimeError(f"{self.name} ended with {self.process.returncode}:\n{self.log.read_text()[-2000:]}")
        try:
            return self.request("GET", "/health").status == 200
        except OSError:
            return False

    def stop(self) -> None:
        if not self.process:
            return
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(15)
        self.process = None

    def __enter__(self) -> "Server":
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        user: str | None = None,
    ) -> Answer:
        """One HTTP call: body is JSON if it isn't bytes, a list in query repeats its key."""
        url = self.url + path
        if query:
            url += "?" + urllib.parse.urlencode(query, doseq=True)
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        all_headers = {"Content-Type": "application/json"} if data is not None else {}
        if user:
            all_headers["Authorization"] = "Basic " + base64.b64encode(f"{user}:password".encode()).decode()
        request = urllib.request.Request(url, data, all_headers | (headers or {}), method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as r:
                return Answer(r.status, r.read().decode(), lower(r.headers))
        except urllib.error.HTTPError as e:
            return Answer(e.code, e.read().decode(), lower(e.headers))

    def rpc(self, method: str, route: str, args: Any = None, **more: Any) -> Answer:
        """One call of MLflow's registry: args are the query of a GET, and the body of all others."""
        if method == "GET":
            return self.request(method, PREFIX + route, query=args, **more)
        return self.request(method, PREFIX + route, body={} if args is None else args, **more)


@dataclass
class Modelog(Server):
    binary: Path = Path("bin/modelog")

    name = "modelog"

    def command(self) -> list[str]:
        data = self.directory / "data"
        return [
            *(str(self.binary.resolve()), "serve", "--data", str(data), "--listen", f"127.0.0.1:{self.port}"),
            *("--webhook-allow-http", "--webhook-allow-cidr", "127.0.0.0/8"),
        ]

    def event_files(self) -> list[Path]:
        """What JetStream has on the disk of the log of events."""
        return [f for d in self.directory.rglob("MODELOG_EVENTS") for f in d.rglob("*") if f.is_file()]

    def events(self, after: int = 0) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        query: dict[str, Any] = {"after": after, "limit": 1000}
        while True:
            answer = self.request("GET", "/v1/events", query=query)
            assert answer.status == 200, answer
            found += answer.body["events"]
            if not (cursor := answer.body.get("next_cursor")):
                return found
            query = {"cursor": cursor, "limit": 1000, "after": after}

    def sequence(self) -> int:
        """The sequence of the newest event."""
        return int(self.request("GET", "/v1/state").body["sequence"])


@dataclass
class Reference(Server):
    """MLflow's own server, on SQLite."""

    name = "MLflow"

    def command(self) -> list[str]:
        return [
            *(sys.executable, "-m", "mlflow", "server"),
            *("--backend-store-uri", f"sqlite:///{self.directory}/registry.db"),
            *("--default-artifact-root", str(self.directory / "artifacts")),
            *("--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"),
        ]
