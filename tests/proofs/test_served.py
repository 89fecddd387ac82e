"""Proof: servers are killed, cut off and doubled; no accepted run is lost, and none is twice."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import sqlite3
import textwrap
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from tests.conftest import Rounds
from tests.proofs.conftest import SEED

from understudy.testing.serving import Served

PATIENCE = 60.0
HOST = "127.0.0.1"

OPERATIONS = """
    import asyncio
    from pydantic import BaseModel
    from understudy import Context, operation

    class Given(BaseModel):
        text: str = ""

    async def work() -> int:
        await asyncio.sleep(0.1)
        return 1

    @operation("note")
    async def note(ctx: Context, input: Given) -> Given:
        await ctx.step("work", work)
        return input

    @operation("waits")
    async def waits(ctx: Context, input: Given) -> Given:
        await ctx.wait("go", match={"text": input.text})
        return input

    @operation("long")
    async def long(ctx: Context, input: Given) -> Given:
        for _ in range(10):
            await ctx.step("work", work)
        return input
"""


def server(home: Path, **settings: str) -> Served:
    """One `understudy serve` as a process of its own, with the operations above."""
    home.mkdir()
    operations = home / "operations.py"
    operations.write_text(textwrap.dedent(OPERATIONS))
    return Served(home, operations, lease_seconds=1, **settings)


def drain(*servers: Served) -> None:
    """Have each end well."""
    for one in servers:
        assert one.stop() == 128 + signal.SIGTERM


@contextlib.asynccontextmanager
async def serving(*servers: Served) -> AsyncIterator[httpx.AsyncClient]:
    """The servers, started, and somebody who talks to them."""
    try:
        for one in servers:
            await asyncio.to_thread(one.start)
        async with httpx.AsyncClient(timeout=PATIENCE) as http:
            yield http
    finally:
        for one in servers:
            one.kill()


async def submitted(http: httpx.AsyncClient, one: Served, operation: str, text: str) -> str:
    """The id of a run that the server accepted."""
    body = {"operation": operation, "input": {"text": text}}
    answer = await http.post(f"{one.url}/v1/runs", json=body)
    assert answer.status_code == 202, answer.text
    run_id: str = answer.json()["id"]
    return run_id


async def ended(http: httpx.AsyncClient, one: Served, run_id: str) -> dict[str, Any]:
    """The run, once it has ended."""
    ends = time.monotonic() + PATIENCE
    while True:
        answer = await http.get(f"{one.url}/v1/runs/{run_id}")
        assert answer.status_code == 200, answer.text
        run: dict[str, Any] = answer.json()
        if run["done"]:
            return run
        assert time.monotonic() < ends, run
        await asyncio.sleep(0.1)


@pytest.mark.prove
async def test_a_killed_server_loses_no_accepted_run(tmp_path: Path, rounds: Rounds) -> None:
    """Under load it is killed again and again; whatever got a 202 has succeeded in the end."""
    one, chance = server(tmp_path / "home"), random.Random(SEED)
    kills, accepted, over = rounds(30, 2), set[str](), asyncio.Event()
    async with serving(one) as http:

        async def client() -> None:
            while not over.is_set():
                with contextlib.suppress(httpx.TransportError):
                    accepted.add(await submitted(http, one, "note", "under load"))
                await asyncio.sleep(0.01)

        clients = [asyncio.create_task(client()) for _ in range(20)]
        for _ in range(kills):
            enough = len(accepted) + chance.randrange(1, 200)
            while len(accepted) < enough:
                await asyncio.sleep(0.001)
                for task in clients:
                    assert not task.done(), task.result()
            one.kill()
            await asyncio.to_thread(one.start)
        over.set()
        await asyncio.gather(*clients)
        for run_id in sorted(accepted):
            assert (await ended(http, one, run_id))["status"] == "succeeded"
        drain(one)
    print(f"{kills} SIGKILL under load, {len(accepted)} runs accepted with a 202, 0 lost")  # noqa: T201


@pytest.mark.prove
async def test_one_key_is_one_run_whoever_hangs_up(tmp_path: Path, rounds: Rounds) -> None:
    """50 clients at once send one key, and hang up at any moment: each key has exactly one run."""
    one, chance, keys = server(tmp_path / "home"), random.Random(SEED), rounds(100, 5)
    async with serving(one) as http:
        for number in range(keys):
            key = f"key-{number}"
            await asyncio.gather(*(hang_up(one, key, chance.random()) for _ in range(50)))
            body = {"operation": "note", "input": {"text": key}}
            headers = {"Idempotency-Key": key}
            answers = [
                await http.post(f"{one.url}/v1/runs", json=body, headers=headers) for _ in range(2)
            ]
            assert len({answer.json()["id"] for answer in answers}) == 1
            assert answers[1].headers["Idempotent-Replayed"] == "true"
            other = {"operation": "note", "input": {"text": "another"}}
            refused = await http.post(f"{one.url}/v1/runs", json=other, headers=headers)
            assert refused.status_code == 422, refused.text
        drain(one)
    with contextlib.closing(sqlite3.connect(tmp_path / "home" / "understudy.db")) as database:
        found = database.execute(
            "SELECT input, count(*) FROM runs WHERE operation = 'note' GROUP BY input"
        ).fetchall()
    assert sorted(json.loads(text)["text"] for text, _ in found) == sorted(
        f"key-{number}" for number in range(keys)
    )
    assert {count for _, count in found} == {1}
    print(f"{keys} keys x 50 clients that hang up at any moment: one run each")  # noqa: T201


async def hang_up(one: Served, key: str, moment: float) -> None:
    """Ask, and close the connection: in the middle of the request, or soon after it."""
    body = json.dumps({"operation": "note", "input": {"text": key}}).encode()
    request = (
        f"POST /v1/runs HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n"
        f"Idempotency-Key: {key}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    reader, writer = await asyncio.open_connection(HOST, urlsplit(one.url).port)
    if moment < 0.2:
        writer.write(request[: int(5 * moment * len(request))])
        await writer.drain()
    else:
        writer.write(request)
        await writer.drain()
        if moment > 0.6:
            await reader.read(1)
        else:
            await asyncio.sleep(moment / 100)
    writer.transport.abort()


async def test_two_servers_share_every_run(tmp_path: Path, postgres_url: str) -> None:
    """What one took on is watched, signalled and canceled through the other."""
    one, two = (server(tmp_path / name, database_url=postgres_url) for name in ("a", "b"))
    async with serving(one, two) as http:
        watched = await submitted(http, one, "long", "watched")
        events = await watch(http, two, watched)
        assert json.loads(events[-1]["data"])["status"] == "succeeded"
        assert len({event["id"] for event in events}) > 3

        told = [await submitted(http, one, "waits", f"told {number}") for number in range(4)]
        for number in range(4):
            said = {"name": "go", "data": {"text": f"told {number}"}}
            answer = await http.post(f"{two.url}/v1/signals", json=said)
            assert answer.is_success, answer.text
        for run_id in told:
            assert (await ended(http, one, run_id))["status"] == "succeeded"

        unwanted = [await submitted(http, one, "waits", "never") for _ in range(4)]
        for run_id in unwanted:
            answer = await http.post(f"{two.url}/v1/runs/{run_id}/cancel")
            assert answer.is_success, answer.text
        for run_id in unwanted:
            assert (await ended(http, one, run_id))["status"] == "canceled"
        drain(one, two)


async def test_a_killed_servers_runs_end_on_the_other(tmp_path: Path, postgres_url: str) -> None:
    """All that it had accepted, begun or not; and a watcher at the other sees each to its end."""
    one, two = (server(tmp_path / name, database_url=postgres_url) for name in ("a", "b"))
    async with serving(one, two) as http:
        runs = [await submitted(http, one, "long", str(number)) for number in range(20)]
        watching = asyncio.create_task(watch(http, two, runs[0]))
        one.kill()
        for run_id in runs:
            assert (await ended(http, two, run_id))["status"] == "succeeded"
        assert json.loads((await watching)[-1]["data"])["status"] == "succeeded"
        drain(two)


async def watch(http: httpx.AsyncClient, one: Served, run_id: str) -> list[dict[str, str]]:
    """All events of a run that the server tells, until it closes the stream."""
    events: list[dict[str, str]] = []
    async with http.stream("GET", f"{one.url}/v1/runs/{run_id}/events") as answer:
        assert answer.status_code == 200
        event: dict[str, str] = {}
        async for line in answer.aiter_lines():
            if not line:
                if "data" in event:
                    events.append(event)
                event = {}
            elif not line.startswith(":"):
                name, _, value = line.partition(": ")
                event[name] = value
    return events
