"""Bearer keys: what they open, and how often."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from pydantic import SecretStr

Serve = Callable[..., AbstractAsyncContextManager[Any]]


ALLOWED = {
    "read": {"/read"},
    "submit": {"/read", "/submit"},
    "admin": {"/read", "/submit", "/admin"},
}
NO_KEYS = (None, "", "Bearer", "Bearer ", "Basic dXM6dXM=", "us_123", "Bearer us_" + "a" * 36)


async def test_a_key_opens_what_its_scope_says(serve: Serve) -> None:
    """Every route with each scope; a refusal is 403 and names the scope that it takes."""
    async with serve() as it:
        for scope, allowed in ALLOWED.items():
            token = await it.key(scope)
            async with it.client(token, peer="192.0.2.1", url="https://media.example") as client:
                for method, path in (("GET", "/read"), ("POST", "/submit"), ("GET", "/admin")):
                    answer = await client.request(method, path)
                    assert answer.status_code == (200 if path in allowed else 403), scope
                    if path not in allowed:
                        assert answer.json()["code"] == "forbidden"
                        assert repr(path[1:]) in answer.json()["detail"]
                    assert "RateLimit" in answer.headers
        found = (await it.get("/read", token)).json()
        assert (found["tenant"], found["name"]) == ("acme", "ci")


async def test_no_key_opens_nothing(serve: Serve) -> None:
    """401 with a challenge, which tells nothing of what lies behind; on this machine, too."""
    async with serve() as it:
        await it.key("admin")
        for header in NO_KEYS:
            headers = {} if header is None else {"Authorization": header}
            for path in ("/read", "/admin"):
                answer = await it.get(path, headers=headers)
                assert answer.status_code == 401, header
                assert answer.headers["WWW-Authenticate"] == 'Bearer realm="understudy"'
                assert answer.json()["code"] == "unauthorized"


async def test_the_settings_key_opens_everything(serve: Serve) -> None:
    """It makes the server one with a key, so that nobody is let in without."""
    word = "a-word-of-the-operator"
    async with serve(admin_key=SecretStr(f" {word}\n")) as it:
        assert (await it.get("/read")).status_code == 401
        assert (await it.get("/admin", word, peer="192.0.2.1")).json() == "environment"
    async with serve(admin_key=SecretStr("")) as it:
        assert not await it.app.keys.configured()


async def test_a_key_that_asks_too_often_is_told_when_to_come(serve: Serve) -> None:
    """429 with what is left in all answers; one that is refused for its scope counts."""
    async with serve() as it:
        token = await it.key("read", per_minute=2, at_once=9)
        first, second, third = [await it.get(p, token) for p in ("/read", "/admin", "/read")]
        assert (first.status_code, second.status_code, third.status_code) == (200, 403, 429)
        assert first.headers["RateLimit"] == '"requests";r=1;t=30, "at-once";r=8'
        assert first.headers["RateLimit-Policy"].startswith('"requests";q=2;w=60, "at-once";q=9')
        assert third.headers["RateLimit"].startswith('"requests";r=0;t=30')
        assert third.headers["Retry-After"] == "30"
        it.clock.advance(30)
        assert (await it.get("/read", token)).status_code == 200


async def test_a_key_has_so_many_requests_at_once(serve: Serve) -> None:
    """A request counts until its route has returned, also when it was refused or broke off."""
    async with serve() as it:
        token = await it.key("read", at_once=1)
        async with it.client(token) as client:
            slow = asyncio.create_task(client.get("/slow"))
            await it.entered.wait()
            refused = await client.get("/read")
            assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
            it.gate.set()
            assert (await slow).status_code == 200
            for path in ("/admin", "/read", "/read"):
                assert (await client.get(path)).status_code in {200, 403}


async def test_a_stream_does_not_count_as_being_at_once(serve: Serve) -> None:
    """Streams have a cap of their own."""
    async with serve() as it:
        token = await it.key("read", at_once=1)
        inside: list[int] = []

        async def send(message: Any) -> None:
            if message.get("body") == b"first":
                who = await it.app.keys.authenticate(token)
                inside.append(it.app.limits.of(who).inside)
                it.gate.set()

        async with it.client(token) as client:
            request = client.build_request("GET", "/stream")
        headers = [(name.lower(), value) for name, value in request.headers.raw]
        scope = {
            "type": "http", "method": "GET", "path": "/stream", "query_string": b"",
            "headers": headers, "client": ("127.0.0.1", 1), "asgi": {"version": "3.0"},
        }  # fmt: skip
        await it.api(scope, _never, send)
        assert inside == [0]


async def _never() -> dict[str, Any]:
    await asyncio.Event().wait()
    raise AssertionError


async def test_the_description_shows_bearer_keys_with_their_scopes(serve: Serve) -> None:
    """Each route names the scope that it takes."""
    async with serve() as it:
        said = it.api.openapi()
        scheme = said["components"]["securitySchemes"]["bearer"]
        assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
        for path, method, scope in (
            ("/read", "get", "read"),
            ("/submit", "post", "submit"),
            ("/admin", "get", "admin"),
        ):
            assert said["paths"][path][method]["security"] == [{"bearer": [scope]}]
