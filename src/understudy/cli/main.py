"""The command line's table of contents: global options, and which function is which command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

import understudy
from understudy.cli import keys as of_keys
from understudy.cli import terminal
from understudy.cli.backup import backup, restore
from understudy.cli.doctor import doctor
from understudy.cli.emit import emit
from understudy.cli.migrate import migrate
from understudy.cli.operations import operations
from understudy.cli.retention import retention
from understudy.cli.run import run
from understudy.cli.runs.cancel import cancel
from understudy.cli.runs.fork import fork
from understudy.cli.runs.logs import logs
from understudy.cli.runs.ls import ls
from understudy.cli.runs.resume import resume
from understudy.cli.runs.retry import retry
from understudy.cli.runs.show import show
from understudy.cli.runs.watch import watch
from understudy.cli.serve import serve
from understudy.cli.session import Session
from understudy.cli.top import top
from understudy.cli.work import work

COMMANDS: tuple[Callable[..., None], ...] = (
    run,
    serve,
    work,
    top,
    operations,
    emit,
    doctor,
    migrate,
    backup,
    restore,
    retention,
)
RUNS_COMMANDS: tuple[Callable[..., None], ...] = (
    ls,
    show,
    watch,
    logs,
    cancel,
    retry,
    fork,
    resume,
)
KEYS_COMMANDS: tuple[Callable[..., None], ...] = (
    of_keys.create,
    of_keys.ls,
    of_keys.revoke,
    of_keys.rotate,
)


def _group(summary: str) -> typer.Typer:
    """A plain group: help without boxes, errors without a traceback."""
    return typer.Typer(
        help=summary,
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )


app = _group("Durable runs for AI media work.")
runs = _group("See runs, stop them, and bring them to their end.")
app.add_typer(runs, name="runs")
keys = _group("Say who may use the server, and what for.")
app.add_typer(keys, name="keys")
for command in COMMANDS:
    app.command()(command)
for command in RUNS_COMMANDS:
    runs.command()(command)
for command in KEYS_COMMANDS:
    keys.command()(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        terminal.say(f"understudy {understudy.__version__}")
        raise typer.Exit


@app.callback()
def options(
    ctx: typer.Context,
    load: Annotated[
        list[Path] | None,
        typer.Option("--load", metavar="FILE.py", help="Your own operations; repeatable."),
    ] = None,
    home: Annotated[
        Path | None, typer.Option("--home", help="Where data lives; by default .understudy.")
    ] = None,
    server: Annotated[
        str | None,
        typer.Option("--server", metavar="URL", help="Ask this server instead of working here."),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            "--key", help="The key to ask it with; better in UNDERSTUDY_KEY, as others see options."
        ),
    ] = None,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Take the options that stand before the command."""
    ctx.obj = Session(home=home, load=tuple(load or ()), server=server, key=key)


def main() -> None:
    """Run the command of this process's arguments; never returns normally."""
    app(prog_name="understudy")
