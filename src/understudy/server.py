"""The server: the web application on a socket, with a worker beside it, until it is told to end."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import socket
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from fastapi import FastAPI

from understudy.app import App
from understudy.errors import ConfigError
from understudy.web import auth
from understudy.web.app import create_app
from understudy.web.connection import Connection

_BACKLOG = 2048
_KEEP_ALIVE = 75
"""Seconds that an idle connection stays open: longer than a proxy keeps it, so that it closes."""


@dataclasses.dataclass(frozen=True, slots=True)
class Started:
    """What a server says once it listens.

    `url` is where; `link` signs one browser in, once (None where there are keys); `worker` is the
    name of the worker inside (None without).
    """

    url: str
    link: str | None
    worker: str | None


async def serve(
    app: App,
    *,
    host: str | None = None,
    port: int | None = None,
    work: bool = True,
    ready: Callable[[Started], None] = lambda _: None,
) -> None:
    """Serve until cancelled; without `host` and `port`, where the settings say.

    `ready` is called once it listens. When cancelled, it takes nothing new, answers what it has,
    ends event streams (their readers come back to whoever serves then), and hands its runs back.
    Raises `ConfigError` if it cannot listen there, `WorkerHeld` if another process works on this
    database file, and what stopped the worker, if that had to give up.
    """
    host = app.settings.host if host is None else host
    port = app.settings.port if port is None else port
    configured = await app.keys.configured()
    auth.check_binding(host, configured=configured)
    async with contextlib.AsyncExitStack() as stack:
        listener = stack.enter_context(_listening(host, port))
        plan = await stack.enter_async_context(app.worker()) if work else None
        url = _url(host, listener)
        link = None
        if not configured:
            link = f"{url}/dashboard/link/{await app.sessions.link(app.tenant)}"
        started = Started(url, link, plan.worker if plan else None)
        gave_up = [plan.failure] if plan else []
        await _serving(app, listener, gave_up, lambda: ready(started))


async def _serving(
    app: App,
    listener: socket.socket,
    gave_up: list[asyncio.Future[Any]],
    ready: Callable[[], None],
) -> None:
    """Serve on this socket until cancelled, or until one of `gave_up` has an error to raise."""
    api = create_app(app)
    server = _Uvicorn(_config(api, app.settings.drain_seconds), ready)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await asyncio.wait([serving, *gave_up], return_when=asyncio.FIRST_COMPLETED)
        for future in gave_up:
            if future.done():
                raise future.result()
    finally:
        api.state.server.drain()
        server.should_exit = True
        await serving


class _Uvicorn(uvicorn.Server):
    """Uvicorn that says when it listens, and leaves signals to whoever runs this process."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept."""
        await super().startup(sockets)
        self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def _config(api: FastAPI, drain: float) -> uvicorn.Config:
    return uvicorn.Config(
        api,
        http=Connection,
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        # Only a proxy on this machine may say whom it speaks for.
        forwarded_allow_ips="127.0.0.1",
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=max(1, round(drain)),
    )


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens there. Raises `ConfigError`."""
    try:
        family = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host or 'every interface'}, port {port}: {error.strerror or error};"
            " choose another with --port (0 takes a free one)"
        ) from error
    with listener:
        listener.setblocking(False)
        yield listener


def _url(host: str, listener: socket.socket) -> str:
    """Where a browser of this machine finds it."""
    port = listener.getsockname()[1]
    name = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104 - it is compared
    return f"http://[{name}]:{port}" if ":" in name and "[" not in name else f"http://{name}:{port}"
