"""`understudy retention`: how long a tenant's runs and files are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from understudy.cli import terminal
from understudy.cli.options import AsJson
from understudy.cli.session import perform
from understudy.errors import InputError

if TYPE_CHECKING:
    from understudy.accounts.tenants import Days
    from understudy.app import App

_USUAL = "usual"
_WHAT = ("results", "inputs", "runs", "failed_runs")

Keep = Annotated[
    list[str] | None,
    typer.Option(
        "--keep",
        metavar="WHAT=DAYS",
        help="Keep results, inputs, runs or failed_runs that long; `usual` as for all. Repeatable.",
    ),
]


def retention(
    ctx: typer.Context,
    keep: Keep = None,
    tenant: Annotated[
        str | None, typer.Option("--tenant", help="Whose; by default that of the settings.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show for how many days things are kept, or set it for one tenant.

    Runs obey at the next hour; a file keeps the time that was set when it was stored.
    """

    async def work(app: App) -> None:
        whose = tenant or app.tenant
        own = await app.tenants.get(whose)
        if keep:
            own = own._replace(**dict(_parsed(word) for word in keep))
            await app.tenants.set(whose, own)
            said = ", ".join(keep)
            await app.audit.write(whose, "command line", "retention.set", whose, said)
        _say(app, own, as_json=as_json)

    perform(ctx, work, as_json=as_json)


def _parsed(word: str) -> tuple[str, float | None]:
    what, _, days = word.partition("=")
    if what in _WHAT and days == _USUAL:
        return what, None
    try:
        if what in _WHAT:
            return what, float(days)
    except ValueError:
        pass
    known = ", ".join(_WHAT)
    raise InputError(f"--keep is like `runs=30` or `runs={_USUAL}`, for {known}; not {word!r}")


def _say(app: App, own: Days, *, as_json: bool) -> None:
    settings = app.settings
    usual = (
        settings.result_days,
        settings.input_days,
        settings.run_days,
        settings.failed_run_days,
    )
    kept = {
        what: {"days": days if mine is None else mine, "own": mine is not None}
        for what, days, mine in zip(_WHAT, usual, own, strict=True)
    }
    if as_json:
        terminal.say_json(kept)
        return
    rows = [
        (what, f"{facts['days']:g}", "own" if facts["own"] else _USUAL)
        for what, facts in kept.items()
    ]
    terminal.say_table(("WHAT", "DAYS", "WHOSE"), rows)
