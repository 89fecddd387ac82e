"""A real browser on a real server, both on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, async_playwright

from understudy.app import App
from understudy.server import Started, serve
from understudy.settings import Settings

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_PATIENCE = 60_000
"""Milliseconds that only a fault takes."""

DESKTOP = {"viewport": {"width": 1280, "height": 860}}
PHONE = {
    "viewport": {"width": 390, "height": 844},
    "is_mobile": True,
    "has_touch": True,
    "device_scale_factor": 2,
}


class Theatre:
    """A server with a worker, and a browser; what a page complains of is in `complaints`."""

    def __init__(self, app: App, started: Started, browser: Browser) -> None:
        self.app = app
        self.started = started
        self.complaints: list[str] = []
        self._browser = browser

    @contextlib.asynccontextmanager
    async def page(self, look: dict[str, Any], **more: Any) -> AsyncIterator[Page]:
        """A page of a fresh browser profile; addresses begin at the server's door."""
        how = {"base_url": self.started.url, "timezone_id": "UTC", "locale": "en-GB"}
        context = await self._browser.new_context(**{**how, **look, **more})
        context.set_default_timeout(_PATIENCE)
        page = await context.new_page()
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._hear)
        try:
            yield page
        finally:
            await context.close()

    def _hear(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)


Opened = Callable[..., AbstractAsyncContextManager[Theatre]]


@pytest.fixture
def theatre(tmp_path: Path) -> Opened:
    """What opens a server and a browser, until the block ends."""
    path = next((found for name in _NAMES if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip(f"no browser is installed: {', '.join(_NAMES)}")
    # Without its sandbox where it cannot have one: as root, in a container.
    options = ["--no-sandbox"] if os.geteuid() == 0 else []

    @contextlib.asynccontextmanager
    async def opened(**settings: Any) -> AsyncIterator[Theatre]:
        given = Settings(**{"home": tmp_path / "home", "port": 0, **settings})
        async with contextlib.AsyncExitStack() as stack:
            app = await stack.enter_async_context(App.open(given))
            started = await stack.enter_async_context(_serving(app))
            play = await stack.enter_async_context(async_playwright())
            browser = await play.chromium.launch(executable_path=path, args=options)
            stack.push_async_callback(browser.close)
            yield Theatre(app, started, browser)

    return opened


@contextlib.asynccontextmanager
async def _serving(app: App) -> AsyncIterator[Started]:
    """The server, as `understudy serve` has it."""
    listens: asyncio.Future[Started] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(app, ready=listens.set_result))
    both: list[asyncio.Future[Any]] = [serving, listens]
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        serving.result()
    try:
        yield listens.result()
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
