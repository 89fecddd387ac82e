"""A database in a fresh folder, a table's row, and a disk that is soon full."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Child = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the test's database is to be."""
    return tmp_path / "home" / "understudy.db"


@pytest.fixture
def url(path: Path) -> str:
    """The same as a URL."""
    return f"sqlite:///{path}"


@pytest.fixture
def run_row() -> Callable[[str], dict[str, Any]]:
    """Makes a complete row of `runs`."""

    def make(run_id: str) -> dict[str, Any]:
        nothing = (
            "user_id claim worker cancel_requested_at waiting_for progress output error"
            " parent_id parent_key started_at ended_at"
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
