"""Routes that ask who asks, over a real app whose limits are measured by a clock that stands."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

from understudy.accounts.attempts import Attempts
from understudy.accounts.limits import Limits
from understudy.app import App
from understudy.clock import ManualClock
from understudy.settings import Settings
from understudy.web import auth, problem
from understudy.web.guard import Guard
from understudy.web.metrics import Metrics

HERE = "http://127.0.0.1:8288"


def routes(app: App, entered: asyncio.Event, gate: asyncio.Event) -> FastAPI:
    """A route for each right, some that take their time, and a browser's few."""
    api = FastAPI()
    api.state.app = app
    problem.install(api)
    api.add_middleware(Guard, metrics=Metrics(), body=1000, uploads=())

    @api.get("/read")
    async def read(who: auth.Reader) -> dict[str, Any]:
        return dataclasses.asdict(who) | {"scopes": sorted(who.scopes)}

    @api.post("/submit")
    async def submit(who: auth.Submitter) -> str:
        return who.name

    @api.get("/admin")
    async def admin(who: auth.Admin) -> str:
        return who.name

    @api.get("/slow")
    async def slow(_: auth.Reader) -> str:
        entered.set()
        await gate.wait()
        return "late"

    @api.get("/stream")
    async def stream(_: auth.Reader) -> Response:
        async def body() -> AsyncIterator[bytes]:
            yield b"first"
            await gate.wait()

        return StreamingResponse(body())

    _add_browser_routes(api)
    return api


def _add_browser_routes(api: FastAPI) -> None:
    @api.post("/in")
    async def sign_in(request: Request, key: str) -> Response:
        token, _ = await auth.sign_in(request, key)
        answer = Response()
        auth.remember(request, answer, token)
        return answer

    @api.post("/redeem")
    async def redeem(request: Request, link: str) -> Response:
        token, _ = await auth.redeem(request, link)
        answer = Response()
        auth.remember(request, answer, token)
        return answer

    @api.post("/out")
    async def sign_out(request: Request) -> Response:
        answer = Response()
        await auth.sign_out(request, answer)
        return answer

    @api.get("/me")
    async def me(request: Request) -> dict[str, str]:
        session = await auth.browser_session(request)
        return {} if session is None else {"name": session.principal.name, "csrf": session.csrf}

    @api.post("/form")
    async def form(request: Request, csrf: str) -> str:
        session = await auth.browser_session(request)
        assert session is not None
        auth.check_form(request, session, csrf)
        return "done"


@dataclasses.dataclass
class Served:
    """An app behind these routes."""

    app: App
    api: FastAPI
    clock: ManualClock
    gate: asyncio.Event
    entered: asyncio.Event

    def client(self, token: str | None = None, **how: Any) -> httpx.AsyncClient:
        """Somebody on this machine, or at the address `peer`, who shows a key or not."""
        peer, url = how.pop("peer", "127.0.0.1"), how.pop("url", HERE)
        transport = httpx.ASGITransport(self.api, client=(peer, 50_000))
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        headers |= how.pop("headers", {})
        return httpx.AsyncClient(transport=transport, base_url=url, headers=headers, **how)

    async def get(self, path: str, token: str | None = None, **how: Any) -> httpx.Response:
        """One answer."""
        async with self.client(token, **how) as client:
            return await client.get(path)

    async def key(self, *scopes: str, **how: Any) -> str:
        """The token of a new key of the tenant `acme`."""
        return (await self.app.keys.create("acme", "ci", scopes, **how))[1]


@contextlib.asynccontextmanager
async def _served(home: Path, settings: dict[str, Any]) -> AsyncIterator[Served]:
    """A fresh installation without a key, whose limits are measured by a clock that stands."""
    clock, entered, gate = ManualClock(), asyncio.Event(), asyncio.Event()
    async with App.open(Settings(home=home, **settings)) as real:
        limits = Limits(clock, real.settings.key_per_minute, real.settings.key_at_once)
        app = dataclasses.replace(real, limits=limits, attempts=Attempts(clock))
        yield Served(app, routes(app, entered, gate), clock, gate, entered)


@pytest.fixture
def serve(tmp_path: Path) -> Callable[..., contextlib.AbstractAsyncContextManager[Served]]:
    """Opens an installation without a key, with these settings."""
    return lambda **settings: _served(tmp_path, settings)
