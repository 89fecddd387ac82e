"""All rows of a database, out and in again: for backups, and for moving between databases.

Rows are mappings of a column's name to its value: text, numbers, None. Both databases write and
read the same ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnClause,
    Table,
    bindparam,
    column,
    insert,
    select,
    table,
    tuple_,
)

from understudy.db.driver import Driver
from understudy.db.migrate import migrate, revisions, schema_of
from understudy.db.schema import metadata
from understudy.db.statement import Statement, sql
from understudy.db.tx import Tx
from understudy.errors import ConfigError, Conflict, SchemaTooNew

Rows = Iterable[Mapping[str, Any]]

_PAGE = 1000
_LEFT_OUT = frozenset({"sessions", "workers"})
"""Who is signed in, and who works: true of one installation at one time only."""

TABLES = tuple(one.name for one in metadata.sorted_tables if one.name not in _LEFT_OUT)
"""The tables of a dump, each after those that it refers to."""

_COUNT = {name: sql(f"SELECT count(*) FROM {name}") for name in TABLES}  # noqa: S608 - our names


def count(tx: Tx) -> dict[str, int]:
    """How many rows each table has."""
    return {name: tx.scalar(_COUNT[name]) for name in TABLES}


def rows_of(tx: Tx, name: str) -> Iterator[dict[str, Any]]:
    """The rows of a table, in the order of its primary key, a page in memory at a time."""
    whole = metadata.tables[name]
    names = [one.name for one in whole.columns]
    keys = [one.name for one in whole.primary_key]
    first, following = _pages(whole)
    page = tx.rows(first)
    while page:
        for row in page:
            told = dict(zip(names, row, strict=True))
            yield told
        if len(page) < _PAGE:
            return
        page = tx.rows(following, {f"last_{key}": told[key] for key in keys})


def prepare(driver: Driver, schema: str, tables: Iterable[str]) -> None:
    """Make an empty database at the schema of a dump, which has these tables. Blocks.

    Raises SchemaTooNew when a newer release wrote the dump, Conflict when the database is not
    empty, and ConfigError when it cannot be used.
    """
    known = revisions()
    if schema not in known:
        raise SchemaTooNew(
            f"this was written by a newer Understudy (schema {schema}, which this release, up to "
            f"{known[-1]}, does not know): install that one"
        )
    driver.create()
    current = schema_of(driver)
    if current is None:
        migrate(driver, to=schema)
    elif current != schema:
        raise ConfigError(
            f"{driver.place} has schema {current}, and what is restored has {schema}: name a home, "
            "or a database, that is new"
        )
    session = driver.connect(read_only=True)
    try:
        session.query(lambda tx: check_empty(tx, driver.place, tables))
    finally:
        session.close()


def check_empty(tx: Tx, place: str, tables: Iterable[str]) -> None:
    """Raises Conflict when one of the tables has a row."""
    for name in tables:
        found = tx.scalar(_COUNT[name])
        if found:
            raise Conflict(
                f"{place} is not empty ({found} rows of {name}): name a new home or database"
            )


def load(tx: Tx, name: str, rows: Rows) -> int:
    """Put rows into a table, at whatever schema it is; how many."""
    loaded = 0
    page: list[Mapping[str, Any]] = []
    for row in rows:
        if page and (len(page) == _PAGE or row.keys() != page[0].keys()):
            loaded += _load_page(tx, name, page)
            page = []
        page.append(row)
    return loaded + _load_page(tx, name, page)


def go_on_numbering(tx: Tx, dialect: str, name: str) -> None:
    """What the database numbers by itself goes on behind what was loaded."""
    if dialect == "postgresql" and _numbered(metadata.tables[name]):
        tx.scalar(
            sql(
                f"SELECT setval(pg_get_serial_sequence('{name}', 'id'), "  # noqa: S608 - our own name
                f"coalesce(max(id), 1), max(id) IS NOT NULL) FROM {name}"
            )
        )


def _pages(whole: Table) -> tuple[Statement, Statement]:
    """The first page of a table, and the one behind a row."""
    keys = list(whole.primary_key)
    first = select(whole).order_by(*keys).limit(_PAGE)
    last = tuple_(*(bindparam(f"last_{key.name}", type_=key.type) for key in keys))
    return Statement(first), Statement(first.where(tuple_(*keys) > last))


def _load_page(tx: Tx, name: str, page: list[Mapping[str, Any]]) -> int:
    if page:
        # By the names of the rows, not of the schema: they may be those of an older one.
        columns: list[ColumnClause[Any]] = [column(one) for one in page[0]]
        tx.execute_many(Statement(insert(table(name, *columns))), page)
    return len(page)


def _numbered(whole: Table) -> bool:
    keys = list(whole.primary_key)
    return len(keys) == 1 and isinstance(keys[0].type, BigInteger)
