"""What the kill proofs stand on: real processes, watched from outside and ended without a word."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import understudy

SEED = 20_261_122
PATIENCE = 120.0
_LOOK_EVERY = 0.001


@dataclasses.dataclass(frozen=True)
class Moment:
    """When to kill: `due` is asked again and again, with the seconds since the start."""

    name: str
    due: Callable[[float], bool]


@dataclasses.dataclass(frozen=True)
class Ended:
    """A process that is over; `killed` unless it came to its end before the moment."""

    killed: bool
    code: int
    seconds: float
    output: str
    tree: frozenset[tuple[int, str]]


@dataclasses.dataclass(frozen=True)
class House:
    """One home folder, and the command line that works in it."""

    home: Path
    environment: dict[str, str]
    options: tuple[str, ...] = ()

    @property
    def database(self) -> Path:
        """The file that the runs are in."""
        return self.home / "understudy.db"

    def play(self, *words: object, until: Moment | None = None) -> Ended:
        """Run a command; with `until`, SIGKILL it at that moment if it still runs."""
        command = [sys.executable, "-m", "understudy", "--home", self.home, *self.options, *words]
        log = self.home.with_suffix(".log")
        started = time.perf_counter()
        with log.open("wb") as output:
            process = subprocess.Popen(
                [str(word) for word in command],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        killed, tree = False, frozenset[tuple[int, str]]()
        while process.poll() is None:
            seconds = time.perf_counter() - started
            if seconds > PATIENCE or (until is not None and until.due(seconds)):
                tree = family(process.pid)
                process.kill()
                killed = True
                break
            time.sleep(_LOOK_EVERY)
        code = process.wait()
        seconds = time.perf_counter() - started
        assert seconds < PATIENCE, f"{words} hung:\n{log.read_text()}"
        return Ended(killed and code == -signal.SIGKILL, code, seconds, log.read_text(), tree)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What another process reads in the database; nothing while there is no such table."""
        with contextlib.closing(self._reader()) as connection:
            try:
                return connection.execute(sql).fetchall()
            except sqlite3.OperationalError as error:
                if "no such table" not in str(error) and "unable to open" not in str(error):
                    raise
                return []

    def _reader(self) -> sqlite3.Connection:
        if not self.database.exists():
            return sqlite3.connect(":memory:")
        return sqlite3.connect(f"{self.database.as_uri()}?mode=ro", uri=True, timeout=30)

    def commits(self) -> Callable[[], int]:
        """A count of the commits so far, as far as one sees them by looking at the log's file."""
        wal = self.database.with_name("understudy.db-wal")
        seen: list[tuple[int, int]] = []

        def count() -> int:
            with contextlib.suppress(FileNotFoundError):
                facts = wal.stat()
                if facts.st_size and seen[-1:] != [(facts.st_size, facts.st_mtime_ns)]:
                    seen.append((facts.st_size, facts.st_mtime_ns))
            return len(seen)

        return count

    def check_clean(self) -> None:
        """Nothing temporary is left, and the database is sound."""
        tmp = self.home / "tmp"
        assert not list(tmp.rglob("*")) if tmp.exists() else True
        assert self.rows("PRAGMA integrity_check") == [("ok",)]


def family(pid: int) -> frozenset[tuple[int, str]]:
    """A process and all that descend from it: (pid, its start time)."""
    parents: dict[int, tuple[int, str]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            parents[int(folder.name)] = (int(fields[1]), fields[19])
    found = {pid}
    grown = True
    while grown:
        more = {child for child, (parent, _) in parents.items() if parent in found} - found
        found |= more
        grown = bool(more)
    return frozenset((one, parents[one][1]) for one in found if one in parents)


def alive(tree: frozenset[tuple[int, str]]) -> list[int]:
    """Those of them that still run; a zombie does not."""
    found = []
    for pid, started in tree:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            if fields[19] == started and fields[0] != "Z":
                found.append(pid)
    return found


def check_all_dead(tree: frozenset[tuple[int, str]], seconds: float = 10.0) -> None:
    """The children of a killed process end by themselves, and soon."""
    deadline = time.perf_counter() + seconds
    while alive(tree) and time.perf_counter() < deadline:
        time.sleep(0.01)
    assert not alive(tree), "processes outlive the one that started them"


@pytest.fixture
def build() -> Callable[..., House]:
    """Make a house: a home folder, options before the command, variables of its environment."""

    def made(home: Path, *options: object, **variables: object) -> House:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("UNDERSTUDY_")}
        sources = str(Path(understudy.__file__).parents[1])
        variables = {"PYTHONPATH": sources, "UNDERSTUDY_CORES": 2, **variables}
        given = {name: str(value) for name, value in variables.items()}
        return House(home, kept | given, tuple(str(option) for option in options))

    return made


@pytest.fixture
def everyone_dead() -> Callable[[frozenset[tuple[int, str]]], None]:
    """Fails unless all of a killed process's family ends."""
    return check_all_dead


@pytest.fixture
def moment() -> type[Moment]:
    """The value that says when to kill."""
    return Moment


@pytest.fixture
def chance() -> random.Random:
    """The same moments in every run of a proof."""
    return random.Random(SEED)
