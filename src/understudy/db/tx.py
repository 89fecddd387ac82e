"""One transaction, as units of work and queries see it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from sqlalchemy import text

from understudy.db.statement import RowsStatement, Statement

Row = tuple[Any, ...]

_NOTHING: Mapping[str, object] = {}

_NOW = Statement(text("SELECT CAST(extract(epoch from clock_timestamp()) AS float8)"))


class Cursor(Protocol):
    """The part of a DBAPI cursor that a transaction uses."""

    @property
    def rowcount(self) -> int:
        """Rows that the last statement changed."""
        ...

    def execute(self, sql: str, parameters: Sequence[object] = ..., /) -> object:
        """Run one statement."""
        ...

    def executemany(self, sql: str, parameters: Iterable[tuple[object, ...]], /) -> object:
        """Run one statement once for each tuple."""
        ...

    def fetchone(self) -> Any:
        """The next row, or None."""
        ...

    def fetchall(self) -> list[Any]:
        """All the rows left."""
        ...


class Tx:
    """A transaction on one cursor. It is valid only inside the function it was handed to.

    Errors of the database pass through untranslated, so that a unit may catch what it expects
    (`IntegrityError`); who runs the unit translates what is about the disk.
    """

    __slots__ = ("_cursor", "_dialect", "_own_clock", "announced")

    def __init__(self, cursor: Cursor, dialect: str, *, own_clock: bool = False) -> None:
        self._cursor = cursor
        self._dialect = dialect
        self._own_clock = own_clock
        self.announced = False

    def announce(self) -> None:
        """Tell the other processes on this database, at the commit, that there is work for them."""
        self.announced = True

    def now(self, otherwise: float) -> float:
        """The time that all processes on this database agree on, in seconds since 1970.

        PostgreSQL's own clock. A database on one machine has no other than its caller's.
        """
        if not self._own_clock:
            return otherwise
        now: float = self.scalar(_NOW)
        return now

    def execute(self, statement: Statement, /, params: Mapping[str, object] = _NOTHING) -> int:
        """Run a statement; the number of rows it changed."""
        sql, bind = statement.forms[self._dialect]
        cursor = self._cursor
        cursor.execute(sql, bind(params))
        return cursor.rowcount

    def execute_many(self, statement: Statement, rows: Iterable[Mapping[str, object]], /) -> None:
        """Run a statement once for each mapping of parameters."""
        sql, bind = statement.forms[self._dialect]
        self._cursor.executemany(sql, map(bind, rows))

    def row(self, statement: Statement, /, params: Mapping[str, object] = _NOTHING) -> Row | None:
        """The first row, or None."""
        sql, bind = statement.forms[self._dialect]
        cursor = self._cursor
        cursor.execute(sql, bind(params))
        row: Row | None = cursor.fetchone()
        return row

    def rows(self, statement: Statement, /, params: Mapping[str, object] = _NOTHING) -> list[Row]:
        """All rows, in the statement's order."""
        sql, bind = statement.forms[self._dialect]
        cursor = self._cursor
        cursor.execute(sql, bind(params))
        return cursor.fetchall()

    def rows_of(self, statement: RowsStatement, rows: Sequence[tuple[object, ...]], /) -> list[Row]:
        """What one statement over all these rows returns, in any order."""
        returned: list[Row] = []
        cursor = self._cursor
        for sql, parameters in statement.packed(self._dialect, rows):
            cursor.execute(sql, parameters)
            returned += cursor.fetchall()
        return returned

    def execute_rows(self, statement: RowsStatement, rows: Sequence[tuple[object, ...]], /) -> int:
        """Run one statement over all these rows; how many it changed."""
        changed = 0
        cursor = self._cursor
        for sql, parameters in statement.packed(self._dialect, rows):
            cursor.execute(sql, parameters)
            changed += cursor.rowcount
        return changed

    def scalar(self, statement: Statement, /, params: Mapping[str, object] = _NOTHING) -> Any:
        """The first column of the first row, or None when there is no row."""
        row = self.row(statement, params)
        return None if row is None else row[0]
