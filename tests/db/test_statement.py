"""What a statement becomes for the driver."""

from __future__ import annotations

import pytest
from sqlalchemy import bindparam, insert, select, text, update

from understudy.db.database import Database, RowsStatement
from understudy.db.schema import blobs, runs, signals
from understudy.db.statement import Statement, sql


def test_names_become_positions() -> None:
    """A use binds by name, in whatever order it gives the parameters."""
    sql, bind = Statement(insert(blobs)).forms["sqlite"]
    assert sql.count("?") == 5
    row = {"created_at": 1.0, "location": "l", "size": 3, "sha256": "s", "tenant": "t"}
    assert bind(row) == ("t", "s", 3, "l", 1.0)


def test_values_become_part_of_the_sql() -> None:
    """What the construct knows is written out, quotes and lists included, and never bound."""
    query = select(runs.c.id).where(
        runs.c.status.in_(("failed", "canceled")),
        runs.c.tenant == "it's",
        runs.c.id == bindparam("id"),
    )
    sql, bind = Statement(query.limit(5)).forms["sqlite"]
    assert "IN ('failed', 'canceled')" in sql
    assert "'it''s'" in sql
    assert "LIMIT 5" in sql
    assert bind({"id": "run_1"}) == ("run_1",)


def test_a_parameter_may_stand_twice() -> None:
    """The same name binds the same value at each of its places."""
    _, bind = Statement(text("SELECT :a, :b, :a")).forms["sqlite"]
    assert bind({"a": 1, "b": 2}) == (1, 2, 1)


def test_none_is_a_value() -> None:
    """A column set to None in the construct becomes NULL and is asked of nobody."""
    sql, bind = Statement(update(runs).values(wake_at=None)).forms["sqlite"]
    assert "wake_at=NULL" in sql.replace(" ", "")
    assert bind({"wake_at": 3.0}) == ()


def test_a_missing_parameter_is_named() -> None:
    """Forgetting one is a KeyError with its name, never a NULL in the table."""
    for statement in (Statement(insert(blobs)), Statement(text("SELECT :tenant"))):
        _, bind = statement.forms["sqlite"]
        with pytest.raises(KeyError, match="tenant"):
            bind({"sha256": "s", "size": 1, "location": "l", "created_at": 1.0})


def test_an_unknown_parameter_is_passed_over() -> None:
    """A whole row serves a statement about a part of it."""
    _, bind = Statement(text("SELECT :a")).forms["sqlite"]
    assert bind({"a": 1, "other": 2}) == (1,)


def test_compiled_once() -> None:
    """The second use finds the form of the first."""
    statement = Statement(select(signals.c.id))
    assert statement.forms["sqlite"] is statement.forms["sqlite"]


def test_it_shows_its_sql() -> None:
    """In a traceback a statement says what it asks."""
    assert repr(Statement(text("SELECT\n 1"))) == "Statement(SELECT 1)"


@pytest.mark.parametrize("count", [0, 1, 2, 63, 64, 65, 200])
async def test_any_number_of_rows(any_url: str, count: int) -> None:
    """Every row arrives as it is, nothing and quotes included, whatever the database is sent."""
    add = RowsStatement(
        {"name": "text", "key": "text", "at": "float8"},
        "INSERT INTO signals (tenant, name, data, idempotency_key, created_at) "
        "SELECT 't', name, '{}', key, at FROM {rows} AS rows WHERE true RETURNING name",
    )
    rows = [(f"'{n}\" ü\u2028 {{}}", None if n % 2 else f"key {n}", n / 3) for n in range(count)]
    async with await Database.open(any_url) as database:
        told = await database.write(lambda tx: tx.rows_of(add, rows))
        assert sorted(told) == sorted((name,) for name, _, _ in rows)
        stored = sql("SELECT name, idempotency_key, created_at FROM signals ORDER BY created_at")
        assert await database.read(lambda tx: tx.rows(stored)) == rows
        forget = RowsStatement(
            {"name": "text"}, "DELETE FROM signals WHERE name IN (SELECT name FROM {rows} AS rows)"
        )
        gone = [(name,) for name, _, _ in rows]
        assert await database.write(lambda tx: tx.execute_rows(forget, gone)) == count


async def test_a_statement_for_each_database(any_url: str) -> None:
    """Where they have no common words, each is asked in its own."""
    version = sql("SELECT sqlite_version()", "SELECT current_setting('server_version')")
    async with await Database.open(any_url) as database:
        told = await database.read(lambda tx: tx.scalar(version))
        assert told.startswith("3.") == any_url.startswith("sqlite")
