"""`understudy serve`: the HTTP API and the dashboard, with a worker inside."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from understudy.cli import terminal
from understudy.cli.session import perform

if TYPE_CHECKING:
    from understudy.app import App
    from understudy.server import Started

Lines = Annotated[bool, typer.Option("--json", help="Print one line of JSON at start and end.")]


def serve(
    ctx: typer.Context,
    host: Annotated[
        str | None, typer.Option(help="The interface; by default UNDERSTUDY_HOST, or 127.0.0.1.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="By default UNDERSTUDY_PORT, or 8288; 0 takes any."),
    ] = None,
    no_worker: Annotated[
        bool, typer.Option("--no-worker", help="Only answer; other processes drive the runs.")
    ] = False,
    as_json: Lines = False,
) -> None:
    """Answer HTTP and drive runs, until stopped by SIGTERM or Ctrl-C, which hands runs back.

    On PostgreSQL any number of these share the work; on SQLite one process works, and others
    answer with --no-worker.
    """

    async def until_stopped(app: App) -> None:
        from understudy.server import serve as serving  # noqa: PLC0415 - `--help` answers at once

        def ready(started: Started) -> None:
            _say_start(app, started, as_json=as_json)

        try:
            await serving(app, host=host, port=port, work=not no_worker, ready=ready)
        finally:
            if as_json:
                terminal.say_json({"event": "stopped"}, lines=True)

    perform(ctx, until_stopped, as_json=as_json, service=True)


def _say_start(app: App, started: Started, *, as_json: bool) -> None:
    if as_json:
        facts = {
            "url": started.url,
            "link": started.link,
            "worker": started.worker,
            "pid": os.getpid(),
            "database": app.database.place,
        }
        terminal.say_json({"event": "started", **facts}, lines=True)
        return
    terminal.tell(f"Understudy listens on {started.url}, with {app.database.place}")
    if started.worker is None:
        terminal.tell("no worker inside: runs wait for another process")
    if started.link is not None:
        terminal.tell("there is no key yet, so only this machine is let in; make one with")
        terminal.tell("  understudy keys create NAME --scope admin")
        terminal.tell(f"the dashboard, by a link that works once: {started.link}")
