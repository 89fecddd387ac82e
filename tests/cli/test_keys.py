"""`understudy keys`: keys made, listed, rotated and ended from the command line."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from understudy.accounts.audit import Entry
from understudy.accounts.principal import Principal
from understudy.app import App
from understudy.errors import Unauthorized
from understudy.settings import Settings


def who(home: Path, token: str) -> Principal | None:
    """Whom a server on this home lets in with a token."""

    async def ask() -> Principal | None:
        async with App.open(Settings(home=home)) as app:
            try:
                return await app.keys.authenticate(token)
            except Unauthorized:
                return None

    return asyncio.run(ask())


def audited(home: Path, tenant: str = "default") -> tuple[Entry, ...]:
    """The tenant's audit, newest first."""

    async def ask() -> tuple[Entry, ...]:
        async with App.open(Settings(home=home)) as app:
            return await app.audit.list(tenant)

    return asyncio.run(ask())


def test_a_script_is_handed_the_token_alone(understudy: Any) -> None:
    """On stdout, once; what is said about it goes to stderr, and the list has its end only."""
    made = understudy("keys", "create", "build-server", "--expires", "30d")
    assert made.exit_code == 0, made.output
    token = made.stdout.strip()
    assert token not in made.stderr
    assert "(build-server) may submit for default, until " in made.stderr
    principal = who(understudy.home, token)
    assert principal is not None
    assert principal.scopes == {"submit", "read"}
    listed = understudy("keys", "ls")
    assert token not in listed.output
    assert f"us_…{token[-4:]}" in listed.stdout
    assert "build-server" in listed.stdout
    assert "active" in listed.stdout


def test_the_facts_of_a_key_as_json(understudy: Any) -> None:
    """Made with a tenant, scopes and limits of its own; the list has all but the token."""
    words = ("--scope", "read", "--scope", "admin", "--limit", "600,20", "--tenant", "acme")
    made = understudy.json("keys", "create", "ops", *words)
    assert made["scopes"] == ["read", "admin"]
    assert (made["per_minute"], made["at_once"], made["tenant"]) == (600, 20, "acme")
    assert (made["expires_at"], made["state"]) == (None, "active")
    token = made.pop("token")
    assert token.startswith("us_")
    assert understudy.json("keys", "ls", "--tenant", "acme") == [made]
    assert understudy.json("keys", "ls") == []
    assert understudy.json("keys", "create", "slow", "--limit", "60")["at_once"] is None
    (entry,) = audited(understudy.home, "acme")
    assert (entry.actor, entry.action, entry.subject) == ("command line", "key.create", made["id"])


def test_a_key_is_ended_by_its_name_or_its_id(understudy: Any) -> None:
    """It opens nothing any more; the audit says who ended which."""
    first = understudy.json("keys", "create", "one")
    second = understudy.json("keys", "create", "two")
    ended = understudy("keys", "revoke", "one")
    assert ended.stdout == f"{first['id']} (one) is revoked\n"
    assert understudy.json("keys", "revoke", second["id"])["state"] == "revoked"
    assert who(understudy.home, first["token"]) is None
    assert who(understudy.home, second["token"]) is None
    assert [(entry.action, entry.subject) for entry in audited(understudy.home)][:2] == [
        ("key.revoke", second["id"]),
        ("key.revoke", first["id"]),
    ]


def test_a_key_is_rotated(understudy: Any) -> None:
    """The new token works at once, the old one for as long as was said."""
    old = understudy.json("keys", "create", "ci", "--scope", "read")
    new = understudy("keys", "rotate", "ci", "--overlap", "1h").stdout.strip()
    before, after = who(understudy.home, old["token"]), who(understudy.home, new)
    assert before is not None
    assert after is not None
    assert before.scopes == after.scopes
    found = understudy("keys", "revoke", "ci")
    assert found.exit_code == 1
    assert "2 keys are named ci" in found.stderr
    last = understudy.json("keys", "rotate", after.key_id, "--overlap", "0")
    assert who(understudy.home, new) is None
    assert who(understudy.home, last["token"]) is not None
    assert audited(understudy.home)[0].reason == f"replaced by {last['id']}"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("create", "x", "--scope", "root"), "scope: one or more of submit, read, admin"),
        (("create", " "), "name: 1 to 100"),
        (("create", "x", "--expires", "soon"), "--expires soon"),
        (("create", "x", "--expires", "0"), "expires_in: more than 0"),
        (("create", "x", "--limit", "many"), "--limit many"),
        (("create", "x", "--limit", "1,2,3"), "--limit 1,2,3"),
        (("create", "x", "--limit", "0"), "per_minute: from 1"),
        (("revoke", "nobody"), "no key nobody"),
        (("rotate", "nobody"), "no key nobody"),
    ],
)
def test_a_wrong_word_is_one_clear_line(words: tuple[str, ...], said: str, understudy: Any) -> None:
    """It names the option or the key; nothing is made."""
    result = understudy("keys", *words)
    assert result.exit_code == 1
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert understudy.json("keys", "ls") == []
