"""Signing in and out in a browser."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import SecretStr

from understudy.accounts.attempts import FROM_ONE
from understudy.settings import Settings
from understudy.web.dashboard.system import shown

HOME = "/dashboard"


async def test_a_key_opens_the_dashboard(site: Any, browser: Any) -> None:
    """Without a session every page leads to the sign-in page, and back to where one wanted to."""
    async with site() as one:
        token = await one.key("admin")
        reader = browser(one.client)
        answer = await one.client.get("/dashboard/queue")
        assert answer.headers["location"] == "/dashboard/sign-in?after=/dashboard/queue"
        page = await reader.get("/dashboard/sign-in?after=/dashboard/queue")
        assert 'value="/dashboard/queue"' in page
        answer = await one.client.post(
            "/dashboard/sign-in", data={"key": f" {token} ", "after": "/dashboard/queue"}
        )
        assert answer.headers["location"] == "/dashboard/queue"
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert token not in cookie
        await reader.get("/dashboard/queue")
        answer = await one.client.get("/dashboard/sign-in")
        assert answer.headers["location"] == HOME
        assert await reader.audit() == ["sign-in"]
        await reader.send(HOME, "/dashboard/sign-out")
        await reader.get(HOME, status=303)


async def test_a_part_that_is_asked_for_without_a_session_leads_to_the_door(site: Any) -> None:
    """A page that is open when its session ends goes to the sign-in page by itself."""
    async with site() as one:
        await one.key("admin")
        answer = await one.client.get(HOME, headers={"hx-request": "true", "hx-target": "live"})
        assert answer.headers["hx-redirect"] == "/dashboard/sign-in"


@pytest.mark.parametrize(
    "after",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "/dashboardevil",
        "/dashboard/sign-in",
        "/dashboard/link/x",
        "javascript:alert(1)",
    ],
)
async def test_signing_in_leads_nowhere_else(after: str, site: Any) -> None:
    """What a link asks for after the sign-in is a page of ours, or the first page."""
    async with site() as one:
        token = await one.key("read")
        answer = await one.client.post("/dashboard/sign-in", data={"key": token, "after": after})
        assert answer.headers["location"] == HOME


async def test_a_wrong_key_is_told_and_counted(site: Any) -> None:
    """After too many, nobody is let in from there for a while, not even with a right key."""
    async with site() as one:
        token = await one.key("read")
        for _ in range(FROM_ONE):
            answer = await one.client.post("/dashboard/sign-in", data={"key": "us_wrong"})
            assert answer.status_code == 401
            assert "this is no key" in answer.text
            assert "us_wrong" not in answer.text
        answer = await one.client.post("/dashboard/sign-in", data={"key": token})
        assert answer.status_code == 429
        assert "too many failed sign-ins" in answer.text
        entries = await one.app.audit.list(one.app.tenant)
        assert {entry.action for entry in entries} == {"sign-in.refused"}


async def test_another_sites_page_signs_nobody_in(site: Any) -> None:
    """Nor as somebody else: a form that comes from elsewhere is refused."""
    async with site() as one:
        token = await one.key("read")
        for foreign in (
            {"sec-fetch-site": "cross-site"},
            {"origin": "https://evil.example"},  # all that is sent to a server without TLS
            {"origin": "null"},
        ):
            for path in ("/dashboard/sign-in", "/dashboard/link/x"):
                answer = await one.client.post(path, data={"key": token}, headers=foreign)
                assert answer.status_code == 403
                assert "set-cookie" not in answer.headers


async def test_a_link_signs_in_once(site: Any, browser: Any) -> None:
    """Looking at it uses nothing up; the button does, and the link is worth nothing afterwards."""
    async with site() as one:
        await one.key("read")
        link = f"/dashboard/link/{await one.app.sessions.link(one.app.tenant)}"
        reader = browser(one.client)
        for _ in range(2):
            assert "Sign in" in await reader.get(link)
        answer = await one.client.post(link)
        assert answer.headers["location"] == HOME
        await reader.get("/dashboard/system")
        one.client.cookies.clear()
        answer = await one.client.post(link)
        assert answer.status_code == 401
        assert "used before" in answer.text


async def test_an_old_cookie_does_not_lock_out_the_machine(site: Any, browser: Any) -> None:
    """Where there are no keys, a session from before is forgotten and the page opens."""
    async with site() as one:
        one.client.cookies.set("understudy", "old")
        assert "this machine only" in await browser(one.client).get(HOME)


async def test_a_stranger_is_not_let_in_before_there_is_a_key(site: Any) -> None:
    """A name that was rebound to this machine gets the sign-in page, which says what to do."""
    async with site() as one:
        answer = await one.client.get(HOME, headers={"host": "evil.example"})
        assert answer.headers["location"].startswith("/dashboard/sign-in")
        answer = await one.client.get("/dashboard/sign-in", headers={"host": "evil.example"})
        assert "only this machine is let in" in answer.text


def test_settings_are_shown_without_what_is_secret() -> None:
    """Passwords in addresses and keys stay out of the page."""
    settings = Settings(
        database_url="postgresql://me:hush@db.example:5432/name?password=hush",
        admin_key=SecretStr("hush-hush-hush-hush-hush"),
    )
    told = {name: shown(settings, name) for name in Settings.model_fields}
    assert not re.search("hush", " ".join(told.values()))
    assert told["database_url"] == "postgresql://db.example:5432/name"
    assert told["admin_key"] == "set, and kept to itself"
    assert told["load"] == "\N{EN DASH}"
    assert told["port"] == "8288"
    assert shown(Settings(home=settings.home), "database_url").startswith("sqlite:///")


async def test_a_keys_limits_hold_in_the_browser_as_well(site: Any) -> None:
    """Who has used up his requests is told when to come again; the page's own files are free."""
    async with site() as one:
        token = await one.key("read", per_minute=3)
        await one.client.post("/dashboard/sign-in", data={"key": token})
        pages = [await one.client.get("/dashboard/runs") for _ in range(5)]
        assert [page.status_code for page in pages].count(429) >= 1
        assert "Too many at once" in pages[-1].text
        assert int(pages[-1].headers["retry-after"]) > 0
        assert (await one.client.get("/dashboard/static/x/dashboard.css")).status_code == 200
