"""Locks between processes, as files that the operating system unlocks at a process's death.

Two files stand beside a database `x.db`: `x.db.lock`, held for moments (while migrating, and while
asking who the worker is), and `x.db.worker`, held by the one process that drives runs, with a note
saying who that is. Neither is ever removed: unlinking a lock file lets two holders exist.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Self, TypedDict

from understudy.clock import Clock, SystemClock, iso
from understudy.errors import WorkerHeld


class Holder(TypedDict):
    """Who works on a database: process, machine, since when (seconds since 1970), as what."""

    pid: int
    host: str
    started_at: float
    command: str


_UNKNOWN: Holder = {"pid": 0, "host": "", "started_at": 0.0, "command": ""}


@contextlib.contextmanager
def exclusive(database: Path) -> Iterator[None]:
    """Hold the database's moment lock, waiting for whoever has it. Blocks."""
    descriptor = _open(_beside(database, "lock"))
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class WorkerLock:
    """The right to drive the runs of one database file; one process has it at a time."""

    def __init__(self, database: Path, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock or SystemClock()
        self._held: int | None = None

    def acquire(self) -> bool:
        """Take the lock: True, or False when this object has it already.

        Raises WorkerHeld, naming the holder, when another process (or object) has it.
        """
        if self._held is not None:
            return False
        with exclusive(self._database):
            descriptor = _open(_beside(self._database, "worker"))
            if not _try(descriptor, fcntl.LOCK_EX):
                holder = _note(descriptor)
                os.close(descriptor)
                raise WorkerHeld(_held_by(holder, self._database))
            self._held = descriptor
            with contextlib.suppress(OSError):  # a full disk: held all the same, only namelessly
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, json.dumps(self._self()).encode(), 0)
        return True

    def release(self) -> None:
        """Let go; nothing happens when it is not held."""
        if self._held is not None:
            os.ftruncate(self._held, 0)
            os.close(self._held)
            self._held = None

    def holder(self) -> Holder | None:
        """Who has the lock now, this process included; None when nobody does."""
        path = _beside(self._database, "worker")
        if not path.exists():
            return None
        with exclusive(self._database):
            descriptor = _open(path)
            try:
                # The note of a dead process may still lie here: only the lock says who lives.
                return None if _try(descriptor, fcntl.LOCK_SH) else _note(descriptor)
            finally:
                os.close(descriptor)

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _self(self) -> Holder:
        return {
            "pid": os.getpid(),
            "host": os.uname().nodename,
            "started_at": self._clock.now(),
            "command": shlex.join(sys.argv)[:200],
        }


def _beside(database: Path, what: str) -> Path:
    return database.with_name(f"{database.name}.{what}")


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _try(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _note(descriptor: int) -> Holder:
    try:
        note: Holder = {**_UNKNOWN, **json.loads(os.pread(descriptor, 4096, 0))}
    except (ValueError, TypeError):  # empty: its disk was full; or not ours
        return _UNKNOWN
    return note


def _held_by(holder: Holder, database: Path) -> str:
    if not holder["pid"]:
        return f"another process works on {database}"
    return (
        f"process {holder['pid']} on {holder['host']} has worked on {database}"
        f" since {iso(holder['started_at'])} ({holder['command']})"
    )
