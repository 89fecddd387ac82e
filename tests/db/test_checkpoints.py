"""Copying the write-ahead log beside the writer."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.db.conftest import Heard

from understudy.db import checkpoints
from understudy.db.checkpoints import Checkpoints
from understudy.db.sqlite import SQLiteSession, connect
from understudy.db.statement import sql
from understudy.db.tx import Tx

ADD = sql("INSERT INTO words VALUES (:word)")
PAGE = 4096


@pytest.fixture(autouse=True)
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """No copy but what a test asks for."""
    monkeypatch.setattr(checkpoints, "EVERY", 3600.0)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A database with one table, all in its file."""
    place = tmp_path / "words.db"
    with closing(connect(place)) as connection:
        connection.execute("CREATE TABLE words (word TEXT)")
    return place


@pytest.fixture
def session(place: Path) -> Iterator[SQLiteSession]:
    """A writing session, and what copies its log."""
    session = SQLiteSession(connect(place), place, Checkpoints(connect(place)))
    yield session
    session.close()


def add(session: SQLiteSession, pages: int) -> None:
    """Write so many pages."""
    word = {"word": "w" * PAGE}

    def unit(tx: Tx) -> None:
        tx.execute_many(ADD, [word] * pages)

    session.transact(unit, alone=True)


def in_the_file(place: Path) -> int:
    """The words that somebody finds who has the file alone."""
    alone = place.with_name("alone.db")
    alone.write_bytes(place.read_bytes())
    with closing(sqlite3.connect(alone)) as connection:
        return int(connection.execute("SELECT count(*) FROM words").fetchone()[0])


def log_of(place: Path) -> int:
    """The size of the log."""
    return place.with_name(place.name + "-wal").stat().st_size


def copies(session: SQLiteSession) -> Checkpoints:
    """What copies the session's log."""
    found: Checkpoints = vars(session)["_checkpoints"]
    return found


def test_a_copy_is_made_beside_the_writer(session: SQLiteSession, place: Path) -> None:
    """What was committed is then in the file, though the writer is in the middle of more."""
    add(session, 3)
    assert in_the_file(place) == 0

    def unit(tx: Tx) -> None:
        tx.execute(ADD, {"word": "later"})
        copies(session).copy()

    session.transact(unit, alone=True)
    assert in_the_file(place) == 3


def test_a_long_log_begins_anew(
    session: SQLiteSession, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when something came during every copy: the writer does the rest, once."""
    monkeypatch.setattr(checkpoints, "LONG", 50)
    most = 0
    for _ in range(20):
        add(session, 30)
        # The copy does not see this one, and so is never complete.
        session.transact(_during(session), alone=True)
        most = max(most, log_of(place))
    assert most < 200 * PAGE
    assert in_the_file(place) >= 500


def _during(session: SQLiteSession) -> Any:
    def unit(tx: Tx) -> None:
        tx.execute(ADD, {"word": "during"})
        copies(session).copy()

    return unit


def test_a_short_log_costs_the_writer_nothing(session: SQLiteSession, place: Path) -> None:
    """It is left to the next copy."""
    add(session, 3)
    copies(session).copy()
    add(session, 3)
    assert in_the_file(place) == 3


def test_a_copy_that_fails_is_no_failed_commit(
    place: Path, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer hears nothing of it, and the log says why; the next one does the work."""
    monkeypatch.setattr(checkpoints, "LONG", -1)
    own, writer = connect(place), connect(place)
    copying = Checkpoints(own)
    copying.copy()  # and from now on the writer is to help
    closed = writer.cursor()
    closed.close()
    copying.after_commit(closed)
    own.close()
    copying.copy()
    heard.wait_for("log_not_copied")
    copying.close()
    writer.close()


def test_the_copy_comes_by_itself(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread looks again and again, and copies once something was written."""
    monkeypatch.setattr(checkpoints, "EVERY", 0.001)
    copied = threading.Event()
    copy = Checkpoints.copy

    def watched(copying: Checkpoints) -> None:
        copy(copying)
        copied.set()

    monkeypatch.setattr(Checkpoints, "copy", watched)
    session = SQLiteSession(connect(place), place, Checkpoints(connect(place)))
    add(session, 3)
    assert copied.wait(30)
    assert in_the_file(place) == 3
    session.close()
