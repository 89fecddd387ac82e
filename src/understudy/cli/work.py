"""`understudy work`: drive runs until somebody stops it."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy.cli import terminal
from understudy.cli.following import unless_stopped
from understudy.cli.session import perform
from understudy.errors import NotFound

if TYPE_CHECKING:
    from understudy.app import App

Lines = Annotated[bool, typer.Option("--json", help="Print one line of JSON at start and end.")]


def work(ctx: typer.Context, as_json: Lines = False) -> None:
    """Drive runs, old and new, until stopped by SIGTERM or Ctrl-C, which hands them back.

    On PostgreSQL any number of these work beside each other; on SQLite it is one.
    """

    async def until_stopped(app: App) -> None:
        driven: dict[str, int] = {}
        name = ""
        try:
            async with app.worker() as plan:
                name = plan.worker
                await _say_start(app, name, as_json=as_json)
                try:
                    await unless_stopped(plan, asyncio.Event().wait())
                except asyncio.CancelledError:
                    driven = await _tenures(app, plan.driving)
                    raise
        except asyncio.CancelledError:  # it was told to end, and has
            after = await _tenures(app, driven)
            # Handing a run back ends its tenure.
            count = sum(after[run_id] > tenure for run_id, tenure in driven.items())
            _say_end(name, count, as_json=as_json)

    perform(ctx, until_stopped, as_json=as_json, service=True)


async def _say_start(app: App, name: str, *, as_json: bool) -> None:
    facts: dict[str, Any] = {
        "worker": name,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "database": app.database.place,
        "operations": list(app.registry.names),
    }
    if as_json:
        terminal.say_json({"event": "started", **facts}, lines=True)
    else:
        known = ", ".join(facts["operations"])
        terminal.tell(f"{name}: working on {facts['database']}; operations: {known}")


def _say_end(name: str, handed_back: int, *, as_json: bool) -> None:
    if as_json:
        said = {"event": "stopped", "worker": name, "handed_back": handed_back}
        terminal.say_json(said, lines=True)
    else:
        runs = "run" if handed_back == 1 else "runs"
        terminal.tell(f"{name}: stopped; {handed_back} {runs} handed back")


async def _tenures(app: App, run_ids: Iterable[str]) -> dict[str, int]:
    """The epochs of runs."""
    return {run_id: await _tenure(app, run_id) for run_id in run_ids}


async def _tenure(app: App, run_id: str) -> int:
    try:
        return (await app.engine.get(run_id)).epoch
    except NotFound:  # ended, and cleared up since
        return 0
