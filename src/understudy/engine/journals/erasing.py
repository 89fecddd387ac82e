"""What was done for a person, found and deleted in the database."""

from __future__ import annotations

from collections.abc import Sequence

from understudy.db.database import Database, Row, RowsStatement, Tx, sql
from understudy.engine.erasing import Erased
from understudy.engine.journals.upkeep import FORGET_RUNS, FORGET_STEPS_OF, STILL_PAST

_OF_USER = "tenant = :tenant AND user_id = :user AND user_id IS NOT NULL AND operation != :spared"

_OPEN = sql(f"SELECT id FROM runs WHERE {_OF_USER} AND ended_at IS NULL ORDER BY id")  # noqa: S608 - constants

_ENDED = sql(
    f"SELECT id FROM runs WHERE {_OF_USER} AND ended_at IS NOT NULL ORDER BY id LIMIT :limit"  # noqa: S608
)

_SIGNALS = RowsStatement(
    {"run_id": "text"},
    "SELECT DISTINCT signal_id FROM signal_uses AS u JOIN {rows} AS r ON u.run_id = r.run_id",
)

# Who else has used them: of another user, or for nobody.
_USERS = RowsStatement(
    {"wanted": "bigint"},
    "SELECT DISTINCT u.signal_id, runs.user_id FROM signal_uses AS u "
    "JOIN {rows} AS r ON u.signal_id = r.wanted JOIN runs ON runs.id = u.run_id",
)

_FORGET_SIGNALS = RowsStatement(
    {"wanted": "bigint"}, "DELETE FROM signals WHERE id IN (SELECT r.wanted FROM {rows} AS r)"
)

_REQUESTS = RowsStatement(
    {"run_id": "text"},
    "SELECT q.tenant, q.key FROM requests AS q JOIN {rows} AS r ON q.run_id = r.run_id",
)

_FORGET_REQUESTS = RowsStatement(
    {"of": "text", "named": "text"},
    "DELETE FROM requests WHERE (tenant, key) IN (SELECT r.of, r.named FROM {rows} AS r)",
)

_FORGET_THROTTLES = sql("DELETE FROM throttles WHERE key = :key")

_MASK = sql("UPDATE runs SET input = :data, user_id = NULL, change = change + 1 WHERE id = :run_id")


class DatabaseErasing:
    """Looking is left to readers; what is deleted goes in short writes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open_runs(self, tenant: str, user: str, *, spared: str) -> Sequence[str]:
        said = {"tenant": tenant, "user": user, "spared": spared}
        return [run_id for (run_id,) in await self._database.read(lambda tx: tx.rows(_OPEN, said))]

    async def erase(self, tenant: str, user: str, *, spared: str, limit: int) -> Erased:
        said = {"tenant": tenant, "user": user, "spared": spared, "limit": limit}

        def look(tx: Tx) -> tuple[list[Row], list[Row], list[Row], int]:
            runs = tx.rows(_ENDED, said)
            signals = tx.rows_of(_SIGNALS, runs)
            shared = {number for number, whose in tx.rows_of(_USERS, signals) if whose != user}
            own = [row for row in signals if row[0] not in shared]
            return runs, own, tx.rows_of(_REQUESTS, runs), len(shared)

        runs, signals, requests, shared = await self._database.read(look)

        def unit(tx: Tx) -> Erased:
            # One that was retried since is open again: it is canceled and found once more.
            ended = tx.rows_of(STILL_PAST, runs)
            steps = tx.execute_rows(FORGET_STEPS_OF, ended)
            tx.execute_rows(FORGET_RUNS, ended)
            tx.execute(_FORGET_THROTTLES, {"key": f"{tenant}/{user}"})
            return Erased(
                runs=len(ended),
                steps=steps,
                signals=tx.execute_rows(_FORGET_SIGNALS, signals),
                shared=shared,
                requests=tx.execute_rows(_FORGET_REQUESTS, requests),
            )

        return await self._database.write(unit)

    async def mask(self, run_id: str, data: str) -> None:
        said = {"run_id": run_id, "data": data}
        await self._database.write(lambda tx: tx.execute(_MASK, said))
