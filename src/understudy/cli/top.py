"""`understudy top`: who works, what waits, and what is in flight, as it moves."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from understudy.cli import terminal
from understudy.cli.options import AsJson
from understudy.cli.session import perform

if TYPE_CHECKING:
    from understudy.app import App
    from understudy.cli.dashboard import Snapshot

_EVERY = 1.0


def top(
    ctx: typer.Context,
    once: Annotated[
        bool, typer.Option("--once", help="Show it as it is now, and end; so in a pipe, too.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many runs.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Show the workers, the queues and the newest runs in flight, each second anew.

    Runs are this tenant's; workers and queues everybody's.
    """

    async def work(app: App) -> None:
        from understudy.cli import dashboard  # noqa: PLC0415 - `--help` answers at once

        if as_json:
            terminal.say_json(dashboard.document(await look(app, limit)))
        elif once or not sys.stdout.isatty():
            dashboard.say(await look(app, limit))
        else:
            with contextlib.suppress(asyncio.CancelledError), dashboard.screen() as show:
                while True:
                    show(await look(app, limit))
                    await app.clock.sleep(_EVERY)

    perform(ctx, work, as_json=as_json, stopping="")


async def look(app: App, limit: int) -> Snapshot:
    """Everything as it is now: the runs that are driven first, then the other ones."""
    from understudy.cli.dashboard import Snapshot  # noqa: PLC0415 - `--help` answers at once
    from understudy.engine.run import RunFilter  # noqa: PLC0415 - the same

    now = app.clock.now()
    crowd = await app.engine.crowd()
    flight = RunFilter(app.tenant, unfinished=True, limit=limit)
    driven = RunFilter(app.tenant, status="running", unfinished=True, limit=limit)
    newest = [*await app.engine.list(driven), *await app.engine.list(flight)]
    runs = tuple({run.id: run for run in newest}.values())[:limit]
    return Snapshot(app.database.place, now, crowd, runs)
