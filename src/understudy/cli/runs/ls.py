"""`understudy runs ls`: the newest runs."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from understudy.cli import remote, terminal
from understudy.cli.options import AsJson
from understudy.cli.results import view
from understudy.cli.session import perform

if TYPE_CHECKING:
    from understudy.app import App
    from understudy.client import AsyncClient
    from understudy.engine.crowd import Crowd
    from understudy.engine.run import Run

_HEADINGS = ("ID", "OPERATION", "STATUS", "CREATED", "")


def ls(
    ctx: typer.Context,
    operation: Annotated[str | None, typer.Option(help="Only runs of this operation.")] = None,
    status: Annotated[
        str | None, typer.Option(help="Only runs in this state, such as `failed`.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List runs, newest first."""

    async def work(app: App) -> None:
        from understudy.engine.run import RunFilter  # noqa: PLC0415 - `--help` answers at once
        from understudy.engine.view import queues  # noqa: PLC0415 - the same

        wanted = RunFilter(app.tenant, operation=operation, status=status, limit=limit)
        runs = await app.engine.list(wanted)
        crowd = await app.engine.crowd() if any(map(queues, runs)) else None
        if as_json:
            terminal.say_json([await view(app, run, crowd) for run in runs])
            return
        rows = [
            (run.id, run.operation, run.status, terminal.moment(run.created_at), _more(run, crowd))
            for run in runs
        ]
        terminal.say_table(_HEADINGS, rows)

    async def there(client: AsyncClient) -> None:
        runs = await remote.listed(client, limit, operation=operation, status=status)
        if as_json:
            terminal.say_json([run.model_dump(mode="json") for run in runs])
            return
        rows = [
            (run.id, run.operation, run.status, _local(run.created_at), remote.more(run))
            for run in runs
        ]
        terminal.say_table(_HEADINGS, rows)

    perform(ctx, work, as_json=as_json, remote=there)


def _local(time: str) -> str:
    return terminal.moment(datetime.fromisoformat(time).timestamp())


def _more(run: Run, crowd: Crowd | None) -> str:
    """Why it failed, what it waits for, or how far it is."""
    from understudy.engine.view import waiting_view  # noqa: PLC0415 - `--help` answers at once

    waits = waiting_view(run, crowd)
    if waits is not None:
        return f"waiting for {waits.text}"
    if run.error:
        return str(run.error["message"])
    return "" if run.done else terminal.progress(run.progress)
