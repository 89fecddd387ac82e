"""Proof: workers on one PostgreSQL are killed and paused; every run ends, and nothing twice."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from understudy.app import App
from understudy.errors import ConfigError
from understudy.settings import Settings
from understudy.testing.postgres import PostgresServer

STEPS = 5
LEASE = 1.0
EVERY = 2.0
"""Seconds between two disturbances, and how long a paused worker stays paused."""

PACE = 0.1
"""Seconds between two batches of runs, which arrive for as long as the disturbances last."""

OPERATION = """
    import asyncio, os, random, time
    from pydantic import BaseModel
    from understudy import Context, operation

    class Job(BaseModel):
        number: int

    class Done(BaseModel):
        executions: list[str]

    def note(word: str, job: int, step: int, execution: str) -> None:
        line = f"{word} {job} {step} {execution} {os.getpid()} {time.time():.6f}\\n"
        log = os.open(os.environ["SIDE_EFFECTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(log, line.encode())
        os.close(log)

    async def work(job: int, step: int) -> str:
        execution = os.urandom(8).hex()
        note("start", job, step, execution)
        await asyncio.sleep(random.Random(job * 100 + step).uniform(0.02, 0.2))
        note("end", job, step, execution)
        return execution

    @operation("job")
    async def job(ctx: Context, input: Job) -> Done:
        done = [await ctx.step("work", work, input.number, step) for step in range(5)]
        return Done(executions=done)
"""

WORKER = """
    import asyncio, signal
    from understudy.app import App
    from understudy.settings import Settings

    async def main() -> None:
        told = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
        async with App.open(Settings()) as app, app.worker() as plan:
            print("works", flush=True)
            stop = asyncio.ensure_future(told.wait())
            await asyncio.wait({plan.failure, stop}, return_when=asyncio.FIRST_COMPLETED)
            if plan.failure.done():
                raise plan.failure.result()

    asyncio.run(main())
"""

RESULTS = """
    SELECT r.input, r.status, s.seq, s.result, s.ended_at
    FROM runs AS r LEFT JOIN steps AS s ON s.run_id = r.id AND s.state = 'succeeded'
    ORDER BY r.id, s.seq
"""


class Workers:
    """Worker processes, by number; each is started again when it was killed."""

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        self._folder = folder
        self._variables = variables
        self._script = folder / "worker.py"
        self._script.write_text(textwrap.dedent(WORKER))
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, count: int) -> None:
        """Start so many, and wait until each works."""
        fresh = [self._spawn() for _ in range(count)]
        self.processes += fresh
        for process in fresh:
            assert process.stdout is not None
            assert process.stdout.readline() == b"works\n", self.said()

    def kill(self, number: int) -> None:
        """End one without a word, and start another in its place."""
        self._bury(self.processes[number])
        self.processes[number] = self._spawn()

    def send(self, number: int, what: signal.Signals) -> None:
        """Send a signal to one."""
        assert self.processes[number].poll() is None, self.said()
        self.processes[number].send_signal(what)

    def stop(self) -> None:
        """Have all hand over their work and end; fails if one does not end well."""
        for process in self.processes:
            process.terminate()
        codes = [process.wait(60) for process in self.processes]
        self.close()
        assert codes == [0] * len(codes), self.said()

    def close(self) -> None:
        """Leave none behind."""
        for process in self.processes:
            self._bury(process)
        self.processes = []

    def said(self) -> str:
        """What they complained about."""
        return (self._folder / "workers.log").read_text()[-8000:]

    def _spawn(self) -> subprocess.Popen[bytes]:
        with (self._folder / "workers.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, str(self._script)],
                env=self._variables,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )

    def _bury(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@dataclasses.dataclass(frozen=True)
class Scene:
    """One database, the workers on it, and an app that submits to them."""

    app: App
    workers: Workers
    log: Path

    async def submit(self, numbers: range) -> None:
        """Accept a run for each number."""
        engine, tenant = self.app.engine, self.app.tenant
        given = [{"number": number} for number in numbers]
        await asyncio.gather(*(engine.submit("job", one, tenant=tenant) for one in given))

    async def ended(self, patience: float) -> None:
        """Return once every run has ended; fails if that takes too long."""
        deadline = time.monotonic() + patience
        while left := await self.app.engine.unfinished(self.app.tenant):
            if time.monotonic() > deadline:
                pytest.fail(f"{len(left)} runs do not end: {left[0]}\n{self.workers.said()}")
            await asyncio.sleep(0.1)

    def starts(self) -> dict[tuple[int, int], list[tuple[str, float]]]:
        """When each step's body began, again and again if so: (execution, time)."""
        found: dict[tuple[int, int], list[tuple[str, float]]] = defaultdict(list)
        for line in self.log.read_text().splitlines():
            word, job, step, execution, _, at = line.split()
            if word == "start":
                found[int(job), int(step)].append((execution, float(at)))
        return found


@pytest.fixture(scope="module")
def durable() -> Iterator[PostgresServer]:
    """A PostgreSQL as in production: a commit that was told is on the disk."""
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(PostgresServer(durable=True))
        except ConfigError as error:
            pytest.skip(str(error))
        yield server


def furnished(folder: Path) -> tuple[Path, Path]:
    """The operation's file, and the empty log of its effects."""
    folder.mkdir()
    own, log = folder / "job.py", folder / "effects.log"
    own.write_text(textwrap.dedent(OPERATION))
    log.touch()
    return own, log


@contextlib.asynccontextmanager
async def scene(
    server: PostgresServer, folder: Path, build: Callable[..., Any]
) -> AsyncIterator[Scene]:
    """A scene on a database of its own; no worker survives it."""
    own, log = furnished(folder)
    url = server.create(folder.name)
    house = build(
        folder / "home",
        SIDE_EFFECTS=log,
        UNDERSTUDY_HOME=folder / "home",
        UNDERSTUDY_DATABASE_URL=url,
        UNDERSTUDY_LEASE_SECONDS=LEASE,
        UNDERSTUDY_LOAD=own,
    )
    settings = Settings(home=folder / "home", database_url=url, load=str(own))
    async with App.open(settings) as app:
        workers = Workers(folder, house.environment)
        try:
            yield Scene(app, workers, log)
        finally:
            workers.close()


def check(scene: Scene, url: str, runs: int) -> tuple[int, int]:
    """All runs have succeeded, and no body began once its result was stored.

    How many bodies ran again, and how many steps that concerns.
    """
    starts = scene.starts()
    seen: Counter[str] = Counter()
    late = []
    with psycopg.connect(url) as connection:
        rows = connection.execute(RESULTS).fetchall()
    for given, status, seq, result, ended_at in rows:
        job = json.loads(given)["number"]
        assert status == "succeeded", (job, status)
        seen[given] += 1
        stored = json.loads(result)
        begun = starts[job, seq]
        assert stored in dict(begun), f"step {seq} of {job} has a result that no body gave"
        late += [(job, seq, at - ended_at) for _, at in begun if at > ended_at]
    assert not late, f"{len(late)} finished steps ran again: {late[:5]}"
    assert len(seen) == runs, "runs are lost"
    assert set(seen.values()) == {STEPS}
    assert len(starts) == runs * STEPS
    return sum(map(len, starts.values())) - runs * STEPS, sum(len(s) > 1 for s in starts.values())


async def disturb(workers: Workers, events: int, chance: random.Random) -> None:
    """Every two seconds kill one worker, or pause one for as long, in turn."""
    count = len(workers.processes)
    for _ in range(events):
        await asyncio.sleep(EVERY)
        workers.kill(chance.randrange(count))
        await asyncio.sleep(EVERY)
        paused = chance.randrange(count)
        workers.send(paused, signal.SIGSTOP)
        asyncio.get_running_loop().call_later(EVERY, workers.send, paused, signal.SIGCONT)
    await asyncio.sleep(EVERY + 0.1)


@pytest.mark.prove
async def test_killed_and_paused_workers_lose_nothing_and_repeat_nothing_finished(
    tmp_path: Path,
    durable: PostgresServer,
    rounds: Callable[[int, int], int],
    build: Callable[..., Any],
    chance: random.Random,
) -> None:
    """Work arrives while workers get SIGKILL and SIGSTOP in turn: all of it is done, once."""
    runs, events = rounds(2000, 60), rounds(15, 1)
    count = 4 if events > 1 else 2
    started = time.monotonic()
    async with scene(durable, tmp_path / "disturbed", build) as here:
        here.workers.start(count)
        trouble = asyncio.create_task(disturb(here.workers, events, chance))
        begun = time.monotonic()
        batches = round((2 * events + 1) * EVERY / PACE)
        for batch in range(batches):
            await here.submit(range(batch * runs // batches, (batch + 1) * runs // batches))
            await asyncio.sleep(max(0.0, begun + (batch + 1) * PACE - time.monotonic()))
        await trouble
        await here.ended(60)
        here.workers.stop()
        again, steps = check(here, durable.url("disturbed"), runs)
    print(  # noqa: T201
        f"{count} workers, {runs} runs of {STEPS} steps, {events} SIGKILL, {events} SIGSTOP:"
        f" {again} bodies of {steps} steps ran again before a result was stored, none after;"
        f" {time.monotonic() - started:.0f} s"
    )


@pytest.mark.prove
async def test_undisturbed_workers_share_and_repeat_nothing(
    tmp_path: Path,
    durable: PostgresServer,
    rounds: Callable[[int, int], int],
    build: Callable[..., Any],
) -> None:
    """One, two and four workers on the same work: each step runs once; the rate is printed."""
    runs = rounds(1500, 0)
    for count in (1, 2, 4) if runs else ():
        async with scene(durable, tmp_path / f"workers{count}", build) as here:
            here.workers.start(count)
            started = time.monotonic()
            await here.submit(range(runs))
            await here.ended(120)
            seconds = time.monotonic() - started
            here.workers.stop()
            assert check(here, durable.url(f"workers{count}"), runs) == (0, 0)
        rate = runs / seconds
        print(  # noqa: T201
            f"{count} workers: {runs} runs in {seconds:.1f} s,"
            f" {rate:.0f} runs/s, {rate * STEPS:.0f} steps/s"
        )
