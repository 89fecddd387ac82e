"""`understudy runs cancel`: stop a run and the work inside it, or many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy.cli import remote, terminal
from understudy.cli.following import until_done
from understudy.cli.gathering import gathered
from understudy.cli.live import Shown, live
from understudy.cli.naming import find_run
from understudy.cli.options import AsJson, Detach
from understudy.cli.results import view
from understudy.cli.runs.many import NO_SELECTION, Change, Selection, change_many
from understudy.cli.session import perform

if TYPE_CHECKING:
    from understudy.app import App
    from understudy.client import AsyncClient
    from understudy.engine.run import Run


@gathered
def cancel(
    ctx: typer.Context,
    run_id: Annotated[
        str | None,
        typer.Argument(metavar="ID", help="The run's id, or enough of its beginning or end."),
    ] = None,
    selection: Selection = NO_SELECTION,
    as_json: AsJson = False,
    detach: Detach = False,
) -> None:
    """Cancel a run and its children, and wait until its running steps have stopped.

    Without an id: every unfinished run that the options select; they are shown first.
    """
    selection.check(run_id)
    if run_id is None:
        change_many(ctx, selection, _CANCEL, as_json=as_json)
        return

    async def work(app: App) -> None:
        run = await app.engine.cancel((await find_run(app, run_id)).id)
        if not run.done and not detach:
            with live() as display:
                run = await until_done(app, run, display)
        _say_end(run, await view(app, run) if as_json else None)

    async def there(client: AsyncClient) -> None:
        run = await client.cancel((await remote.find_run(client, run_id)).id)
        if not run.done and not detach:
            run = await remote.watched(client, run.id)
        _say_end(remote.Told(run), run.model_dump(mode="json") if as_json else None)

    perform(ctx, work, as_json=as_json, remote=there)


def _say_end(run: Shown, document: dict[str, Any] | None) -> None:
    if document is not None:
        terminal.say_json(document)
    else:
        terminal.say(f"{run.id} {run.status if run.done else 'is being canceled'}")
    if run.status in {"succeeded", "failed"}:  # it was quicker
        raise typer.Exit(1)


async def _cancel(app: App, run_id: str) -> Run:
    return await app.engine.cancel(run_id)


_CANCEL = Change("cancel", "canceled", ("queued", "running", "waiting"), None, _cancel)
