"""What the client's tests share: both clients over a server that answers from a script."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from understudy.client import AsyncClient, Client, Patience

Answer = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]

RUN = {
    "id": "run_1",
    "operation": "count",
    "status": "queued",
    "done": False,
    "input": {"n": 1},
    "output": None,
    "error": None,
    "steps": [],
    "progress": None,
    "percent": None,
    "eta": None,
    "waiting_for": None,
    "attempt": 1,
    "user": None,
    "forked_from": None,
    "created_at": "2026-11-22T12:00:00.000Z",
    "started_at": None,
    "ended_at": None,
}


class Skipping:
    """A clock on which every sleep passes at once, and is remembered."""

    def __init__(self) -> None:
        self.time = 1_800_000_000.0
        self.pauses: list[float] = []

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.time += seconds


class SkippingAsync(Skipping):
    """The same for an event loop."""

    async def sleep(self, seconds: float) -> None:  # type: ignore[override]
        super().sleep(seconds)
        await asyncio.sleep(0)


class Asker:
    """A client of one kind, and the server that answers it, one answer after the other.

    The last answer is given as often as it is asked for.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.clock = Skipping() if kind == "sync" else SkippingAsync()
        self.patience = Patience()
        self.requests: list[httpx.Request] = []
        self.bodies: list[Any] = []
        self.answers: list[Answer] = []

    def says(self, *answers: Answer) -> Asker:
        """What the server will answer."""
        self.answers = list(answers)
        return self

    def __call__(self, name: str, *given: Any, **named: Any) -> Any:
        """The result of a method."""
        if self.kind == "sync":
            with self._sync() as client:
                return getattr(client, name)(*given, **named)

        async def inside() -> Any:
            async with self._async() as client:
                return await getattr(client, name)(*given, **named)

        return asyncio.run(inside())

    def all(self, name: str, *given: Any, **named: Any) -> list[Any]:
        """Everything that a method hands out."""
        if self.kind == "sync":
            with self._sync() as client:
                return list(getattr(client, name)(*given, **named))

        async def inside() -> list[Any]:
            async with self._async() as client:
                return [one async for one in getattr(client, name)(*given, **named)]

        return asyncio.run(inside())

    def first(self, name: str, *given: Any, **named: Any) -> Any:
        """The first that a method hands out, of whom no more is wanted."""
        if self.kind == "sync":
            with (
                self._sync() as client,
                contextlib.closing(getattr(client, name)(*given, **named)) as found,
            ):
                return next(found)

        async def inside() -> Any:
            async with (
                self._async() as client,
                contextlib.aclosing(getattr(client, name)(*given, **named)) as found,
            ):
                return await anext(found)

        return asyncio.run(inside())

    @property
    def pauses(self) -> list[float]:
        """How long the client slept, each time."""
        return self.clock.pauses

    def _sync(self) -> Client:
        return Client(
            "http://server", "us_key", patience=self.patience, clock=self.clock,
            transport=httpx.MockTransport(self._answer),
        )  # fmt: skip

    def _async(self) -> AsyncClient:
        assert isinstance(self.clock, SkippingAsync)
        return AsyncClient(
            "http://server", "us_key", patience=self.patience, clock=self.clock,
            transport=httpx.MockTransport(self._answer),
        )  # fmt: skip

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.bodies.append(request.content)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else answer(request)


@pytest.fixture(params=["sync", "async"])
def asker(request: pytest.FixtureRequest) -> Asker:
    """One of the two clients."""
    return Asker(request.param)


@pytest.fixture
def run() -> Callable[..., httpx.Response]:
    """An answer with a run: `run(status="succeeded")`; `code`, `headers` are the answer's own."""

    def made(code: int = 200, headers: Any = None, **facts: Any) -> httpx.Response:
        done = facts.get("status") in {"succeeded", "failed", "canceled"}
        return httpx.Response(code, json={**RUN, "done": done, **facts}, headers=headers)

    return made


@pytest.fixture
def problem() -> Callable[..., httpx.Response]:
    """An answer that refuses: `problem("not_found", 404)`."""

    def made(code: str, status: int, headers: Any = None, **facts: Any) -> httpx.Response:
        said = {
            "type": f"/problems/{code}",
            "title": code,
            "status": status,
            "detail": f"because of {code}",
            "code": code,
            "category": "input",
            **facts,
        }
        return httpx.Response(status, json=said, headers=headers)

    return made


class Pieces(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body in these pieces; an exception among them is raised there."""

    def __init__(self, *pieces: bytes | Exception) -> None:
        self.pieces = pieces
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        for piece in self.pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    async def __aiter__(self) -> Any:
        for piece in self:
            yield piece

    def close(self) -> None:
        self.closed = True

    async def aclose(self) -> None:
        self.closed = True


@pytest.fixture
def stream() -> Callable[..., httpx.Response]:
    """An answer whose body comes in pieces, and may break."""

    def made(*pieces: bytes | Exception, status: int = 200, headers: Any = None) -> httpx.Response:
        return httpx.Response(status, headers=headers, stream=Pieces(*pieces))

    return made


@pytest.fixture
def event() -> Callable[..., bytes]:
    """An event of a run as it is on the wire: `event("1.2.3", "change", status="running")`."""

    def made(event_id: str, name: str, **facts: Any) -> bytes:
        done = facts.get("status") in {"succeeded", "failed", "canceled"}
        told = json.dumps({**RUN, "done": done, **facts})
        return f"id: {event_id}\nevent: {name}\ndata: {told}\n\n".encode()

    return made
