"""`understudy runs resume`: bring to its end what was interrupted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from understudy.cli import terminal
from understudy.cli.following import bring_home, until_still
from understudy.cli.live import live, state
from understudy.cli.naming import find_run
from understudy.cli.options import AsJson, Output
from understudy.cli.results import deliver, view
from understudy.cli.saving import check_target
from understudy.cli.session import perform
from understudy.errors import StorageError

if TYPE_CHECKING:
    from pathlib import Path

    from understudy.app import App
    from understudy.cli.session import Session
    from understudy.engine.run import Run


def resume(
    ctx: typer.Context,
    run_id: Annotated[
        str | None, typer.Argument(metavar="ID", help="Only this run, by its id or enough of it.")
    ] = None,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Bring every unfinished run to its end, or only the one named."""
    if output is not None and run_id is None:
        raise typer.BadParameter("-o saves what one run makes; name the run")

    async def work(app: App) -> None:
        if run_id is None:
            await _resume_all(app, ctx.obj, as_json=as_json)
        else:
            await _resume_one(app, ctx.obj, run_id, target=output, as_json=as_json)

    perform(ctx, work, as_json=as_json)


async def _resume_one(
    app: App, session: Session, run_id: str, *, target: Path | None, as_json: bool
) -> None:
    if target is not None:
        check_target(target)
    run = await find_run(app, run_id)
    if run.done:
        await deliver(app, session, run, target=target, as_json=as_json)
        return
    app.registry.get(run.operation)  # or nobody here could go on
    run = await app.engine.resume(run.id)
    await bring_home(app, session, run, target=target, as_json=as_json)


async def _resume_all(app: App, session: Session, *, as_json: bool) -> None:
    try:
        with live() as display:
            runs = await until_still(app, display)
    except (asyncio.CancelledError, StorageError):
        terminal.tell("the runs are kept; resume with: " + session.command("runs", "resume"))
        raise
    if as_json:
        terminal.say_json([await view(app, run) for run in runs])
    elif runs:
        rows = [(run.id, run.operation, run.status, _why(app, run)) for run in runs]
        terminal.say_table(("ID", "OPERATION", "STATUS", ""), rows)
    else:
        terminal.say("nothing is unfinished")
    if any(run.status in {"failed", "canceled"} or _unknown(app, run) for run in runs):
        raise typer.Exit(1)


def _unknown(app: App, run: Run) -> bool:
    return not run.done and run.operation not in app.registry.names


def _why(app: App, run: Run) -> str:
    if _unknown(app, run):
        return f"no operation {run.operation!r} here: name its file with --load FILE.py"
    if run.error:
        return str(run.error["message"])
    return "" if run.done else state(run)
