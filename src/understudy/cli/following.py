"""Bring runs to their end: here, or by watching the process that works on them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from understudy.cli import terminal
from understudy.cli.live import Live, live
from understudy.cli.results import deliver
from understudy.cli.session import Session
from understudy.errors import StorageError, WorkerHeld

if TYPE_CHECKING:
    from understudy.app import App
    from understudy.engine.plan import Plan
    from understudy.engine.run import Run

T = TypeVar("T")

_RETRY_SECONDS = 1.0  # how soon after another worker's end this process takes over
_AT_ONCE = 50  # runs shown side by side
_OPERATOR = frozenset({"operator"})
_OUTSIDE = frozenset({"signal", "operator", "run"})  # what no worker can bring about alone


async def bring_home(
    app: App, session: Session, run: Run, *, target: Path | None, as_json: bool
) -> None:
    """Drive a run to its end, live, and deliver it; when stopped, say how to go on."""
    try:
        with live() as display:
            run = await until_done(app, run, display)
    except (asyncio.CancelledError, StorageError):
        output = ["-o", str(target)] if target else []
        terminal.tell(
            f"{run.id} is kept; resume with: " + session.command("runs", "resume", run.id, *output)
        )
        raise
    await deliver(app, session, run, target=target, as_json=as_json)


async def until_done(app: App, run: Run, display: Live) -> Run:
    """Drive one run and its children until it is done, or waits for the operator; return it.

    While another process works on the database, look on: it drives what is new to it, but may leave
    an older run queued. When that process ends, take over. Cancelling drains: the run is left where
    it can be resumed.
    """
    holder = ""
    while True:
        try:
            async with app.worker(run.root_id) as plan:
                return await unless_stopped(plan, watched(app, run.id, display, ended))
        except WorkerHeld as held:
            if held.message != holder:
                holder = held.message
                display.note(f"{holder}; following, and taking over when it ends")
            run = await _watched_for_a_while(app, run.id, display)
        if ended(run):
            return run


async def until_still(app: App, display: Live) -> list[Run]:
    """Drive every run of this tenant until nothing can move without the outside world.

    Returns the runs that were unfinished at any time, as they are then. Raises `WorkerHeld`.
    """
    runs: dict[str, Run] = {}
    async with app.worker() as plan:
        while moving := await _moving(app):
            shown = (watched(app, run.id, display, _still) for run in moving[:_AT_ONCE])
            seen = await unless_stopped(plan, asyncio.gather(*shown))
            runs.update((run.id, run) for run in seen)
    runs.update((run.id, run) for run in await app.engine.unfinished(app.tenant))
    return sorted(runs.values(), key=lambda run: run.id)


def ended(run: Run) -> bool:
    """Whether the run is done, or parked until the operator lets it go on."""
    return run.done or _parked(run, _OPERATOR)


async def unless_stopped(plan: Plan, looking: Awaitable[T]) -> T:
    """What `looking` returns. Raises what stopped the plan, if it had to give up meanwhile."""
    look = asyncio.ensure_future(looking)
    try:
        ends: set[asyncio.Future[Any]] = {look, plan.failure}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if not look.done():
            raise plan.failure.result()
        return look.result()
    finally:
        look.cancel()
        await asyncio.gather(look, return_exceptions=True)  # or asyncio reports it as lost


async def _moving(app: App) -> list[Run]:
    """The runs that this process can bring further."""
    runs = await app.engine.unfinished(app.tenant)
    return [run for run in runs if run.operation in app.registry.names and not _still(run)]


def _still(run: Run) -> bool:
    return run.done or _parked(run, _OUTSIDE)


def _parked(run: Run, kinds: Collection[str]) -> bool:
    """Whether the run waits for one of these, and was not woken since it was parked."""
    waits = run.waiting_for or {}
    woken = run.wake_at is not None and run.wake_at != waits.get("until")
    return run.status == "waiting" and waits.get("kind") in kinds and not woken


async def watched(app: App, run_id: str, display: Live, enough: Callable[[Run], bool]) -> Run:
    """Look on until the run is `enough`; the run then."""
    async for run in app.engine.watch(run_id):
        display.show(run)
        if enough(run):
            break
    return run


async def _watched_for_a_while(app: App, run_id: str, display: Live) -> Run:
    try:
        async with asyncio.timeout(_RETRY_SECONDS):
            return await watched(app, run_id, display, ended)
    except TimeoutError:
        return await app.engine.get(run_id)
