"""`understudy runs watch`: look on while another process works."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from understudy.cli import remote, terminal
from understudy.cli.following import ended, watched
from understudy.cli.live import live
from understudy.cli.naming import find_run
from understudy.cli.options import AsJson, LatestRunId
from understudy.cli.results import deliver, view
from understudy.cli.session import perform

if TYPE_CHECKING:
    from understudy.app import App
    from understudy.client import AsyncClient
    from understudy.engine.run import Run


def watch(ctx: typer.Context, run_id: LatestRunId = None, as_json: AsJson = False) -> None:
    """Follow a run without working on it; with --json, one line for each change."""

    async def work(app: App) -> None:
        run = await find_run(app, run_id)
        if as_json:
            await _say_changes(app, run)
            return
        with live() as display:
            run = await watched(app, run.id, display, ended)
        await deliver(app, ctx.obj, run, target=None, as_json=False)

    async def there(client: AsyncClient) -> None:
        run = await remote.find_run(client, run_id)
        if as_json:
            await remote.say_changes(client, run.id)
            return
        run = await remote.watched(client, run.id)
        await remote.deliver(client, ctx.obj, run)

    perform(ctx, work, as_json=as_json, remote=there)


async def _say_changes(app: App, run: Run) -> None:
    async for changed in app.engine.watch(run.id):
        terminal.say_json(await view(app, changed), lines=True)
        if ended(changed):
            break
    if changed.status != "succeeded":
        raise typer.Exit(1)
