"""`understudy runs retry`: once more, without what is already done."""

from __future__ import annotations

from typing import TYPE_CHECKING

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


def retry(
    ctx: typer.Context,
    run_id: RunId,
    output: Output = None,
    as_json: AsJson = False,
    detach: Detach = False,
) -> None:
    """Run a failed or canceled run again; its finished steps are kept."""

    async def work(app: App) -> None:
        if output is not None:
            check_target(output)
        run = await find_run(app, run_id)
        app.registry.get(run.operation)
        run = await app.engine.retry(run.id)
        if not detach:
            await bring_home(app, ctx.obj, run, target=output, as_json=as_json)
        elif as_json:
            terminal.say_json(await view(app, run))
        else:
            terminal.say(f"{run.id} {run.status}")

    perform(ctx, work, as_json=as_json)
