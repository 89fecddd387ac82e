"""What runs go through, as programs: steps and failures, waits and signals, limits, the clock.

Between them they pass every failpoint. A scenario is played by a person who, after a crash, begins
anew and asks for the same again: all that is asked has an idempotency key.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from understudy.clock import ManualClock
from understudy.engine.journal import Past
from understudy.engine.operation import Operation
from understudy.engine.run import Request, Run, RunFilter, Submission
from understudy.errors import Transient
from understudy.testing import scenario_operations as makers
from understudy.testing.harness import TENANT, Harness

ALL_RUNS = RunFilter(tenant=TENANT, limit=1000)

_STRIDES = 60
_HOOK = "https://example.com/hook"


class World:
    """What steps do to the outside, and the books of it; it outlives every process.

    With `book`, a file, also the processes that are really killed.
    """

    def __init__(self, book: Path | None = None) -> None:
        self.executions: Counter[str] = Counter()
        self.accepted: set[str] = set()
        self._book = book
        self._time: float | None = None
        self._clock: ManualClock | None = None
        if book is not None and book.exists():
            self._remember(book.read_text(encoding="utf-8").splitlines())

    def now(self) -> float:
        """The time in the process that lives."""
        assert self._clock is not None
        return self._clock.now()

    async def sleep(self, seconds: float) -> None:
        """Pass that time."""
        assert self._clock is not None
        await self._clock.sleep(seconds)

    def advance(self, seconds: float) -> None:
        """Move the clock of the process that lives."""
        assert self._clock is not None
        self._clock.advance(seconds)

    def enter(self, clock: ManualClock) -> None:
        """A process begins, on this clock, at the time when the one before ended."""
        if self._clock is not None:
            self._time = self._clock.now()
        if self._time is not None:
            clock.advance(self._time - clock.now())
        self._clock = clock

    async def effect(self, place: str, seconds: float = 0.0, fails: int = 0) -> Any:
        """Something that must not happen again once its result is remembered."""
        self._write("effect", place)
        self.executions[place] += 1
        execution = self.executions[place]
        await self.sleep(seconds)
        if execution <= fails:
            raise Transient(f"failure {execution}")
        return {"place": place, "execution": execution}

    def accept(self, run_id: str) -> None:
        """Somebody was told that a run is accepted."""
        self._write("accepted", run_id)
        self.accepted.add(run_id)

    def forget(self, run_id: str) -> None:
        """An accepted run is about to be deleted, on purpose."""
        self._write("forgotten", run_id)
        self.accepted.discard(run_id)

    def operations(self) -> list[Operation[Any, Any]]:
        """Everything that the scenarios run."""
        return [operation for make in makers.ALL for operation in make(self)]

    def tells(self) -> Callable[[Run], Submission]:
        """What makes the run that tells a webhook of another one's end."""
        return makers.telling(self)

    def _write(self, word: str, what: str) -> None:
        if self._book is not None:
            with self._book.open("a", encoding="utf-8") as book:
                book.write(f"{word} {what} {self.now()!r}\n")

    def _remember(self, lines: list[str]) -> None:
        for word, what, time in map(str.split, lines):
            if word == "effect":
                self.executions[what] += 1
            elif word == "accepted":
                self.accepted.add(what)
            else:
                self.accepted.discard(what)
            self._time = float(time)


class Person:
    """Somebody who asks for things, and asks again after a crash, not knowing what was heard."""

    def __init__(self, world: World, harness: Harness) -> None:
        self.world = world
        self.harness = harness
        self.gave_up = asyncio.Event()

    async def submit(self, name: str, key: str = "", **data: Any) -> str:
        """The id of a run."""
        submit = self.harness.engine.submit
        run = await submit(name, data, tenant=TENANT, idempotency_key=f"{name}{key}")
        self.world.accept(run.id)
        return run.id

    async def ask(self, name: str, key: str = "") -> str:
        """The id of a run whose end is told to a webhook, asked for by a request."""
        request = Request(f"{name}{key}", name)
        accept = self.harness.engine.accept
        accepted = await accept(name, {}, tenant=TENANT, request=request, webhook=_HOOK)
        self.world.accept(accepted.run.id)
        return accepted.run.id

    async def until(self, run_id: str, *states: str) -> Run:
        """The run once it is in one of the states, or done; the clock moves until then."""
        for stride in range(_STRIDES):
            await self.harness.settle()
            run = await self.harness.engine.get(run_id)
            if run.done or run.status in states:
                return run
            self.harness.clock.advance(1.5 ** (stride - 4))
        raise AssertionError(f"{run} does not come to {states or 'its end'}")

    async def emit(self, name: str, key: str, data: Any) -> None:
        """Send a signal, once."""
        await self.harness.engine.emit(name, data, tenant=TENANT, idempotency_key=key)

    async def drain(self) -> None:
        """Stop the worker and start another."""
        await self.stop()
        await self.start()

    async def start(self) -> None:
        """Start a worker; `gave_up` is set if it gives up."""
        await self.harness.start()
        self.harness.plan.failure.add_done_callback(lambda _: self.gave_up.set())

    async def stop(self) -> None:
        """Stop the worker; time passes meanwhile."""
        stop = asyncio.create_task(self.harness.stop())
        try:
            while not stop.done():
                await self.harness.advance(1)
            await stop
        finally:
            stop.cancel()

    async def all_done(self) -> None:
        """Until nothing is unfinished."""
        for run in await self.harness.engine.unfinished(TENANT):
            await self.until(run.id)


Scenario = Callable[[Person], Awaitable[None]]


async def steps_one_by_one(person: Person) -> None:
    """Three steps, one after the other."""
    await person.submit("steps")


async def map_with_retries(person: Person) -> None:
    """Four items, two at once, some of which fail at first."""
    await person.submit("map")


async def sleep_for_long(person: Person) -> None:
    """A run that leaves memory between two steps."""
    await person.submit("sleeper")


async def wait_for_signals(person: Person) -> None:
    """One signal finds the run parked, the other finds it at work."""
    run = await person.submit("waiter")
    await person.until(run, "waiting")
    await person.emit("reply", "first", {"number": 1, "text": "yes"})
    await person.harness.settle()
    await person.emit("reply", "second", {"number": 2, "text": "no"})


async def call_children(person: Person) -> None:
    """Two children side by side, one of which sleeps."""
    await person.until(await person.submit("parent"))


async def emit_and_trigger(person: Person) -> None:
    """A run and a person send what starts another."""
    await person.until(await person.submit("teller"))
    await person.emit("made", "by hand", {"what": "film"})


async def cancel_at_work_and_asleep(person: Person) -> None:
    """One run is canceled while a step runs, one while it sleeps."""
    at_work, asleep = await person.submit("steps", "1"), await person.submit("sleeper")
    await person.until(asleep, "waiting")
    for run in (at_work, asleep):
        await person.harness.engine.cancel(run)


async def retry_the_failed(person: Person) -> None:
    """A run fails, is mourned, and succeeds the second time."""
    run = await person.submit("fragile")
    if (await person.until(run)).status == "failed":
        await person.harness.engine.retry(run)


async def start_by_the_clock(person: Person) -> None:
    """Hours pass, some of them at once."""
    start = person.harness.clock.now() // 86400 * 86400
    for hour in (20, 22):
        await person.harness.advance(max(0.0, start + hour * 3600 - person.harness.clock.now()))


async def keep_to_limits(person: Person) -> None:
    """More runs than may work at once, or start in a minute."""
    for number in range(5):
        await person.submit("one-by-one", str(number), who="a" if number < 3 else "b")
        await person.submit("spread", str(number))


async def miss_the_start(person: Person) -> None:
    """The second of two runs waits for too long."""
    for number in range(2):
        await person.submit("hurried", str(number))


async def drain_and_go_on(person: Person) -> None:
    """The worker hands its runs over, and another takes them."""
    await person.submit("steps")
    await person.submit("sleeper")
    await person.harness.settle()
    await person.drain()


async def resume_by_hand(person: Person) -> None:
    """A sleeping run is woken before its time."""
    run = await person.submit("sleeper")
    if not (await person.until(run, "waiting")).done:
        await person.harness.engine.resume(run)


async def fork_what_has_failed(person: Person) -> None:
    """What a failed run remembers begins another."""
    run = await person.submit("fragile", "2")
    await person.until(run)
    if not any(one.forked_from for one in await person.harness.engine.list(ALL_RUNS)):
        await person.harness.engine.fork(run)


async def forget_the_past(person: Person) -> None:
    """A finished run is deleted."""
    run = await person.submit("steps", "old")
    await person.until(run)
    person.world.forget(run)
    await person.harness.journal.forget(Past(person.harness.clock.now() + 1))


async def ask_and_be_told(person: Person) -> None:
    """Requests whose ends are told: one by its driver, one by a cancel, one after a failure."""
    asleep = await person.ask("sleeper")
    await person.ask("steps")
    await person.ask("fragile")
    await person.until(asleep, "waiting")
    await person.harness.engine.cancel(asleep)


SCENARIOS: tuple[Scenario, ...] = (
    steps_one_by_one,
    map_with_retries,
    sleep_for_long,
    wait_for_signals,
    call_children,
    emit_and_trigger,
    cancel_at_work_and_asleep,
    retry_the_failed,
    start_by_the_clock,
    keep_to_limits,
    miss_the_start,
    drain_and_go_on,
    resume_by_hand,
    fork_what_has_failed,
    forget_the_past,
    ask_and_be_told,
)
