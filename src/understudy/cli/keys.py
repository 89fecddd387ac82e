"""`understudy keys`: who may use the server, and what for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy.cli import terminal
from understudy.cli.options import AsJson
from understudy.cli.session import perform
from understudy.cli.times import seconds_of
from understudy.clock import iso
from understudy.errors import InputError, NotFound

if TYPE_CHECKING:
    from understudy.accounts.keys import Key
    from understudy.app import App

_ACTOR = "command line"

Named = Annotated[str, typer.Argument(metavar="KEY", help="The key's id, or its name.")]
Tenant = Annotated[
    str | None, typer.Option("--tenant", help="Whose key; by default that of the settings.")
]


def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="What it is for, such as `build-server`.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(
            "--scope",
            metavar="read|submit|admin",
            help="What it may do; submit (the default) implies read, admin implies both.",
        ),
    ] = None,
    tenant: Tenant = None,
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="30d", help="How long it works; for ever.")
    ] = None,
    limit: Annotated[
        str | None,
        typer.Option(
            "--limit", metavar="N[,N]", help="Its own limits: requests a minute, and at once."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key. It is printed now and never again: only its hash is kept."""

    async def work(app: App) -> None:
        whose = tenant or app.tenant
        per_minute, at_once = _limits(limit)
        key, token = await app.keys.create(
            whose,
            name,
            scope or ["submit"],
            expires_in=None if expires is None else seconds_of(expires, "--expires"),
            per_minute=per_minute,
            at_once=at_once,
        )
        await app.audit.write(whose, _ACTOR, "key.create", key.id)
        _hand_over(app, key, token, as_json=as_json)

    perform(ctx, work, as_json=as_json)


def ls(ctx: typer.Context, tenant: Tenant = None, as_json: AsJson = False) -> None:
    """List keys, the newest first, also those that no longer work."""

    async def work(app: App) -> None:
        keys = await app.keys.list(tenant or app.tenant)
        now = app.clock.now()
        if as_json:
            terminal.say_json([_view(key, now) for key in keys])
            return
        rows = [
            (
                key.id,
                key.name,
                f"us_…{key.hint}",
                ", ".join(key.scopes),
                key.state(now),
                "" if key.expires_at is None else terminal.moment(key.expires_at),
                "never" if key.used_at is None else terminal.moment(key.used_at),
            )
            for key in keys
        ]
        headings = ("ID", "NAME", "KEY", "SCOPES", "STATE", "EXPIRES", "LAST USED")
        terminal.say_table(headings, rows)

    perform(ctx, work, as_json=as_json)


def revoke(ctx: typer.Context, key: Named, tenant: Tenant = None, as_json: AsJson = False) -> None:
    """End a key for good, and the browsers' sessions that it opened. Within seconds it works
    nowhere.
    """

    async def work(app: App) -> None:
        whose = tenant or app.tenant
        ended = await app.keys.revoke(whose, (await _find(app, whose, key)).id)
        await app.audit.write(whose, _ACTOR, "key.revoke", ended.id)
        if as_json:
            terminal.say_json(_view(ended, app.clock.now()))
        else:
            terminal.say(f"{ended.id} ({ended.name}) is revoked")

    perform(ctx, work, as_json=as_json)


def rotate(
    ctx: typer.Context,
    key: Named,
    overlap: Annotated[
        str, typer.Option("--overlap", metavar="1d", help="How long the old one still works.")
    ] = "1d",
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> None:
    """Make a key in place of another, which works on for a while, so that nobody is cut off."""

    async def work(app: App) -> None:
        whose = tenant or app.tenant
        old = await _find(app, whose, key)
        new, token = await app.keys.rotate(whose, old.id, seconds_of(overlap, "--overlap"))
        await app.audit.write(whose, _ACTOR, "key.rotate", old.id, f"replaced by {new.id}")
        _hand_over(app, new, token, as_json=as_json)

    perform(ctx, work, as_json=as_json)


def _limits(text: str | None) -> tuple[int | None, int | None]:
    """`600` or `600,20`. Raises `InputError`."""
    if text is None:
        return None, None
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > 2 or not all(part.isascii() and part.isdecimal() for part in parts):
        raise InputError(f"--limit {text}: write 600 for a minute, or 600,20 with 20 at once")
    numbers = [int(part[:12]) for part in parts]
    return numbers[0], numbers[1] if len(numbers) == 2 else None


async def _find(app: App, tenant: str, word: str) -> Key:
    """A key by its id, or by its name if one alone that works has it."""
    keys = await app.keys.list(tenant)
    now = app.clock.now()
    named = [key for key in keys if key.name == word and key.state(now) == "active"]
    found = [key for key in keys if key.id == word] or named
    if not found:
        raise NotFound(f"no key {word}; `understudy keys ls` lists them")
    if len(found) > 1:
        raise InputError(f"{len(found)} keys are named {word}; give the id of one")
    return found[0]


def _hand_over(app: App, key: Key, token: str, *, as_json: bool) -> None:
    """The token alone on stdout, so that a script can take it."""
    if as_json:
        terminal.say_json({**_view(key, app.clock.now()), "token": token})
        return
    until = "" if key.expires_at is None else f", until {terminal.moment(key.expires_at)}"
    scopes = ", ".join(key.scopes)
    terminal.tell(f"{key.id} ({key.name}) may {scopes} for {key.tenant}{until}. Keep it well:")
    terminal.say(token)


def _view(key: Key, now: float) -> dict[str, Any]:
    return {
        "id": key.id,
        "tenant": key.tenant,
        "name": key.name,
        "hint": key.hint,
        "scopes": list(key.scopes),
        "state": key.state(now),
        "per_minute": key.per_minute,
        "at_once": key.at_once,
        "created_at": iso(key.created_at),
        "expires_at": None if key.expires_at is None else iso(key.expires_at),
        "used_at": None if key.used_at is None else iso(key.used_at),
        "revoked_at": None if key.revoked_at is None else iso(key.revoked_at),
    }
