"""`understudy work`, as real processes: one on SQLite, several on PostgreSQL."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import understudy as package
from understudy.app import App, _rates
from understudy.db.database import WriterStats
from understudy.settings import Settings

RUNS = 30
PATIENCE = 60.0
SOURCES = str(Path(package.__file__).parents[1])

OPERATIONS = """
    import asyncio, os
    from pathlib import Path
    from pydantic import BaseModel
    from understudy import Context, operation

    class Door(BaseModel):
        said: Path
        gate: Path

    class Through(BaseModel):
        pid: int

    @operation("hold")
    async def hold(ctx: Context, input: Door) -> Through:
        async def through() -> int:
            with input.said.open("a") as said:
                said.write(f"{os.getpid()}\\n")
            while not input.gate.exists():
                await asyncio.sleep(0.02)
            return os.getpid()

        return Through(pid=await ctx.step("through", through))
"""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def operations(tmp_path: Path) -> Path:
    """A file with an operation that says who drives it, then waits for a gate."""
    path = tmp_path / "doors.py"
    path.write_text("\n".join(line[4:] for line in OPERATIONS.splitlines()))
    return path


@pytest.fixture
def door(tmp_path: Path) -> Iterator[tuple[dict[str, str], Any]]:
    """The input of `hold`, and where it can be read which process drives it, a line a run."""
    said = tmp_path / "said"
    os.mkfifo(said)
    # Open for both, so that it never ends between two writers.
    with os.fdopen(os.open(said, os.O_RDWR), "rb", buffering=0) as reader:
        yield {"said": str(said), "gate": str(tmp_path / "gate")}, reader


@pytest.fixture
def start(tmp_path: Path, operations: Path) -> Iterator[Start]:
    """Starts commands on one home, and ends what is left of them."""
    started: list[subprocess.Popen[str]] = []

    def begin(*words: str, **environment: str) -> subprocess.Popen[str]:
        line = ["-m", "understudy", "--home", str(tmp_path / "home"), "--load", str(operations)]
        process = subprocess.Popen(
            [sys.executable, *line, *words],
            env=os.environ | {"PYTHONPATH": SOURCES} | environment,
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


def ended(process: subprocess.Popen[str], code: int = 0) -> tuple[str, str]:
    """What a process printed since, once it has ended with `code`."""
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, (out, err)
    assert "Traceback" not in err
    return out, err


def first_line(process: subprocess.Popen[str]) -> str:
    """What a worker says once it works."""
    assert process.stderr is not None
    return process.stderr.readline()


def drivers(reader: Any, count: int) -> list[int]:
    """The processes that begin so many runs."""
    return [int(next_line(reader)) for _ in range(count)]


def next_line(reader: Any) -> str:
    """One line, and nothing of the next."""
    read = b""
    while not read.endswith(b"\n"):
        read += reader.read(1)
    return read.decode()


async def test_two_workers_share_the_runs_and_one_ends_them(
    start: Start,
    door: tuple[dict[str, str], Any],
    operations: Path,
    postgres_url: str,
    tmp_path: Path,
) -> None:
    """Each drives some; the one that is stopped hands back its own, and the other goes on."""
    data, reader = door
    shared = {"UNDERSTUDY_DATABASE_URL": postgres_url, "UNDERSTUDY_DRAIN_SECONDS": "0"}
    workers = [start("work", **shared), start("work", **shared)]
    assert all(": working on postgresql:" in first_line(worker) for worker in workers)
    settings = Settings(database_url=postgres_url, home=tmp_path / "home", load=str(operations))
    async with App.open(settings) as app:
        asked = (app.engine.submit("hold", data, tenant=app.tenant) for _ in range(RUNS))
        runs = await asyncio.gather(*asked)
        began = await asyncio.to_thread(drivers, reader, RUNS)
        first, second = (began.count(worker.pid) for worker in workers)
        assert first > 0
        assert second > 0
        assert first + second == RUNS

        top = json.loads((await asyncio.to_thread(ended, start("top", "--json", **shared)))[0])
        assert {worker["pid"]: worker["driving"] for worker in top["workers"]} == {
            workers[0].pid: first,
            workers[1].pid: second,
        }
        assert all({"commits", "queued"} <= worker["writer"].keys() for worker in top["workers"])
        assert [queue["running"] for queue in top["queues"]] == [RUNS]

        workers[0].terminate()
        _, err = await asyncio.to_thread(ended, workers[0])
        assert err.endswith(f": stopped; {first} runs handed back\n".replace(" 1 runs", " 1 run"))
        again = await asyncio.to_thread(drivers, reader, first)
        assert again == [workers[1].pid] * first
        await asyncio.to_thread(Path(data["gate"]).touch)
        done = [await app.engine.result(run.id) for run in runs]
    assert [run.output for run in done] == [f'{{"pid":{workers[1].pid}}}'] * RUNS
    workers[1].terminate()
    assert ended(workers[1])[1].endswith(": stopped; 0 runs handed back\n")


def test_on_sqlite_one_works_and_the_others_hand_over(
    start: Start, door: tuple[dict[str, str], Any]
) -> None:
    """A second worker is told who works; what others submit is driven at once."""
    data, reader = door
    worker = start("work")
    assert " hold, " in first_line(worker).partition("; operations: ")[2]
    _, err = ended(start("work"), 1)
    assert f"process {worker.pid}" in err
    fields = [word for name, value in data.items() for word in ("--set", f"{name}={value}")]
    run_id = ended(start("run", "hold", *fields, "--detach"))[0].strip()
    assert drivers(reader, 1) == [worker.pid]
    top, _ = ended(start("top", COLUMNS="80"))
    assert "1 worker; runs: 1 driven, 0 due, 0 held, 0 parked" in top
    assert str(worker.pid) in top
    assert run_id in top  # in a pipe nothing is cut
    Path(data["gate"]).touch()
    assert ended(start("runs", "watch", run_id))[0] == f"pid: {worker.pid}\n"
    worker.send_signal(signal.SIGINT)
    assert ended(worker)[1].endswith(": stopped; 0 runs handed back\n")


def test_a_script_gets_lines_of_json(start: Start) -> None:
    """One when it works and one when it has ended, both with its name."""
    worker = start("work", "--json")
    assert worker.stdout is not None
    began = json.loads(worker.stdout.readline())
    assert (began["event"], began["pid"]) == ("started", worker.pid)
    assert "hold" in began["operations"]
    worker.terminate()
    done = json.loads(ended(worker)[0])
    assert done == {"event": "stopped", "worker": began["worker"], "handed_back": 0}


def test_a_worker_s_rates_are_those_since_its_last_word() -> None:
    """What happened before does not dilute them, and an idle writer has none."""
    before = WriterStats(commits=10, units=1000, commit_seconds=5.0)
    after = WriterStats(commits=30, units=1100, commit_seconds=5.1)
    assert _rates(before, after, 2.0) == {
        "commits_per_s": 10.0,
        "units_per_s": 50.0,
        "mean_batch": 5.0,
        "commit_ms": 5.0,
    }
    assert set(_rates(after, after, 2.0).values()) == {0.0}
