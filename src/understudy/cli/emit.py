"""`understudy emit`: send a signal to the runs that wait for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy.cli import terminal
from understudy.cli.options import AsJson
from understudy.cli.session import perform
from understudy.errors import InputError

if TYPE_CHECKING:
    from understudy.app import App


def emit(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="The signal's name, as in `ctx.wait(name)`.")],
    data: Annotated[
        str, typer.Option("--data", metavar="JSON|@FILE", help="What the waiting runs receive.")
    ] = "null",
    as_json: AsJson = False,
) -> None:
    """Send a signal to the runs that wait for it, now or later."""

    async def work(app: App) -> None:
        woken = await app.engine.emit(name, signal_data(data), tenant=app.tenant)
        if as_json:
            terminal.say_json({"name": name, "woken": woken})
        else:
            terminal.say(f"{woken} waiting {'run' if woken == 1 else 'runs'} told")

    perform(ctx, work, as_json=as_json)


def signal_data(text: str) -> Any:
    """The value of `--data`: JSON, or the JSON in a file. Raises `InputError`."""
    where = "--data"
    if text.startswith("@"):
        where = text[1:]
        try:
            text = Path(where).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{where}: cannot read it: {error}") from error
    try:
        return json.loads(text)
    except ValueError as error:
        raise InputError(f"{where}: not JSON: {error}") from error
