"""Browsers: a key is traded for a session, and forms must come from its pages."""

from __future__ import annotations

import http.cookies
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
import pytest

from understudy.accounts.attempts import FROM_ONE
from understudy.accounts.sessions import LASTS

Serve = Callable[..., AbstractAsyncContextManager[Any]]

HERE = "http://127.0.0.1:8288"
FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate"},
]


def cookie_in(answer: httpx.Response) -> http.cookies.Morsel[str]:
    """The one cookie that an answer sets."""
    (found,) = http.cookies.SimpleCookie(answer.headers["Set-Cookie"]).values()
    return found


@pytest.mark.parametrize(
    ("url", "public_url", "name"),
    [
        (HERE, "", "understudy"),
        ("https://media.example", "", "__Host-understudy"),
        ("http://media.example", "https://media.example", "__Host-understudy"),
    ],
)
async def test_a_browser_trades_a_key_for_a_session(
    url: str, public_url: str, name: str, serve: Serve
) -> None:
    """The cookie is out of reach for scripts and other sites, and lasts as long as the session."""
    async with serve(public_url=public_url) as it:
        token = await it.key("submit")
        async with it.client(url=url, peer="192.0.2.1") as client:
            answer = await client.post("/in", params={"key": f" {token}\n"})
            cookie = cookie_in(answer)
            assert cookie.key == name
            assert cookie["samesite"] == "strict"
            assert cookie["httponly"]
            assert (cookie["path"], cookie["domain"]) == ("/", "")
            assert cookie["max-age"] == str(int(LASTS))
            assert bool(cookie["secure"]) == name.startswith("__Host-")
            client.headers["Cookie"] = f"{cookie.key}={cookie.value}"
            me = (await client.get("/me")).json()
            assert me["name"] == "ci"
            assert (await client.get("/read")).status_code == 401  # a cookie is no key
            out = await client.post("/out")
            assert cookie_in(out)["max-age"] == "0"
            assert (await client.get("/me")).json() == {}
            await client.post("/out")
        entries = await it.app.audit.list("acme")
        assert [entry.action for entry in entries] == ["sign-out", "sign-in"]
        assert {entry.address for entry in entries} == {"192.0.2.1"}
        assert all("(ci)" in entry.actor for entry in entries)


async def test_a_one_time_link_opens_a_session_once(serve: Serve) -> None:
    """The second use is refused and audited."""
    async with serve(tenant="acme") as it:
        await it.key("read")
        link = await it.app.sessions.link("acme")
        async with it.client() as client:
            first = await client.post("/redeem", params={"link": link})
            assert (await client.get("/me")).json()["name"] == "one-time link"
        assert first.status_code == 200
        async with it.client() as client:
            assert (await client.post("/redeem", params={"link": link})).status_code == 401
        actions = [entry.action for entry in await it.app.audit.list("acme")]
        assert actions == ["sign-in.refused", "sign-in"]


async def test_failed_sign_ins_are_limited_and_audited(serve: Serve) -> None:
    """After some the address must wait, also with the right key; keys at the API go on."""
    async with serve(tenant="acme") as it:
        token = await it.key("read")
        async with it.client(peer="192.0.2.1") as client:
            for _ in range(FROM_ONE):
                answer = await client.post("/in", params={"key": "us_guess"})
                assert answer.status_code == 401
            for path, what in (("/in", {"key": token}), ("/redeem", {"link": "x"})):
                answer = await client.post(path, params=what)
                assert answer.status_code == 429
                assert answer.headers["Retry-After"] == "900"
            assert "set-cookie" not in answer.headers
        assert (await it.get("/read", token, peer="192.0.2.1")).status_code == 200
        async with it.client(peer="192.0.2.2") as client:
            assert (await client.post("/in", params={"key": token})).status_code == 200
        entries = await it.app.audit.list("acme", limit=200)
        refused = [entry for entry in entries if entry.action == "sign-in.refused"]
        assert len(refused) == FROM_ONE
        assert {entry.address for entry in refused} == {"192.0.2.1"}
        assert "us_guess" not in str(entries)


async def test_a_form_must_come_from_a_page_of_its_session(serve: Serve) -> None:
    """Another session's token is refused, and so is the right one from another site's page."""
    async with serve() as it:
        token = await it.key("submit")
        async with it.client() as one, it.client() as other:
            for client in (one, other):
                await client.post("/in", params={"key": token})
            mine, theirs = [(await client.get("/me")).json()["csrf"] for client in (one, other)]
            assert (await one.post("/form", params={"csrf": mine})).status_code == 200
            for wrong in (theirs, "", "\u00e4"):
                assert (await one.post("/form", params={"csrf": wrong})).status_code == 403
            for headers in FOREIGN:
                answer = await one.post("/form", params={"csrf": mine}, headers=headers)
                assert answer.status_code == 403


async def test_forms_work_without_a_key_and_behind_a_proxy(serve: Serve) -> None:
    """The machine's own people have a form token; `public_url` is an origin of ours."""
    public = "https://media.example"
    async with serve(public_url=f"{public}/studio") as it, it.client() as client:
        csrf = (await client.get("/me")).json()["csrf"]
        for headers in ({}, {"Origin": public}):
            answer = await client.post("/form", params={"csrf": csrf}, headers=headers)
            assert answer.status_code == 200
        answer = await client.post("/form", params={"csrf": csrf[::-1]})
        assert answer.status_code == 403
