"""`understudy backup` and `understudy restore`: everything in one file, and back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy.cli import terminal
from understudy.cli.live import counting_to
from understudy.cli.options import AsJson
from understudy.cli.session import Session, finish, logged, perform

if TYPE_CHECKING:
    from understudy.app import App
    from understudy.backup.manifest import Manifest

Check = Annotated[
    bool, typer.Option("--check", help="Only read it and compare every hash; change nothing.")
]
NewFile = Annotated[Path, typer.Argument(metavar="FILE", help="The file to write: a new one.")]
BackupFile = Annotated[Path, typer.Argument(metavar="FILE", help="What `backup` has written.")]

_STOPPING = "Stopping; nothing is left half done."


def backup(ctx: typer.Context, file: NewFile, as_json: AsJson = False) -> None:
    """Write runs, keys, settings of tenants and files to one file, while others work.

    The file holds what customers sent and what webhooks are signed with: keep it as you keep the
    database.
    """

    async def work(app: App) -> None:
        from understudy.backup.taking import back_up  # noqa: PLC0415 - `--help` answers at once

        with counting_to("backed up") as tell:
            manifest = await back_up(
                app.database, app.artifacts.store, app.clock, file.absolute(), tell
            )
        _say(manifest, file, "backed up", as_json=as_json)

    perform(ctx, work, as_json=as_json, stopping=_STOPPING)


def restore(
    ctx: typer.Context, file: BackupFile, check: Check = False, as_json: AsJson = False
) -> None:
    """Put a backup into a home or database that is empty; runs go on where they were.

    It may come from another database: this is also the way from SQLite to PostgreSQL. Stop what
    the backup was made of first, or its open runs are done twice.
    """
    session: Session = ctx.obj

    async def work() -> None:
        settings = session.settings()
        with (
            logged(settings, service=False),
            counting_to("checked" if check else "restored") as tell,
        ):
            manifest = await (_check(file, tell) if check else _restore(session, file, tell))
        _say(manifest, file, "sound" if check else "restored", as_json=as_json)

    finish(work, as_json=as_json, stopping=_STOPPING)


async def _check(file: Path, tell: Callable[[int, int], None]) -> Manifest:
    from understudy.backup.restoring import verify  # noqa: PLC0415 - `--help` answers at once

    return await verify(file, tell)


async def _restore(session: Session, file: Path, tell: Callable[[int, int], None]) -> Manifest:
    from understudy.artifacts.stores.disk import Disk  # noqa: PLC0415 - `--help` answers at once
    from understudy.backup.restoring import restore as put_back  # noqa: PLC0415 - the same
    from understudy.clock import SystemClock  # noqa: PLC0415 - the same
    from understudy.db.drivers import driver_of  # noqa: PLC0415 - the same

    settings = session.settings()
    store = Disk(settings.files_folder, SystemClock())
    return await put_back(file, driver_of(settings.database_url), store, tell)


def _say(manifest: Manifest, file: Path, done: str, *, as_json: bool) -> None:
    rows = {name: facts.rows for name, facts in manifest.tables.items()}
    if as_json:
        said: dict[str, Any] = manifest.model_dump(exclude={"tables"})
        terminal.say_json({"file": str(file), "done": done, "rows": rows, **said})
    else:
        size = terminal.size(manifest.bytes)
        runs, steps = rows["runs"], rows["steps"]
        terminal.say(f"{done}: {runs} runs, {steps} steps, {manifest.files} files ({size})")
        if manifest.missing:
            terminal.tell(f"{len(manifest.missing)} files were gone or damaged, and are left out")
