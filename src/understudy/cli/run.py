"""`understudy run`: ask for an operation and see it through."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy.cli import remote, terminal
from understudy.cli.following import bring_home
from understudy.cli.gathering import gathered
from understudy.cli.inputs import assigned, placed
from understudy.cli.options import AsJson, Detach, IdempotencyKey, Output
from understudy.cli.results import view
from understudy.cli.saving import check_target
from understudy.cli.session import perform
from understudy.cli.times import seconds_of

if TYPE_CHECKING:
    from understudy.app import App
    from understudy.client import AsyncClient
    from understudy.engine.engine import How
    from understudy.engine.run import Run

_PLACEHOLDER = "art_" + 26 * "0"


@dataclasses.dataclass(frozen=True)
class Asking:
    """The input's fields, for whom the run is, when it is due, and what makes it the same again."""

    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="A field of the input; repeatable."),
    ] = None
    user: Annotated[str | None, typer.Option(help="Whom it is for, by your own name for them.")] = (
        None
    )
    delay: Annotated[
        str | None, typer.Option(metavar="TIME", help="Begin so much later: 90, 15m, 2h, 1d.")
    ] = None
    idempotency_key: IdempotencyKey = None

    def how(self) -> How:
        """What the engine is told. Raises `InputError`."""
        delay = 0.0 if self.delay is None else seconds_of(self.delay, "--delay")
        return {"user": self.user, "delay": delay, "idempotency_key": self.idempotency_key}


_PLAINLY = Asking()


@gathered
def run(
    ctx: typer.Context,
    operation: Annotated[str, typer.Argument(help="A name from `understudy operations`.")],
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE", help="What it works on, in order.")
    ] = None,
    asking: Asking = _PLAINLY,
    output: Output = None,
    as_json: AsJson = False,
    detach: Detach = False,
) -> None:
    """Run an operation on files, and follow it to its end."""
    if detach and output:
        raise typer.BadParameter("nothing is made yet that -o could save; leave out --detach or -o")

    async def work(app: App) -> None:
        if output is not None:
            check_target(output)
        asked = await submit(app, operation, files or [], asking)
        if not detach:
            await bring_home(app, ctx.obj, asked, target=output, as_json=as_json)
        elif as_json:
            terminal.say_json(await view(app, asked))
        else:
            terminal.say(asked.id)

    async def there(client: AsyncClient) -> None:
        if output is not None:
            check_target(output)
        given, how = asking.settings or [], asking.how()
        asked = await remote.submit(client, operation, files or [], given, how)
        await remote.bring_home(
            client,
            ctx.obj,
            asked,
            target=output,
            as_json=as_json,
            detached=asked.id if detach else None,
        )

    perform(ctx, work, as_json=as_json, remote=there)


async def submit(app: App, operation: str, files: list[Path], asking: Asking) -> Run:
    """Copy the files into the store and submit the run. Raises `InputError`.

    The input is checked with placeholders first, so that nothing is copied for a bad one.
    """
    wanted = app.registry.get(operation)
    schema: dict[str, Any] = wanted.input.model_json_schema()
    data, how = assigned(schema, asking.settings or []), asking.how()
    for path in files:
        remote.check_file(path)
    wanted.parse(placed(schema, data, [_PLACEHOLDER] * len(files)))
    stored = [(await app.artifacts.copy_in(path, name=path.name)).id for path in files]
    given = placed(schema, data, stored)
    return await app.engine.submit(operation, given, tenant=app.tenant, **how)
