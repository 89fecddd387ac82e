"""The server on a real socket: it listens where it may, and ends without losing anything."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from understudy.app import App
from understudy.errors import ConfigError, StorageError, WorkerHeld
from understudy.server import Started, serve
from understudy.settings import Settings

OPERATIONS = Path(__file__).parent / "web" / "operations_of_a_customer.py"
SECONDS = 30.0
"""A deadline that only a fault reaches."""


@contextlib.asynccontextmanager
async def opened(tmp_path: Path, **settings: Any) -> AsyncIterator[App]:
    """An app in an empty home, with test operations."""
    given = {"home": tmp_path / "home", "load": str(OPERATIONS), "port": 0, **settings}
    async with App.open(Settings(**given)) as app:
        yield app


@contextlib.asynccontextmanager
async def serving(app: App, **how: Any) -> AsyncIterator[tuple[Started, asyncio.Task[None]]]:
    """A server of this app, stopped at the end as a signal would."""
    told: asyncio.Future[Started] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(app, ready=told.set_result, **how))
    either: list[asyncio.Future[Any]] = [told, task]
    async with asyncio.timeout(SECONDS):
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        await task
    try:
        yield told.result(), task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_it_answers_and_works(tmp_path: Path) -> None:
    """One process takes a run, drives it and gives its result, over a real connection."""
    async with opened(tmp_path) as app, serving(app) as (started, _):
        assert started.worker is not None
        async with httpx.AsyncClient(base_url=started.url, trust_env=False) as client:
            answer = await client.post(
                "/v1/runs", json={"operation": "echo"}, headers={"Prefer": "wait=30"}
            )
            assert answer.json()["output"] == {"text": "hello0"}
            assert "server" not in answer.headers


async def test_a_first_start_gives_a_link(tmp_path: Path) -> None:
    """It signs in one browser, once; with a key there is none."""
    async with opened(tmp_path) as app:
        async with serving(app, work=False) as (started, _):
            assert started.worker is None
            assert started.link is not None
            assert started.link.startswith(f"{started.url}/dashboard/link/")
            token = started.link.rpartition("/")[2]
            assert (await app.sessions.redeem(token))[1].principal.may("admin")
        await app.keys.create("default", "first", ["admin"])
        async with serving(app, work=False) as (started, _):
            assert started.link is None


async def test_without_a_key_others_are_kept_out(tmp_path: Path) -> None:
    """It refuses to listen on another interface than this machine's own, and says what to do."""
    async with opened(tmp_path) as app:
        for host in ("0.0.0.0", "", "::"):
            with pytest.raises(ConfigError, match="keys create"):
                await serve(app, host=host)


async def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    """The error names the port and the option."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with opened(tmp_path) as app:
            with pytest.raises(ConfigError, match=f"port {port}.*--port"):
                await serve(app, port=port)


async def test_one_worker_on_a_file(tmp_path: Path) -> None:
    """A second server on a SQLite file says who works on it; without a worker it answers."""
    async with opened(tmp_path) as app, opened(tmp_path) as other, serving(app):
        with pytest.raises(WorkerHeld):
            await serve(other)
        async with serving(other, work=False) as (started, _):
            assert (await asyncio.to_thread(httpx.get, f"{started.url}/readyz")).status_code == 200


async def test_what_stops_the_worker_stops_the_server(tmp_path: Path) -> None:
    """A worker that has given up would leave runs undone: the process ends, and says why."""
    async with opened(tmp_path) as app, serving(app) as (_, task):
        (plan,) = app.engine._plans
        plan.failure.set_result(StorageError("the disk is gone"))
        async with asyncio.timeout(SECONDS):
            with pytest.raises(StorageError, match="the disk is gone"):
                await task


async def test_it_ends_in_order(tmp_path: Path) -> None:
    """Told to end: streams end with a hint, who waits is answered, the run is handed back."""
    async with opened(tmp_path) as app, serving(app) as (started, task):
        async with httpx.AsyncClient(base_url=started.url, trust_env=False) as client:
            run = (await client.post("/v1/runs", json={"operation": "ask"})).json()
            async with client.stream("GET", run["urls"]["events"]) as events:
                lines = events.aiter_lines()
                assert await anext(lines) == "retry: 2000"
                while not (await anext(lines)).startswith("data: "):
                    pass
                waiting = asyncio.create_task(
                    client.post(
                        "/v1/runs",
                        json={"operation": "ask"},
                        headers={"Prefer": "wait=60", "Idempotency-Key": "w"},
                    )
                )
                async with asyncio.timeout(SECONDS):
                    while len((await client.get("/v1/runs")).json()["items"]) < 2:
                        pass
                    task.cancel()
                    async for _ in lines:
                        pass
                    assert (await waiting).status_code == 202
                    await asyncio.gather(task, return_exceptions=True)
            with pytest.raises(httpx.ConnectError):
                await client.get("/healthz")
        assert task.cancelled()
        assert (await app.engine.get(run["id"])).claim is None
