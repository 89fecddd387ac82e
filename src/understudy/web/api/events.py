"""`/v1/runs/{id}/events`: a run as it changes, as server-sent events that survive disconnects.

Each event's id is all that its reader has seen. Sent back as `Last-Event-ID`, to this process or
another, it continues there; an id that says nothing any more gets a `snapshot`.
"""

from __future__ import annotations

import asyncio
import contextlib
import http
from collections.abc import AsyncIterator, Iterator
from typing import Annotated

from fastapi import APIRouter, Header, Query
from fastapi.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from understudy.app import App
from understudy.engine.run import Step
from understudy.engine.view import queues
from understudy.engine.watching import Change, Cursor, Watch
from understudy.errors import Busy
from understudy.web.api.answers import RunId, linked, refused
from understudy.web.auth import Reader
from understudy.web.context import Server, TheApp, TheServer
from understudy.wire import RunView

router = APIRouter(prefix="/v1/runs", tags=["runs"])

RETRY_MS = 2_000
"""How soon a reader comes back after the stream has ended before the run."""

_FULL_SECONDS = 5.0
_ALIVE = b": still here\n\n"
_EXAMPLE = (
    "retry: 2000\n\n"
    'id: 1.7.12\nevent: snapshot\ndata: {"id": "run_01kafyb8xq2c4e6g8j0m2p4r6t", …}\n\n'
    ": still here\n\n"
    'id: 1.8.13\nevent: change\ndata: {"id": "run_01kafyb8xq2c4e6g8j0m2p4r6t", …}\n\n'
)

_ITEM = {
    "type": "object",
    "properties": {
        "event": {"enum": ["snapshot", "change"]},
        "id": {"type": "string"},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": "#/components/schemas/RunView"},
        },
    },
}


class Events(Response):
    """A run's changes on the wire, until it is done, its reader leaves or the server drains."""

    media_type = "text/event-stream"

    def __init__(self, app: App, server: Server, watch: Watch, first: Change | None) -> None:
        super().__init__(headers={"x-accel-buffering": "no"}, media_type=self.media_type)
        del self.headers["content-length"]
        self._app = app
        self._server = server
        self._watch = watch
        self._first = first
        self._steps: dict[str, Step] | None = None

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Send what there is, and then what comes."""

        async def write(body: bytes, *, more: bool = True) -> None:
            await send({"type": "http.response.body", "body": body, "more_body": more})

        start = {"status": self.status_code, "headers": self.raw_headers}
        await send({"type": "http.response.start", **start})
        with self._counted():
            await write(b"retry: %d\n\n" % RETRY_MS)
            async with self._server.holding(receive, self._server.longest):
                async for change in self._changes():
                    await write(_ALIVE if change is None else await self._event(change))
            await write(b"", more=False)

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        self._server.streams += 1
        self._server.metrics.streams.set(self._server.streams)
        try:
            yield
        finally:
            self._server.streams -= 1
            self._server.metrics.streams.set(self._server.streams)

    async def _changes(self) -> AsyncIterator[Change | None]:
        """Each change; None where there was none for so long that the reader wants a sign."""
        if self._first is not None:
            yield self._first
        while True:
            try:
                async with asyncio.timeout(self._server.keep_alive):
                    change = await anext(self._watch, None)
            except TimeoutError:
                yield None
                continue
            if change is None:
                return
            yield change

    async def _event(self, change: Change) -> bytes:
        """One event: the run, with all its steps in a snapshot, else with those that changed."""
        view = await self._view(change)
        if not change.whole:
            changed = {step.key for step in change.steps}
            steps = [step for step in view.steps if step.key in changed]
            view = view.model_copy(update={"steps": steps})
        kind = "snapshot" if change.whole else "change"
        data = linked(self._app, view).model_dump_json()
        return f"id: {change.cursor}\nevent: {kind}\ndata: {data}\n\n".encode()

    async def _view(self, change: Change) -> RunView:
        """The run with all its steps, which its forecast is made of."""
        engine, run = self._app.engine, change.run
        if change.whole:
            self._steps = {}
        elif self._steps is None:
            self._steps = {step.key: step for step in await engine.steps(run.id, run.tenant)}
        self._steps |= {step.key: step for step in change.steps}
        steps = sorted(self._steps.values(), key=lambda step: step.seq)
        crowd = await self._server.crowd(self._app) if queues(run) else None
        return await engine.show(run, steps, crowd)


@router.get(
    "/{run_id}/events",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Events named `snapshot` (the run with all its steps: replace what you"
            " have) and `change` (the run with the steps that changed: put them into what you"
            " have), each with a `RunView` as its data. A comment comes each 15 s. The stream"
            " ends behind the event in which the run is `done`; when it ends before, come back"
            " with the last id.",
            "content": {
                "text/event-stream": {
                    "itemSchema": _ITEM,
                    "examples": {"events": {"value": _EXAMPLE}},
                }
            },
        },
        204: {"description": "The run is done, and you have seen all of it: do not come back."},
        **refused("not_found", "busy"),
    },
)
async def events(
    app: TheApp,
    server: TheServer,
    who: Reader,
    run_id: RunId,
    last_event_id: Annotated[
        str | None,
        Header(description="The id of the last event that you have seen.", examples=["1.7.12"]),
    ] = None,
    after: Annotated[
        str | None,
        Query(description="The same, for those who cannot send headers; the header wins."),
    ] = None,
) -> Response:
    """Follow a run as server-sent events. Leaving never cancels it."""
    run = await app.engine.get(run_id, who.tenant)
    if server.streams >= app.settings.watchers:
        raise Busy(
            f"{server.streams} event streams are open, which is the most", retry_after=_FULL_SECONDS
        )
    seen = Cursor.parse(last_event_id or after or "")
    watch = app.engine.watching.watch(run_id, who.tenant, seen)
    first = await anext(watch, None) if run.done else None
    if run.done and first is None:
        return Response(status_code=http.HTTPStatus.NO_CONTENT)
    return Events(app, server, watch, first)
