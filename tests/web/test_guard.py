"""Around every request: limits of bodies, faults, headers; and one form for every refusal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi.responses import StreamingResponse

from understudy.errors import Permanent
from understudy.web.guard import Guard
from understudy.web.metrics import Metrics

JSON = {"Content-Type": "application/json"}


async def pieces(read: list[int], count: int) -> AsyncIterator[bytes]:
    """A body of so many pieces of 100 kB; `read` says which were taken."""
    for number in range(count):
        read.append(number)
        yield b" " * 100_000


async def test_a_large_body_is_stopped_while_it_comes(site: Any) -> None:
    """413 as soon as the limit is passed, the rest unread. A length that says so is enough."""
    async with site(body_kb=1000) as one:
        read: list[int] = []
        answer = await one.client.post("/v1/runs", content=pieces(read, 1000), headers=JSON)
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
        assert len(read) < 20
        assert answer.headers["connection"] == "close"
        told = {**JSON, "Content-Length": "99999999"}
        read.clear()
        answer = await one.client.post("/v1/runs", content=pieces(read, 1000), headers=told)
        assert (answer.status_code, answer.headers["connection"]) == (413, "close")
        assert not read


@pytest.mark.parametrize(
    "body", [b"{", b"", b"\xff\xfe", b"[" * 100_000, b'{"operation": "echo"} extra']
)
async def test_broken_json_is_a_problem(site: Any, body: bytes) -> None:
    """Whatever is no JSON is refused as such, or as not fitting; it never breaks the server."""
    async with site() as one:
        answer = await one.client.post("/v1/runs", content=body, headers=JSON)
        assert answer.status_code in {400, 422}
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] in {"malformed", "invalid_input"}
        assert answer.json()["errors"][0]["pointer"] == ""


async def test_a_body_of_another_type_is_refused(site: Any) -> None:
    """A form that a foreign page could send is no JSON."""
    async with site() as one:
        for kind in ("text/plain", "application/x-www-form-urlencoded"):
            answer = await one.client.post(
                "/v1/runs", content=b'{"operation":"echo"}', headers={"Content-Type": kind}
            )
            assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")


async def test_unknown_places_and_methods(site: Any) -> None:
    """404 and 405 in the same form; `Allow` names every method of the path."""
    async with site() as one:
        nowhere = await one.client.get("/v1/nowhere")
        assert (nowhere.status_code, nowhere.json()["instance"]) == (404, "/v1/nowhere")
        wrong = await one.client.put("/v1/runs")
        assert (wrong.status_code, wrong.json()["code"]) == (405, "method_not_allowed")
        assert wrong.headers["allow"] == "GET, POST"


@pytest.mark.parametrize("fault", [ValueError("secret"), Permanent("secret")])
async def test_a_fault_of_ours_tells_nothing(site: Any, fault: Exception) -> None:
    """500 as a problem: the log has the rest."""
    async with site() as one:

        async def broken(*_: Any, **__: Any) -> Any:
            raise fault

        object.__setattr__(one.app.engine, "view", broken)
        answer = await one.client.get("/v1/runs/run_1")
        assert (answer.status_code, answer.json()["category"]) == (500, "internal")
        assert "secret" not in answer.text


async def test_a_fault_in_the_middle_breaks_the_connection(site: Any) -> None:
    """An answer that began cannot be taken back: its end is missing, so that nobody trusts it."""
    async with site() as one:

        async def body() -> AsyncIterator[bytes]:
            yield b"a"
            raise ValueError

        async def half() -> StreamingResponse:
            return StreamingResponse(body())

        one.api.add_api_route("/half", half)
        with pytest.raises((ConnectionAbortedError, httpx.HTTPError)):
            await one.client.get("/half")


async def test_every_answer_has_its_headers(site: Any) -> None:
    """No sniffing, no storing, no referrer; and the limits of the key where there was one."""
    async with site() as one:
        for path in ("/v1/runs", "/v1/nowhere", "/healthz"):
            answer = await one.client.get(path)
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert ("ratelimit" in answer.headers) == (path == "/v1/runs")
        refused = await one.client.get("/v1/runs/run_nobody")
        assert refused.status_code == 404
        assert "ratelimit" in refused.headers


async def test_a_body_that_stops_coming_is_given_up() -> None:
    """408, and the connection is closed behind it: it would be held for nothing."""

    async def app(_scope: Any, receive: Any, _send: Any) -> None:
        while (await receive()).get("more_body"):
            pass

    async def slow() -> AsyncIterator[bytes]:
        yield b"a"
        await asyncio.Event().wait()

    guard = Guard(app, metrics=Metrics(), body=100, uploads=(), patience=0.001)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(guard), base_url="http://localhost"
    ) as client:
        answer = await client.post("/", content=slow())
    assert (answer.status_code, answer.json()["code"]) == (408, "too_slow")
    assert answer.headers["connection"] == "close"
