"""Temporary folders and their end."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from understudy.artifacts import workspace as module
from understudy.artifacts.workspace import sweep_workspaces, workspace
from understudy.errors import StorageError

HOLD = """
import asyncio, sys
from pathlib import Path
from understudy.artifacts.workspace import workspace

async def main():
    async with workspace(Path(sys.argv[1])) as folder:
        (folder / "half.mp4").touch()
        print(folder, flush=True)
        input()

asyncio.run(main())
"""


def start(tmp: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process with a workspace in `tmp`, and that workspace."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def names(folder: Path) -> list[str]:
    """What is in a folder."""
    return [path.name for path in folder.iterdir()]


async def test_fresh_private_and_gone(tmp_path: Path) -> None:
    """Each is new, the owner's alone, named for its process, and removed with what is in it."""
    tmp = tmp_path / "tmp"
    async with workspace(tmp) as one, workspace(tmp) as two:
        assert one != two
        assert one.name.startswith(f"{os.getpid()}-")
        assert stat.S_IMODE(one.stat().st_mode) == 0o700
        (one / "deep").mkdir()
        (one / "deep" / "file").touch()
    assert names(tmp) == []


async def test_gone_after_an_error_or_a_cancel(tmp_path: Path) -> None:
    """However the block ends, the folder ends with it."""
    with pytest.raises(ValueError, match="inside"):
        async with workspace(tmp_path):
            raise ValueError("inside")

    async def hold() -> None:
        async with workspace(tmp_path):
            inside.set()
            await asyncio.Event().wait()

    inside = asyncio.Event()
    task = asyncio.ensure_future(hold())
    await inside.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert names(tmp_path) == []


async def test_the_dead_are_swept_and_the_living_are_not(tmp_path: Path) -> None:
    """A killed process's folder goes at the next sweep; one in use stays, whoever uses it."""
    tmp = tmp_path / "tmp"
    assert await sweep_workspaces(tmp) == 0
    process, theirs = start(tmp)
    async with workspace(tmp) as mine:
        (tmp / "a file of nobody's").touch()
        assert await sweep_workspaces(tmp) == 0
        assert theirs.name in names(tmp)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert await sweep_workspaces(tmp) == 1
        assert theirs.name not in names(tmp)
        assert mine.exists()


async def test_swept_before_it_is_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder swept in the instant after its making is made again."""
    opened, flock = module._open, fcntl.flock
    swept: list[str] = []

    def before_open(folder: Path) -> int:
        if not swept:
            swept.append("before it was opened")
            folder.rmdir()
        return opened(folder)

    def before_lock(descriptor: int, kind: int) -> None:
        if len(swept) == 1:
            swept.append("before it was locked")
            next(tmp_path.iterdir()).rmdir()
        flock(descriptor, kind)

    monkeypatch.setattr(module, "_open", before_open)
    monkeypatch.setattr(fcntl, "flock", before_lock)
    async with workspace(tmp_path) as folder:
        assert folder.exists()
    assert len(swept) == 2


async def test_no_place_for_it(tmp_path: Path) -> None:
    """A temporary folder that cannot be made is a storage error with the reason."""
    (tmp_path / "tmp").touch()
    with pytest.raises(StorageError, match="cannot make"):
        async with workspace(tmp_path / "tmp"):
            pass
