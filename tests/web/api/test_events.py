"""`/v1/runs/{id}/events`."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from typing import Any

import httpx

SECONDS = 30.0
"""A deadline that only a fault reaches."""


@dataclasses.dataclass
class Event:
    """One event of a stream; a comment has no name."""

    id: str
    name: str
    run: dict[str, Any]


class Reader:
    """Somebody who follows a run over raw ASGI, event by event, and may leave."""

    def __init__(self, api: Any, path: str, **headers: str) -> None:
        self._left = asyncio.Event()
        self._asked = False
        self.status = 0
        self.pieces: asyncio.Queue[bytes] = asyncio.Queue()
        named = {"host": "localhost", **headers}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(k.replace("_", "-").encode(), v.encode()) for k, v in named.items()],
            "client": ("127.0.0.1", 5),
            "server": ("localhost", 80),
        }
        self.task = asyncio.create_task(api(scope, self._receive, self._send))

    async def _receive(self) -> Any:
        if self._asked:
            await self._left.wait()
            return {"type": "http.disconnect"}
        self._asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def _send(self, message: Any) -> None:
        self.status = message.get("status", self.status)
        if message.get("body"):
            self.pieces.put_nowait(message["body"])

    async def piece(self) -> str:
        """The next piece as it came."""
        async with asyncio.timeout(SECONDS):
            return (await self.pieces.get()).decode()

    async def event(self) -> Event:
        """The next event; comments and hints are passed over."""
        while not (piece := await self.piece()).startswith("id: "):
            pass
        id_, name, data = (line.partition(": ")[2] for line in piece.strip().split("\n"))
        return Event(id_, name, json.loads(data))

    async def leave(self) -> None:
        """Go away, and see that nothing of the stream is left."""
        self._left.set()
        await self.end()

    async def end(self) -> None:
        """Return when the stream has ended."""
        async with asyncio.timeout(SECONDS):
            await self.task


async def test_a_run_is_followed_to_its_end(site: Any) -> None:
    """First a snapshot, then changes with the steps that changed; the end closes the stream."""
    async with site() as one:
        run = await one.submit("echo", input={"times": 2})
        reader = Reader(one.api, run["urls"]["events"])
        assert (await reader.piece()) == "retry: 2000\n\n"
        first = await reader.event()
        assert (first.name, first.run["status"]) == ("snapshot", "queued")
        assert first.run["waiting_for"]["text"] == "a worker: none is running"
        async with one.app.worker():
            steps: dict[str, Any] = {}
            event = first
            while not event.run["done"]:
                event = await reader.event()
                assert event.name == "change"
                assert event.run["urls"] == run["urls"]
                steps |= {step["key"]: step["state"] for step in event.run["steps"]}
        assert event.run["output"] == {"text": "hello0 hello1"}
        assert steps == {"say": "succeeded", "say#2": "succeeded"}
        await reader.end()
        assert one.api.state.server.streams == 0


async def test_a_reader_comes_back_where_he_was(site: Any) -> None:
    """The id of the last event, as a header or in the query, brings what is new and no more."""
    async with site() as one:
        run = await one.submit("ask")
        reader = Reader(one.api, run["urls"]["events"])
        seen = await reader.event()
        await reader.leave()
        await one.client.post(run["urls"]["cancel"])
        reader = Reader(one.api, run["urls"]["events"], last_event_id=seen.id)
        event = await reader.event()
        assert (event.name, event.run["status"]) == ("change", "canceled")
        await reader.end()
        over = await one.client.get(run["urls"]["events"], params={"after": event.id})
        assert (over.status_code, over.content) == (204, b"")


async def test_an_id_that_says_nothing_gets_a_snapshot(site: Any) -> None:
    """So does none at all."""
    async with site() as one:
        run = await one.submit("ask")
        await one.client.post(run["urls"]["cancel"])
        for id_ in ("", "nonsense", "9.9.9"):
            reader = Reader(one.api, run["urls"]["events"], last_event_id=id_)
            assert (await reader.event()).name == "snapshot"
            await reader.end()


async def test_leaving_cancels_nothing(site: Any) -> None:
    """A reader who goes away leaves the run as it was, and no stream open."""
    async with site() as one:
        run = await one.submit("ask")
        reader = Reader(one.api, run["urls"]["events"])
        await reader.event()
        assert one.api.state.server.streams == 1
        await reader.leave()
        assert one.api.state.server.streams == 0
        assert (await one.client.get(run["urls"]["self"])).json()["status"] == "queued"


async def test_silence_is_broken(site: Any) -> None:
    """A comment says that the stream is still there."""
    async with site() as one:
        one.api.state.server.keep_alive = 0.001
        run = await one.submit("ask")
        reader = Reader(one.api, run["urls"]["events"])
        await reader.event()
        assert await reader.piece() == ": still here\n\n"
        await reader.leave()


async def test_a_stream_has_a_longest_life(site: Any) -> None:
    """It ends before its run, so that its reader comes back: with a key that still works, or not.

    The hint says how soon, and the last id goes on where it was.
    """
    async with site() as one:
        run = await one.submit("ask")
        one.api.state.server.longest = 0.01
        async with asyncio.timeout(SECONDS):
            answer = await one.client.get(run["urls"]["events"])
        assert answer.status_code == 200
        assert answer.text.startswith("retry: ")
        assert (await one.client.get(run["urls"]["self"])).json()["status"] == "queued"
        assert one.api.state.server.streams == 0


async def test_draining_ends_streams_and_waits(site: Any) -> None:
    """Readers are let go with a hint to come back, also those who come meanwhile; so is who waits.

    `/readyz` says no.
    """
    async with site() as one:
        run = await one.submit("ask")
        reader = Reader(one.api, run["urls"]["events"])
        await reader.event()
        waiting = asyncio.create_task(
            one.client.post("/v1/runs", json={"operation": "ask"}, headers={"Prefer": "wait=60"})
        )
        async with asyncio.timeout(SECONDS):
            while len(one.api.state.server._held) < 2:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0)
        one.api.state.server.drain()
        await reader.end()
        assert (await waiting).json()["status"] == "queued"
        late = Reader(one.api, run["urls"]["events"])
        assert await late.piece() == "retry: 2000\n\n"
        await late.end()
        ready = await one.client.get("/readyz")
        assert (ready.status_code, ready.json()["code"]) == (503, "busy")
        assert (await one.client.get("/healthz")).json() == {"status": "ok"}


async def test_streams_have_a_cap(site: Any) -> None:
    """One more than `watchers` is asked to come later."""
    async with site(watchers=1) as one:
        run = await one.submit("ask")
        reader = Reader(one.api, run["urls"]["events"])
        await reader.event()
        refused: httpx.Response = await one.client.get(run["urls"]["events"])
        assert (refused.status_code, refused.json()["code"]) == (503, "busy")
        assert int(refused.headers["retry-after"]) > 0
        await reader.leave()


async def test_an_unknown_run_has_no_events(site: Any) -> None:
    """404 before anything is streamed."""
    async with site() as one:
        answer = await one.client.get("/v1/runs/run_nobody/events")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
