"""Somebody who watches every run by cursors, through all that happens to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from understudy.db.database import Database, Tx
from understudy.engine.change import Change, Cursor, Look
from understudy.engine.journals import ending, looking
from understudy.engine.run import Run, Step


class Observer:
    """Keeps a picture of each run from its changes alone, as a client does."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cursors: dict[str, Cursor] = {}
        self._runs: dict[str, Run] = {}
        self._steps: dict[str, dict[str, Step]] = {}

    async def look(self, run_ids: Sequence[str]) -> list[str]:
        """Take in what is new in these runs; how the picture then differs from what is so."""
        looks = [Look(run_id, None, self._cursors.get(run_id)) for run_id in run_ids]

        def query(tx: Tx) -> list[tuple[Change | None, Run, list[Step]]]:
            return [
                (seen.change, ending.known_run(tx, look.run_id), ending.steps(tx, look.run_id))
                for look, seen in zip(looks, looking.changes(tx, looks), strict=True)
            ]

        amiss: list[str] = []
        for change, run, steps in await self._database.read(query):
            if change is not None:
                self._take(change)
            amiss += self._amiss(run, steps)
        return amiss

    def _amiss(self, run: Run, steps: Sequence[Step]) -> Iterator[str]:
        if self._runs.get(run.id) != run:
            yield f"a watcher has not seen all of {run}: {self._runs.get(run.id)}"
        known, true = self._steps.get(run.id, {}), {step.key: step for step in steps}
        for key in known.keys() | true.keys():
            if known.get(key) != true.get(key):
                yield f"a watcher of {run.id} knows {known.get(key)}, not {true.get(key)}"

    def _take(self, change: Change) -> None:
        run_id = change.run.id
        steps = {} if change.whole else self._steps.get(run_id, {})
        self._steps[run_id] = steps | {step.key: step for step in change.steps}
        self._cursors[run_id] = change.cursor
        self._runs[run_id] = change.run
