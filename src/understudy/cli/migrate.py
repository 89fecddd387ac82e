"""`understudy migrate`: bring the database to this release's schema."""

from __future__ import annotations

import typer

from understudy.cli import terminal
from understudy.cli.options import AsJson
from understudy.cli.session import Session, finish, logged


def migrate(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Bring the database to this release's schema, which every start does too."""
    session: Session = ctx.obj

    async def work() -> None:
        from understudy.db.database import Database  # noqa: PLC0415 - `--help` answers at once
        from understudy.db.migrate import schema_status  # noqa: PLC0415 - the same

        settings = session.settings()
        with logged(settings, service=False):
            before = await schema_status(settings.database_url)
            database = await Database.open(settings.database_url)
            await database.close()
        if as_json:
            terminal.say_json(
                {"from": before.current, "to": before.head, "applied": list(before.pending)}
            )
        elif before.pending:
            terminal.say(f"{before.current or 'nothing'} -> {before.head}")
        else:
            terminal.say(f"{before.head}: up to date")

    finish(work, as_json=as_json)
