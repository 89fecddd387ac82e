"""A new release takes over while runs are in flight: real processes, one after another or both."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

PATIENCE = 60.0
RUNS = 8
OPERATIONS = '''
import asyncio, os
from pathlib import Path
from pydantic import BaseModel
from understudy import Context, operation

class Doors(BaseModel):
    said: Path
    gate: Path

class Through(BaseModel):
    first: int
    second: int

@operation("pass")
async def pass_(ctx: Context, input: Doors) -> Through:
    """A step that ends, then one that waits for the gate; both tell which process does them."""
    def say(what: str) -> int:
        with input.said.open("a") as said:
            said.write(f"{what} {os.getpid()}\\n")
        return os.getpid()

    async def through() -> int:
        pid = say("second")
        while not input.gate.exists():
            await asyncio.sleep(0.02)
        return pid

    first = await ctx.step("first", say, "first")
    return Through(first=first, second=await ctx.step("second", through))
'''

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts commands on one home; what is left of them at the end is killed."""
    started: list[subprocess.Popen[str]] = []
    operations = tmp_path / "doors.py"
    operations.write_text(OPERATIONS)

    def begin(*words: str, **environment: str) -> subprocess.Popen[str]:
        line = ["-m", "understudy", "--home", str(tmp_path / "home"), "--load", str(operations)]
        process = subprocess.Popen(
            [sys.executable, *line, *words],
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def doors(tmp_path: Path) -> Iterator[tuple[dict[str, str], Any]]:
    """The input of `pass`, and what its steps say, a line each."""
    said = tmp_path / "said"
    os.mkfifo(said)
    # Open for both, so that it never ends between two writers.
    with os.fdopen(os.open(said, os.O_RDWR), "rb", buffering=0) as reader:
        yield {"said": str(said), "gate": str(tmp_path / "gate")}, reader


def server(start: Start, **environment: str) -> tuple[subprocess.Popen[str], str]:
    """A `serve` that listens, and its URL."""
    process = start("serve", "--port", "0", "--json", UNDERSTUDY_DRAIN_SECONDS="0", **environment)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.communicate()
    return process, json.loads(line)["url"]


def stopped(process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    """What a server logged, once SIGTERM has ended it."""
    process.terminate()
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode in {0, 143}, err
    assert "Traceback" not in err
    return [json.loads(line) for line in err.splitlines() if line.startswith("{")]


def submit(url: str, data: dict[str, str]) -> str:
    """A run that was accepted."""
    answer = httpx.post(f"{url}/v1/runs", json={"operation": "pass", "input": data}, timeout=30)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def result(url: str, run_id: str) -> dict[str, Any]:
    """How a run ended, asked of a server."""
    prefer = {"Prefer": "wait=50"}
    answer = httpx.get(f"{url}/v1/runs/{run_id}", headers=prefer, timeout=PATIENCE)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def said(reader: Any, count: int) -> list[tuple[str, int]]:
    """So many lines of the steps, each with the process that ran it."""
    read = b""
    while read.count(b"\n") < count:
        read += reader.read(1)
    pairs = (line.split() for line in read.decode().splitlines())
    return [(what, int(pid)) for what, pid in pairs]


def test_on_sqlite_the_new_release_goes_on_after_the_old_one(
    start: Start, doors: tuple[dict[str, str], Any], tmp_path: Path
) -> None:
    """SIGTERM hands the runs back; the next process drives them on, with no finished step again."""
    data, reader = doors
    old, url = server(start)
    ids = [submit(url, data) for _ in range(RUNS)]
    began = said(reader, 2 * RUNS)
    assert sorted(began) == [*[("first", old.pid)] * RUNS, *[("second", old.pid)] * RUNS]
    logged = stopped(old)
    handed_back = [line["run"] for line in logged if line["event"] == "run_handed_back"]
    assert sorted(handed_back) == sorted(ids)

    new, url = server(start)
    assert said(reader, RUNS) == [("second", new.pid)] * RUNS
    Path(data["gate"]).touch()
    outputs = [result(url, run_id)["output"] for run_id in ids]
    assert outputs == [{"first": old.pid, "second": new.pid}] * RUNS
    ended = [line["run"] for line in stopped(new) if line["event"] == "run_ended"]
    assert sorted(ended) == sorted(ids)

    shown = start("runs", "logs", ids[0], "--json")
    lines = json.loads(shown.communicate(timeout=PATIENCE)[0])["lines"]
    events = [line["event"] for line in lines]
    assert events.count("run_handed_back") == events.count("run_ended") == 1


def test_on_postgresql_the_new_release_stands_beside_the_old_one(
    start: Start, doors: tuple[dict[str, str], Any], postgres_url: str
) -> None:
    """The new one is started first, so somebody always answers; then it takes the runs over."""
    data, reader = doors
    shared = {"UNDERSTUDY_DATABASE_URL": postgres_url}
    old, url = server(start, **shared)
    ids = [submit(url, data) for _ in range(RUNS)]
    assert {pid for _, pid in said(reader, 2 * RUNS)} == {old.pid}
    new, url = server(start, **shared)
    assert httpx.get(f"{url}/v1/runs/{ids[0]}").json()["status"] == "running"
    stopped(old)
    assert said(reader, RUNS) == [("second", new.pid)] * RUNS
    Path(data["gate"]).touch()
    outputs = [result(url, run_id)["output"] for run_id in ids]
    assert outputs == [{"first": old.pid, "second": new.pid}] * RUNS
    stopped(new)
