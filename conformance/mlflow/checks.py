"""What a check is, and what it is given."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from servers import Modelog, Server

SOURCE = "s3://models/m/"


@dataclass
class Context:
    """The server that is judged, and a client whose runs are kept elsewhere."""

    server: Server
    client: MlflowClient
    directory: Path
    tracking_uri: str
    model_id: str = ""  # of a scikit-learn model that was logged and not registered
    run_id: str = ""  # of its run
    model_uri: str = ""  # where its files are
    _names: int = 0

    @property
    def modelog(self) -> Modelog:
        assert isinstance(self.server, Modelog)
        return self.server

    def name(self, about: str = "model") -> str:
        """A name that no other check uses."""
        self._names += 1
        return f"{about}-{self._names}"

    def model(self, about: str = "model", versions: int = 0, **more: object) -> str:
        """A new model with so many versions."""
        name = self.name(about)
        self.client.create_registered_model(name)
        for v in range(1, versions + 1):
            self.client.create_model_version(name, f"{SOURCE}{v}", **more)
        return name


@dataclass(frozen=True)
class Check:
    run: Callable[[Context], None]
    modelog_only: str = ""  # why MLflow's own server isn't asked
    reference_fails: str = ""  # how MLflow's own server is known to fail: a regular expression

    @property
    def name(self) -> str:
        return self.run.__name__

    @property
    def about(self) -> str:
        return (self.run.__doc__ or "").strip().splitlines()[0] if self.run.__doc__ else ""


@dataclass
class Checks:
    """The checks of one file, in its order."""

    all: list[Check] = field(default_factory=list)

    def __iter__(self) -> Iterator[Check]:
        return iter(self.all)

    def __call__(self, run: Callable[[Context], None]) -> Callable[[Context], None]:
        self.all.append(Check(run))
        return run

    def modelog_only(self, reason: str) -> Callable[..., Callable[[Context], None]]:
        """Marks a check of what MLflow's own server doesn't have."""

        def mark(run: Callable[[Context], None]) -> Callable[[Context], None]:
            self.all.append(Check(run, modelog_only=reason))
            return run

        return mark

    def reference_fails(self, how: str) -> Callable[..., Callable[[Context], None]]:
        """Marks a check that MLflow's own server fails, with a text like how."""

        def mark(run: Callable[[Context], None]) -> Callable[[Context], None]:
            self.all.append(Check(run, reference_fails=how))
            return run

        return mark


def equal(got: object, want: object, what: str = "") -> None:
    if got != want:
        raise AssertionError(f"{what + ': ' if what else ''}got {got!r}, want {want!r}")


@contextmanager
def refused(code: str, text: str = "", status: int | None = None) -> Iterator[None]:
    """What is inside must be refused with this code, and a message in which text is found."""
    try:
        yield
    except MlflowException as e:
        equal(e.error_code, code, f"code of {e.message!r}")
        if not re.search(text, e.message):
            raise AssertionError(f"message {e.message!r} has no {text!r}") from e
        if status is not None:
            equal(e.get_http_status_code(), status, "status")
    else:
        raise AssertionError(f"not refused, want {code}")
