"""`understudy doctor`: what works on this machine, what does not, and how to fix it."""

from __future__ import annotations

import dataclasses

import typer

from understudy.cli import terminal
from understudy.cli.options import AsJson
from understudy.cli.session import Session, finish


def doctor(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Check the installation; ends with 1 if something is wrong."""
    session: Session = ctx.obj

    async def work() -> None:
        from understudy.doctor import diagnose  # noqa: PLC0415 - `--help` answers at once

        checks = await diagnose(session.settings())
        if as_json:
            terminal.say_json([dataclasses.asdict(check) for check in checks])
        else:
            rows = [("ok" if check.ok else "failed", check.name, check.detail) for check in checks]
            terminal.say_table(("", "CHECK", "FOUND"), rows)
            for check in checks:
                if not check.ok:
                    terminal.tell(f"{check.name}: {check.fix}")
        if not all(check.ok for check in checks):
            raise typer.Exit(1)

    finish(work, as_json=as_json)
