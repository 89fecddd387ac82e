"""Empty databases for the benchmarks: SQLite files, and databases of one real PostgreSQL.

The PostgreSQL is started for the benchmark and is durable, as in production: `fsync`,
`full_page_writes` and `synchronous_commit` are on. Its data lies where the SQLite files lie.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src")]

from understudy.testing.postgres import PostgresServer  # noqa: E402 - the sources beside this file

SQLITE, POSTGRESQL = "SQLite", "PostgreSQL"


@dataclass(frozen=True)
class Fresh:
    """One database of its own and a folder; Understudy and DBOS both read the `url` so."""

    kind: str
    url: str
    home: Path
    name: str

    def ask(self, query: str) -> Any:
        """The first value of a query's first row, read by a connection that does nothing else."""
        row = self.run(query)
        return None if row is None else row[0]

    def run(self, statement: str) -> Any:
        """Run a statement in a transaction of its own; its first row, if it answers any."""
        if self.kind == SQLITE:
            with contextlib.closing(sqlite3.connect(self.home / self.name)) as connection:
                row = connection.execute(statement).fetchone()
                connection.commit()
                return row
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchone() if cursor.description else None

    def size(self) -> int:
        """Bytes on disk: the file, or the database with its indexes."""
        if self.kind == SQLITE:
            return sum(path.stat().st_size for path in self.home.glob(f"{self.name}*"))
        return int(self.ask("SELECT pg_database_size(current_database())"))


class Databases:
    """`with Databases() as databases:`; the PostgreSQL is started when it is first asked for."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._server: PostgresServer | None = None
        self._made = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    @contextlib.contextmanager
    def fresh(self, kind: str, journal_mode: str = "") -> Iterator[Fresh]:
        """An empty database, which is gone afterwards. A SQLite file may be given its mode."""
        self._made += 1
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            home = Path(folder)
            if kind == SQLITE:
                name = "bench.db"
                if journal_mode:
                    with contextlib.closing(sqlite3.connect(home / name)) as connection:
                        connection.execute(f"PRAGMA journal_mode={journal_mode}")
                yield Fresh(kind, f"sqlite:///{home / name}", home, name)
            else:
                name = f"bench{self._made}"
                server = self._running()
                try:
                    yield Fresh(kind, server.create(name), home, name)
                finally:
                    server.drop(name)

    def version(self, kind: str) -> str:
        """Which release of the database this is."""
        if kind == SQLITE:
            return sqlite3.sqlite_version
        with psycopg.connect(self._running().url("postgres")) as connection:
            return str(connection.info.parameter_status("server_version"))

    def _running(self) -> PostgresServer:
        if self._server is None:
            self._server = self._stack.enter_context(PostgresServer(durable=True))
        return self._server


def fsync_milliseconds() -> float:
    """The median cost of one small append that is durable, where the files lie."""
    costs = []
    with tempfile.TemporaryFile() as file:
        for _ in range(50):
            started = time.perf_counter()
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
            costs.append(time.perf_counter() - started)
    return 1000 * statistics.median(costs)


def about(databases: Databases) -> dict[str, Any]:
    """What this ran on, and when."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, "
        f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "sqlite": databases.version(SQLITE),
        "postgresql": databases.version(POSTGRESQL),
        "dbos": importlib.metadata.version("dbos"),
        "fsync_ms": round(fsync_milliseconds(), 3),
    }


def said(facts: dict[str, Any]) -> str:
    """The same in a line of prose."""
    return (
        f"{facts['machine']}, Python {facts['python']}, SQLite {facts['sqlite']}, PostgreSQL "
        f"{facts['postgresql']}, DBOS {facts['dbos']}, fsync {facts['fsync_ms']:.2f} ms, "
        f"{facts['date']}"
    )
