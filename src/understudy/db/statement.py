"""A statement written once in SQLAlchemy Core and compiled once to plain SQL.

The hot path hands SQL text and a tuple to the driver, with nothing of SQLAlchemy in between.
Parameters are named where they are written and positional where they are bound: Python's sqlite3
lets go of the interpreter lock once for each *named* parameter, which under load gives the event
loop that many chances to take the lock away from the writer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any

from sqlalchemy import ClauseElement
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler
from sqlalchemy.engine.interfaces import Dialect

Bind = Callable[[Mapping[str, object]], tuple[object, ...]]
"""Turns named parameters into the driver's tuple; an absent name is a KeyError naming it."""

Form = tuple[str, Bind]
"""What one database is sent: its SQL, and how to bind parameters to it."""


class Statement:
    """A Core construct (or `text()`) with named parameters, compiled at its first use.

    Values inside the construct become part of the SQL; each `bindparam` without a value, and each
    column of an `insert()` without `values()`, is a parameter that every use must give. A use may
    give more than that: a whole row serves any statement about it.
    """

    __slots__ = ("construct", "forms")

    def __init__(self, construct: ClauseElement) -> None:
        self.construct = construct
        self.forms = _Forms(construct)

    def __repr__(self) -> str:
        return f"Statement({' '.join(str(self.construct).split())})"


class _Forms(dict[str, Form]):
    """The forms of one statement by dialect. Two threads may both compile; both get it right."""

    def __init__(self, construct: ClauseElement) -> None:
        super().__init__()
        self._construct = construct

    def __missing__(self, name: str) -> Form:
        compiled: Any = self._construct.compile(dialect=_DIALECTS[name]())
        form = self[name] = str(compiled), _binder(compiled.positiontup or [])
        return form


class _SQLiteCompiler(SQLiteCompiler):
    """Writes known values (and lists of them, for `IN`) into the SQL, so that none is bound."""

    def visit_bindparam(self, bindparam: Any, *args: Any, **options: Any) -> Any:
        """A parameter without a value stays one."""
        options["literal_binds"] = not bindparam.required
        return super().visit_bindparam(bindparam, *args, **options)  # type: ignore[no-untyped-call]


def _sqlite() -> Dialect:
    dialect = sqlite.dialect(paramstyle="qmark")
    dialect.statement_compiler = _SQLiteCompiler
    return dialect


_DIALECTS: dict[str, Callable[[], Dialect]] = {"sqlite": _sqlite}


def _binder(names: list[str]) -> Bind:
    if not names:
        return lambda _: ()
    if len(names) == 1:
        (name,) = names
        return lambda params: (params[name],)
    return itemgetter(*names)
