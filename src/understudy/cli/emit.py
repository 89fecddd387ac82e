"""`understudy emit`: send a signal to the runs that wait for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy.cli import terminal
from understudy.cli.options import AsJson, IdempotencyKey
from understudy.cli.session import perform
from understudy.errors import InputError

if TYPE_CHECKING:
    from understudy.app import App
    from understudy.client import AsyncClient


def emit(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="The signal's name, as in `ctx.wait(name)`.")],
    data: Annotated[
        str,
        typer.Option(
            "--data",
            metavar="JSON|[@]FILE",
            help="What the waiting runs receive: JSON, or its file.",
        ),
    ] = "null",
    idempotency_key: IdempotencyKey = None,
    as_json: AsJson = False,
) -> None:
    """Send a signal to the runs that wait for it, now or later; it may start some, or cancel some.

    The same idempotency key again sends nothing.
    """

    async def work(app: App) -> None:
        woken = await app.engine.emit(
            name, signal_data(data), tenant=app.tenant, idempotency_key=idempotency_key
        )
        say(woken)

    async def there(client: AsyncClient) -> None:
        told = await client.signal(name, signal_data(data), idempotency_key=idempotency_key)
        say(told.woken)

    def say(woken: int) -> None:
        if as_json:
            terminal.say_json({"name": name, "woken": woken})
        else:
            terminal.say(f"{woken} waiting {'run' if woken == 1 else 'runs'} told")

    perform(ctx, work, as_json=as_json, remote=there)


def signal_data(text: str) -> Any:
    """The value of `--data`: JSON, or the JSON in a file. What is both is JSON; `@` says file.

    Raises `InputError`.
    """
    if text.startswith("@"):
        return _data_in(text[1:])
    try:
        return json.loads(text)
    except ValueError as error:
        if _names_a_file(text):
            return _data_in(text)
        raise InputError(f"--data: not JSON, nor a file: {error}") from error


def _names_a_file(text: str) -> bool:
    path = Path(text)
    try:
        return path.exists() and not path.is_dir()  # a pipe will do
    except OSError:  # too long for a name, or not ours to look at
        return False


def _data_in(name: str) -> Any:
    try:
        return json.loads(Path(name).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{name}: cannot read it: {error}") from error
    except ValueError as error:
        raise InputError(f"{name}: not JSON: {error}") from error
