"""`understudy runs cancel`: stop a run and the work inside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from understudy.cli import terminal
from understudy.cli.following import until_done
from understudy.cli.live import live
from understudy.cli.naming import find_run
from understudy.cli.options import AsJson, Detach, RunId
from understudy.cli.results import view
from understudy.cli.session import perform

if TYPE_CHECKING:
    from understudy.app import App


def cancel(
    ctx: typer.Context, run_id: RunId, as_json: AsJson = False, detach: Detach = False
) -> None:
    """Cancel a run and its children, and wait until its running steps have stopped."""

    async def work(app: App) -> None:
        run = await app.engine.cancel((await find_run(app, run_id)).id)
        if not run.done and not detach:
            with live() as display:
                run = await until_done(app, run, display)
        if as_json:
            terminal.say_json(await view(app, run))
        else:
            terminal.say(f"{run.id} {run.status if run.done else 'is being canceled'}")
        if run.status in {"succeeded", "failed"}:  # it was quicker
            raise typer.Exit(1)

    perform(ctx, work, as_json=as_json)
