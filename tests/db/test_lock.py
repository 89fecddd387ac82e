"""Who may drive the runs of a database file."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from understudy.clock import ManualClock
from understudy.db import lock
from understudy.db.lock import WorkerLock
from understudy.errors import WorkerHeld

HOLD = """
import sys
from pathlib import Path
from understudy.db.lock import WorkerLock
held = WorkerLock(Path(sys.argv[1]))
held.acquire()
print("held", flush=True)
input()
"""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A database's path; a lock needs no more of it."""
    return tmp_path / "understudy.db"


def test_one_holder_at_a_time(database: Path) -> None:
    """The second is refused, with the first one's name; after a release it gets the lock."""
    first, second = WorkerLock(database, ManualClock(1_000.0)), WorkerLock(database)
    assert first.holder() is None
    assert first.acquire()
    assert not first.acquire()
    with pytest.raises(WorkerHeld, match=rf"process {os.getpid()} .* 1970-01-01T00:16:40.000Z"):
        second.acquire()
    holder = second.holder()
    assert holder is not None
    assert holder["pid"] == os.getpid()
    assert holder["started_at"] == 1_000.0
    assert holder["host"]
    assert holder["command"]
    first.release()
    first.release()
    assert second.holder() is None
    with second:
        assert first.holder() is not None
    assert first.holder() is None


def test_a_dead_process_holds_nothing(database: Path, child: Callable[..., Any]) -> None:
    """SIGKILL frees the lock, and the note it left names nobody."""
    process = child(HOLD, database)
    assert process.stdout.readline() == "held\n"
    mine = WorkerLock(database)
    with pytest.raises(WorkerHeld, match=f"process {process.pid}"):
        mine.acquire()
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=30)
    note = json.loads(database.with_name("understudy.db.worker").read_text())
    assert note["pid"] == process.pid
    assert mine.holder() is None
    assert mine.acquire()
    mine.release()


def test_asking_never_gets_in_the_way(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks touches the lock only while nobody else can ask for it."""
    WorkerLock(database).acquire()
    asked = []
    attempt = lock._try

    def watched(descriptor: int, kind: int) -> bool:
        guard = os.open(database.with_name("understudy.db.lock"), os.O_RDWR)
        asked.append(attempt(guard, fcntl.LOCK_SH))
        os.close(guard)
        return attempt(descriptor, kind)

    monkeypatch.setattr(lock, "_try", watched)
    WorkerLock(database).holder()
    with WorkerLock(database.with_name("other.db")):
        pass
    assert asked == [False, True]


@pytest.mark.parametrize("note", ["", "{", "[1]", '{"pid": 7}'])
def test_an_unreadable_note(database: Path, note: str) -> None:
    """A holder whose note is missing or broken holds all the same."""
    held = WorkerLock(database)
    held.acquire()
    database.with_name("understudy.db.worker").write_text(note)
    with pytest.raises(WorkerHeld, match="process"):
        WorkerLock(database).acquire()
    assert WorkerLock(database).holder() is not None
    held.release()


def test_a_full_disk_does_not_matter(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock is held even when its note cannot be written."""

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with WorkerLock(database), pytest.raises(WorkerHeld, match="another process"):
        WorkerLock(database).acquire()


def test_files_are_private(database: Path) -> None:
    """The note may show a command line: it is for the owner's eyes."""
    with WorkerLock(database):
        modes = {stat.S_IMODE(file.stat().st_mode) for file in database.parent.iterdir()}
    assert modes == {0o600}
