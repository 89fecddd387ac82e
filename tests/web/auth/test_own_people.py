"""Without a key: the machine's own people are let in, and nobody else."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from understudy.errors import ConfigError
from understudy.web import auth

Serve = Callable[..., AbstractAsyncContextManager[Any]]

HERE = "http://127.0.0.1:8288"

FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:3000"},
    {"Origin": "http://[broken"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
]
OWN = [
    {},
    {"Origin": HERE},
    {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"},
    {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
]

OTHERS: list[dict[str, Any]] = [
    {"peer": "192.0.2.1"},
    {"peer": "192.0.2.1", "headers": {"Host": "localhost"}},
    {"url": "http://rebound.example:8288"},
    {"url": "http://127.0.0.1.rebound.example"},
    {"headers": {"Host": ""}},
    {"headers": {"Host": "["}},
    {"headers": {"X-Forwarded-For": "127.0.0.1"}},
    {"headers": {"Forwarded": "for=127.0.0.1"}},
]


async def test_without_a_key_the_machine_s_own_people_are_let_in(serve: Serve) -> None:
    """With every right in the settings' tenant, by every name of this machine."""
    async with serve(tenant="acme") as it:
        for headers in OWN:
            assert (await it.get("/admin", headers=headers)).json() == "anonymous", headers
        for url in ("http://localhost:1", "http://[::1]:8288", "http://127.8.9.1"):
            answer = await it.get("/read", peer="::ffff:127.0.0.1", url=url)
            assert answer.json()["tenant"] == "acme"


async def test_without_a_key_a_page_of_another_site_is_refused(serve: Serve) -> None:
    """A browser on this machine shows pages of strangers; what they ask for is not done."""
    async with serve() as it:
        for headers in FOREIGN:
            for path in ("/read", "/admin"):
                assert (await it.get(path, headers=headers)).status_code == 401, headers
            assert (await it.get("/me", headers=headers)).json() == {}, headers


async def test_without_a_key_nobody_else_is_let_in(serve: Serve) -> None:
    """Not from another machine, nor by a name that was rebound to this one, nor by a proxy."""
    async with serve() as it:
        for how in OTHERS:
            answer = await it.get("/read", **how)
            assert answer.status_code == 401, how
            assert "no key yet" in answer.json()["detail"]
            assert (await it.get("/me", **how)).json() == {}, how


async def test_a_followed_link_may_look_and_no_more(serve: Serve) -> None:
    """A page of a stranger that posts a form here is refused, as a form and as an answer."""
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    async with serve() as it, it.client(headers=headers) as client:
        assert (await client.get("/read")).status_code == 200
        assert (await client.post("/submit")).status_code == 401


async def test_the_first_key_closes_the_door(serve: Serve) -> None:
    """Who was let in without one is asked for it at once."""
    async with serve() as it:
        assert (await it.get("/read")).status_code == 200
        await it.key("read")
        assert (await it.get("/read")).status_code == 401
        assert (await it.get("/me")).json() == {}


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost"])
def test_without_a_key_the_server_listens_to_this_machine(host: str) -> None:
    """By every name of it."""
    auth.check_binding(host, configured=False)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "", "192.0.2.1", "media.example", "localhost.example", "[::]"]
)
def test_without_a_key_another_interface_is_refused(host: str) -> None:
    """The message says what to do; with a key it is allowed."""
    with pytest.raises(ConfigError, match=r"keys create .* UNDERSTUDY_ADMIN_KEY"):
        auth.check_binding(host, configured=False)
    auth.check_binding(host, configured=True)
