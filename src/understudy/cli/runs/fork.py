"""`understudy runs fork`: a new run that begins with what another one remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from understudy.cli import terminal
from understudy.cli.following import bring_home
from understudy.cli.naming import find_run
from understudy.cli.options import AsJson, Detach, Output, RunId
from understudy.cli.results import view
from understudy.cli.saving import check_target
from understudy.cli.session import perform

if TYPE_CHECKING:
    from understudy.app import App


def fork(
    ctx: typer.Context,
    run_id: RunId,
    step: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="The first step to do anew; by default the one that failed, if one did.",
        ),
    ] = None,
    output: Output = None,
    as_json: AsJson = False,
    detach: Detach = False,
) -> None:
    """Run again as a new run, which keeps the steps before one and does the rest anew.

    The run that it was forked from stays as it is.
    """

    async def work(app: App) -> None:
        if output is not None:
            check_target(output)
        run = await find_run(app, run_id)
        fresh = await app.engine.fork(run.id, step)
        if not detach:
            await bring_home(app, ctx.obj, fresh, target=output, as_json=as_json)
        elif as_json:
            terminal.say_json(await view(app, fresh))
        else:
            terminal.say(f"{fresh.id} {fresh.status}")

    perform(ctx, work, as_json=as_json)
