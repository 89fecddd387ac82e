"""What the web tests share: an app on its own home, asked over ASGI or over a real socket."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from understudy.app import App
from understudy.settings import Settings
from understudy.web.app import create_app

OPERATIONS = Path(__file__).with_name("operations_of_a_customer.py")


@dataclasses.dataclass
class Site:
    """An open app and its web application; `client` is somebody on this machine without a key."""

    app: App
    api: FastAPI
    client: httpx.AsyncClient

    async def key(self, *scopes: Any, tenant: str | None = None, **how: Any) -> str:
        """The token of a new key."""
        _, token = await self.app.keys.create(
            tenant or self.app.tenant, "test", scopes or ("admin",), **how
        )
        return token

    @contextlib.asynccontextmanager
    async def holder(self, token: str) -> AsyncIterator[httpx.AsyncClient]:
        """Somebody else, with a key."""
        async with asking(self.api, {"Authorization": f"Bearer {token}"}) as client:
            yield client

    async def submit(self, operation: str = "echo", **more: Any) -> dict[str, Any]:
        """The body of a run that was accepted."""
        answer = await self.client.post("/v1/runs", json={"operation": operation, **more})
        assert answer.status_code in {200, 202}, answer.text
        run: dict[str, Any] = answer.json()
        return run


def asking(api: FastAPI, headers: dict[str, str] | None = None) -> httpx.AsyncClient:
    """A client on this machine."""
    transport = httpx.ASGITransport(api, client=("127.0.0.1", 50_000))
    return httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers)


Open = Callable[..., AbstractAsyncContextManager[Site]]


@pytest.fixture
def site(tmp_path: Path) -> Open:
    """Open an app in an empty home, with test operations; what it is called with are settings."""

    @contextlib.asynccontextmanager
    async def opened(*, working: bool = False, **settings: Any) -> AsyncIterator[Site]:
        given = {"home": tmp_path / "home", "load": str(OPERATIONS), **settings}
        async with contextlib.AsyncExitStack() as stack:
            app = await stack.enter_async_context(App.open(Settings(**given)))
            if working:
                await stack.enter_async_context(app.worker())
            api = create_app(app)
            client = await stack.enter_async_context(asking(api))
            yield Site(app, api, client)

    return opened


Serve = Callable[..., contextlib.AbstractContextManager[str]]


@pytest.fixture
def served(tmp_path: Path) -> Serve:
    """Run a server process in a home of its own; it is called with words and variables."""

    @contextlib.contextmanager
    def running(*words: str, **environment: str) -> Iterator[str]:
        line = [sys.executable, "-m", "understudy", "--home", str(tmp_path / "home")]
        line += ["--load", str(OPERATIONS), "serve", "--port", "0", "--json", *words]
        log = (tmp_path / "server.log").open("w")
        with (
            log,
            subprocess.Popen(
                line,
                env={**os.environ, **environment},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            ) as process,
        ):
            assert process.stdout is not None
            started = process.stdout.readline()
            assert started, (tmp_path / "server.log").read_text()
            try:
                yield json.loads(started)["url"]
            finally:
                process.send_signal(signal.SIGTERM)
                ended = process.wait(60)
        assert ended == 128 + signal.SIGTERM, (tmp_path / "server.log").read_text()

    return running
