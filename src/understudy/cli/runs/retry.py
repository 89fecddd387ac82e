"""`understudy runs retry`: once more, without what is already done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from understudy.cli import remote, terminal
from understudy.cli.following import bring_home
from understudy.cli.gathering import gathered
from understudy.cli.naming import find_run
from understudy.cli.options import AsJson, Detach, Output
from understudy.cli.results import view
from understudy.cli.runs.many import NO_SELECTION, Change, Selection, change_many
from understudy.cli.saving import check_target
from understudy.cli.session import perform

if TYPE_CHECKING:
    from understudy.app import App
    from understudy.client import AsyncClient
    from understudy.engine.run import Run


@gathered
def retry(
    ctx: typer.Context,
    run_id: Annotated[
        str | None,
        typer.Argument(metavar="ID", help="The run's id, or enough of its beginning or end."),
    ] = None,
    selection: Selection = NO_SELECTION,
    output: Output = None,
    as_json: AsJson = False,
    detach: Detach = False,
) -> None:
    """Run a failed or canceled run again; its finished steps are kept.

    Without an id: every failed run that the options select (canceled ones with --status canceled);
    they are shown first, and left to a running worker.
    """
    selection.check(run_id)
    if run_id is None:
        if output is not None:
            raise typer.BadParameter("-o saves what one run makes; name the run")
        change_many(ctx, selection, _RETRY, as_json=as_json)
        return

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

    async def there(client: AsyncClient) -> None:
        if output is not None:
            check_target(output)
        asked = await client.retry((await remote.find_run(client, run_id)).id)
        said = f"{asked.id} {asked.status}" if detach else None
        await remote.bring_home(
            client, ctx.obj, asked, target=output, as_json=as_json, detached=said
        )

    perform(ctx, work, as_json=as_json, remote=there)


async def _retry(app: App, run_id: str) -> Run:
    return await app.engine.retry(run_id)


_RETRY = Change("retry", "queued again", ("failed", "canceled"), "failed", _retry)
