"""A database in a fresh folder or server, a table's row, and a disk that is soon full."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import structlog

Child = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the test's database is to be."""
    return tmp_path / "home" / "understudy.db"


@pytest.fixture
def url(path: Path) -> str:
    """The same as a URL."""
    return f"sqlite:///{path}"


class Heard:
    """What was logged, from any thread; `wait_for` blocks until an event has been."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self._more = threading.Condition()

    def __call__(self, _: object, __: str, event: Mapping[str, Any]) -> Any:
        with self._more:
            self.events.append(event["event"])
            self._more.notify_all()
        raise structlog.DropEvent

    def wait_for(self, event: str) -> None:
        with self._more:
            assert self._more.wait_for(lambda: event in self.events, 30), self.events


@pytest.fixture
def heard() -> Iterator[Heard]:
    """Listens to the log."""
    before = structlog.get_config()["processors"]
    listener = Heard()
    structlog.configure(processors=[listener])
    yield listener
    structlog.configure(processors=before)


@pytest.fixture(params=["sqlite", "postgresql"])
def any_url(request: pytest.FixtureRequest) -> str:
    """A database that is not there yet: a file, and one on a server. For what holds for both."""
    name = "url" if request.param == "sqlite" else "postgres_url"
    value: str = request.getfixturevalue(name)
    return value


@pytest.fixture
def run_row() -> Callable[[str], dict[str, Any]]:
    """Makes a complete row of `runs`."""

    def make(run_id: str) -> dict[str, Any]:
        nothing = (
            "user_id claim worker cancel_requested_at waiting_for progress output error"
            " parent_id parent_key started_at ended_at concurrency_key throttle_key deadline_at"
            " finish_within idempotency_key forked_from webhook percent"
        )
        return dict.fromkeys(nothing.split()) | {
            "id": run_id,
            "root_id": run_id,
            "tenant": "default",
            "operation": "count",
            "version": 1,
            "input": "{}",
            "status": "queued",
            "plan": "embedded",
            "epoch": 1,
            "attempt": 1,
            "lane": "",
            "held": 0,
            "change": 0,
            "wake_at": 1.0,
            "created_at": 1.0,
        }

    return make


@pytest.fixture
def child() -> Iterator[Child]:
    """Starts Python processes that run a script; all are dead when the test ends."""
    started: list[subprocess.Popen[str]] = []

    def start(script: str, *args: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", script, *map(str, args)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder that takes about a megabyte.

    Where we may mount it is a file system of its own; elsewhere a limit on the size of files,
    which the kernel enforces with another error number.
    """
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid() == 0 and shutil.which("mount") and _mounted(folder):
        yield folder
        subprocess.run(["umount", str(folder)], check=True)
        return
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024 * 1024, before[1]))
    yield folder
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _mounted(folder: Path) -> bool:
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    return subprocess.run(mount, capture_output=True, check=False).returncode == 0
