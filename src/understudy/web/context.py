"""What every route stands on: the app, and what this server's requests share."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Annotated

from fastapi import Depends
from fastapi.requests import HTTPConnection
from starlette.types import Receive

from understudy.app import App
from understudy.engine.crowd import Crowd
from understudy.web.metrics import Metrics

KEEP_ALIVE = 15.0
"""Seconds of silence after which an event stream says that it is still there."""

LONGEST = 600.0
"""Seconds that an event stream lasts: its reader comes back, and shows a key that still works."""

CROWD_SECONDS = 1.0
"""How long what was read of the queues serves others."""


class Server:
    """What the requests of one server share.

    `metrics` is what this process counts, `streams` how many event streams are open, `keep_alive`
    their longest silence and `longest` their longest life in seconds. Once `draining`, `/readyz`
    says no and nothing is held open.
    """

    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics
        self.streams = 0
        self.keep_alive = KEEP_ALIVE
        self.longest = LONGEST
        self.draining = False
        self._held: set[Callable[[], None]] = set()
        self._crowd: Crowd | None = None
        self._crowd_at = 0.0

    def drain(self) -> None:
        """End what is held open: event streams, and waits for a run's end."""
        self.draining = True
        for end in tuple(self._held):
            end()

    async def crowd(self, app: App) -> Crowd:
        """Who drives and what stands in the queues, at most a second old: many may ask at once."""
        now = app.clock.now()
        if self._crowd is None or not 0 <= now - self._crowd_at < CROWD_SECONDS:
            self._crowd, self._crowd_at = await app.engine.crowd(), now
        return self._crowd

    @contextlib.asynccontextmanager
    async def holding(self, receive: Receive, seconds: float | None = None) -> AsyncIterator[None]:
        """Leave the block when the asker goes away, the server drains or the seconds are over.

        The block is cancelled then, and what follows it goes on.
        """
        loop = asyncio.get_running_loop()
        listener = asyncio.create_task(_gone(receive))
        try:
            async with asyncio.timeout(0 if self.draining else seconds) as scope:

                def end(*_: object) -> None:
                    scope.reschedule(loop.time())

                listener.add_done_callback(end)
                self._held.add(end)
                try:
                    yield
                finally:
                    self._held.discard(end)
                    listener.remove_done_callback(end)
        except TimeoutError:
            if not scope.expired():
                raise
        finally:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)


async def _gone(receive: Receive) -> None:
    """Return once the asker has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _app(connection: HTTPConnection) -> App:
    app: App = connection.app.state.app
    return app


async def _server(connection: HTTPConnection) -> Server:
    server: Server = connection.app.state.server
    return server


TheApp = Annotated[App, Depends(_app)]
TheServer = Annotated[Server, Depends(_server)]
