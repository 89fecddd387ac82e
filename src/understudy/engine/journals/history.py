"""What the database remembers of runs that succeeded, and of the percent that was shown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from understudy.db.database import Database, Row, RowsStatement, Tx, sql
from understudy.engine.history import Ended, Group
from understudy.engine.journals.rows import step_of
from understudy.engine.run import Step

# A second attempt says nothing: a person may have thought for days before it.
_ENDED = sql(
    "SELECT id, operation, version, created_at, started_at, ended_at FROM runs "
    "WHERE ended_at IS NOT NULL AND ended_at >= :since AND status = 'succeeded' "
    "AND attempt = 1 AND started_at IS NOT NULL ORDER BY ended_at DESC LIMIT :limit"
)

_GROUPS = RowsStatement(
    {"wanted": "text"},
    "SELECT run_id, name, min(seq), max(seq), count(*), sum(ended_at - started_at), max(ended_at) "
    "FROM steps JOIN {rows} AS r ON run_id = r.wanted WHERE ended_at IS NOT NULL "
    "GROUP BY run_id, name",
)

# What its steps returned tells nothing of when a run ends, and may be much.
_STEPS = RowsStatement(
    {"wanted": "text"},
    "SELECT run_id, key, seq, name, kind, state, attempt, due_at, NULL, NULL, started_at, ended_at "
    "FROM steps JOIN {rows} AS r ON run_id = r.wanted ORDER BY run_id, seq",
)

_PERCENTS = RowsStatement(
    {"wanted": "text"},
    "SELECT id, percent FROM runs JOIN {rows} AS r ON id = r.wanted WHERE percent IS NOT NULL",
)

# Two processes may show the same run: the higher one is what both show.
_SHOW = sql(
    "UPDATE runs SET percent = CASE WHEN percent > :percent THEN percent ELSE :percent END "
    "WHERE id = :id RETURNING percent"
)


class DatabaseRecords:
    """The past, as the database has it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ended(self, since: float, limit: int) -> Sequence[Ended]:
        said = {"since": since, "limit": limit}
        return [Ended(*row) for row in await self._database.read(lambda tx: tx.rows(_ENDED, said))]

    async def groups(self, run_ids: Sequence[str]) -> Mapping[str, Sequence[Group]]:
        found: dict[str, list[Group]] = defaultdict(list)
        for run_id, *group in await self._rows_of(_GROUPS, run_ids):
            found[run_id].append(Group(*group))
        return found

    async def steps(self, run_ids: Sequence[str]) -> Mapping[str, Sequence[Step]]:
        found: dict[str, list[Step]] = defaultdict(list)
        for run_id, *step in await self._rows_of(_STEPS, run_ids):
            found[run_id].append(step_of(tuple(step)))
        return found

    async def percents(self, run_ids: Sequence[str]) -> Mapping[str, int]:
        return dict(await self._rows_of(_PERCENTS, run_ids))

    async def show(self, percents: Mapping[str, int]) -> Mapping[str, int]:
        said = [{"id": run_id, "percent": percent} for run_id, percent in sorted(percents.items())]

        def unit(tx: Tx) -> dict[str, int]:
            shown = {one["id"]: tx.scalar(_SHOW, one) for one in said}
            return {run_id: shown[run_id] or percents[run_id] for run_id in percents}

        return await self._database.write(unit)

    async def _rows_of(self, statement: RowsStatement, run_ids: Sequence[str]) -> list[Row]:
        wanted = [(run_id,) for run_id in run_ids]
        return await self._database.read(lambda tx: tx.rows_of(statement, wanted))
