"""A statement written once in SQLAlchemy Core and compiled once to plain SQL.

The hot path hands SQL text and a tuple to the driver, with nothing of SQLAlchemy in between.
Parameters are named where they are written and positional where they are bound: Python's sqlite3
lets go of the interpreter lock once for each *named* parameter, which under load gives the event
loop that many chances to take the lock away from the writer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import ClauseElement, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql.base import PGCompiler, PGDialect
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler
from sqlalchemy.engine.interfaces import Dialect

Bind = Callable[[Mapping[str, object]], tuple[object, ...]]
"""Turns named parameters into the driver's tuple; an absent name is a KeyError naming it."""

Form = tuple[str, Bind]
"""What one database is sent: its SQL, and how to bind parameters to it."""

Packed = tuple[str, Sequence[object]]
"""The SQL and the parameters of one statement over many rows."""


class Statement:
    """A Core construct (or `text()`) with named parameters, compiled at its first use.

    Values inside the construct become part of the SQL; each `bindparam` without a value, and each
    column of an `insert()` without `values()`, is a parameter that every use must give. A use may
    give more than that: a whole row serves any statement about it. `postgresql` is written instead
    where the two databases have no common words.
    """

    __slots__ = ("construct", "forms")

    def __init__(
        self, construct: ClauseElement, *, postgresql: ClauseElement | None = None
    ) -> None:
        self.construct = construct
        self.forms = _Forms(construct, postgresql)

    def __repr__(self) -> str:
        return f"Statement({' '.join(str(self.construct).split())})"


class _Forms(dict[str, Form]):
    """The forms of one statement by dialect. Two threads may both compile; both get it right."""

    def __init__(self, construct: ClauseElement, postgresql: ClauseElement | None) -> None:
        super().__init__()
        self._constructs = {
            "sqlite": construct,
            "postgresql": construct if postgresql is None else postgresql,
        }

    def __missing__(self, name: str) -> Form:
        compiled: Any = self._constructs[name].compile(dialect=_DIALECTS[name]())
        form = self[name] = str(compiled), _binder(compiled.positiontup or [])
        return form


class RowsStatement:
    """One statement over any number of rows, each a tuple of the `columns` in their order.

    `sql` names the rows as `{rows}`, a table of these columns. `columns` maps each to its SQL type.
    SQLite is handed `VALUES` in a few sizes, so that it steps through many rows without a word from
    Python; PostgreSQL one JSON document, which costs far less to send than a parameter each.
    """

    __slots__ = ("_postgresql", "_sizes", "_template", "_width")

    def __init__(self, columns: Mapping[str, str], sql: str) -> None:
        self._width = len(columns)
        named = ", ".join(f"column{n} AS {name}" for n, name in enumerate(columns, 1))
        self._template = sql.replace("{rows}", f"(SELECT {named} FROM (VALUES {{values}}))")  # noqa: S608 - our own names
        typed = ", ".join(
            f"(value->>{n})::{type_} AS {name}" for n, (name, type_) in enumerate(columns.items())
        )
        self._postgresql = sql.replace(
            "{rows}",
            f"(SELECT {typed} FROM jsonb_array_elements($1::jsonb))",  # noqa: S608 - the same
        )
        self._sizes: dict[int, str] = {}

    def packed(self, dialect: str, rows: Sequence[tuple[object, ...]]) -> list[Packed]:
        """The statements to run, one after the other."""
        if dialect == "postgresql":
            # Not escaped, so that half of a surrogate pair is refused here, as it is elsewhere.
            return [(self._postgresql, (json.dumps(rows, ensure_ascii=False),))]
        packs: list[Packed] = []
        taken = 0
        while taken < len(rows):
            size = (
                _PACK if len(rows) - taken >= _PACK else 1 << (len(rows) - taken).bit_length() - 1
            )
            some = rows[taken : taken + size]
            packs.append((self._of_size(size), [value for row in some for value in row]))
            taken += size
        return packs

    def _of_size(self, size: int) -> str:
        if size not in self._sizes:
            row = f"({', '.join('?' * self._width)})"
            self._sizes[size] = self._template.replace("{values}", ", ".join([row] * size))
        return self._sizes[size]


_PACK = 64
"""Rows in one statement: more make it no faster. What remains goes in powers of two, so that few
different statements are prepared."""


class _SQLiteCompiler(SQLiteCompiler):
    """Writes known values (and lists of them, for `IN`) into the SQL, so that none is bound."""

    def visit_bindparam(self, bindparam: Any, *args: Any, **options: Any) -> Any:
        """A parameter without a value stays one."""
        options["literal_binds"] = not bindparam.required
        return super().visit_bindparam(bindparam, *args, **options)  # type: ignore[no-untyped-call]


class _PostgreSQLCompiler(PGCompiler):
    """The same for PostgreSQL."""

    def visit_bindparam(self, bindparam: Any, *args: Any, **options: Any) -> Any:
        """A parameter without a value stays one."""
        options["literal_binds"] = not bindparam.required
        return super().visit_bindparam(bindparam, *args, **options)  # type: ignore[no-untyped-call]


def _sqlite() -> Dialect:
    dialect = sqlite.dialect(paramstyle="qmark")
    dialect.statement_compiler = _SQLiteCompiler
    return dialect


def _postgresql() -> Dialect:
    dialect = PGDialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]
    dialect.statement_compiler = _PostgreSQLCompiler
    return dialect


_DIALECTS: dict[str, Callable[[], Dialect]] = {"sqlite": _sqlite, "postgresql": _postgresql}


def sql(sqlite: str, postgresql: str | None = None) -> Statement:
    """A statement in plain SQL with `:named` parameters."""
    return Statement(text(sqlite), postgresql=None if postgresql is None else text(postgresql))


def _binder(names: list[str]) -> Bind:
    if not names:
        return lambda _: ()
    if len(names) == 1:
        (name,) = names
        return lambda params: (params[name],)
    return itemgetter(*names)
