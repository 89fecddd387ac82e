"""Which run a person means: an id, its beginning or its end, or the latest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from understudy.errors import InputError, NotFound

if TYPE_CHECKING:
    from understudy.app import App
    from understudy.engine.run import Run

FULL_LENGTH = len("run_") + 26
SEARCHED = 10_000  # the newest runs, among which an abbreviation is looked up
_SHOWN = 5


async def find_run(app: App, text: str | None) -> Run:
    """The run of a full id, or the only one whose id begins or ends with `text`; None: the latest.

    Raises `NotFound`, and `InputError` when several runs fit.
    """
    from understudy.engine.run import RunFilter  # noqa: PLC0415 - `--help` answers at once

    if text is not None and len(text) == FULL_LENGTH:
        run = await app.engine.get(text)
        if run.tenant != app.tenant:
            raise NotFound(f"no run {text}")
        return run
    limit = 1 if text is None else SEARCHED
    runs = await app.engine.list(RunFilter(tenant=app.tenant, limit=limit))
    chosen = the_one([run.id for run in runs], text)
    return next(run for run in runs if run.id == chosen)


def the_one(ids: Sequence[str], text: str | None) -> str:
    """Which of these ids is meant. Raises `NotFound`, and `InputError` when several fit."""
    fitting = [run_id for run_id in ids if text is None or _fits(run_id, text)]
    if not fitting:
        raise NotFound("there are no runs yet" if text is None else f"no run {text}")
    if len(fitting) > 1:
        some = ", ".join(fitting[:_SHOWN])
        raise InputError(f"{text} fits {len(fitting)} runs: {some}; give more of the id")
    return fitting[0]


def _fits(run_id: str, text: str) -> bool:
    return bool(text) and (run_id.startswith((text, f"run_{text}")) or run_id.endswith(text))
