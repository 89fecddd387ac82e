"""Run operations in a test: a worker over a journal, on a clock that moves only when told.

    async with Harness([count]) as harness:
        run = await harness.submit("count", {"n": 3})
        assert (await harness.finish(run.id)).status == "succeeded"

`crash` loses everything but the journal and starts another worker, as after a SIGKILL; `beside`
makes a second worker on the same clock. Nothing here sleeps: `settle` returns once only time, a
signal or a thread can make anything happen.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any, Self, Unpack, cast

from pydantic import BaseModel

from understudy.clock import ManualClock
from understudy.db.database import Database
from understudy.engine.drive import Kit
from understudy.engine.engine import Engine, How
from understudy.engine.journal import Journal
from understudy.engine.journals.database import DatabaseJournal
from understudy.engine.operation import Operation
from understudy.engine.plans.embedded import Embedded, Limits
from understudy.engine.registry import Provide, Registry
from understudy.engine.run import Run, Scope, Step
from understudy.engine.schedules import Schedules

TENANT = "tenant"

_NOBODY_ELSE = 1e9
"""Seconds between looks at what other processes did; here there are none."""

_QUIET_TURNS = 60
"""Turns of the event loop without a call of the journal, after which nothing is about to happen."""

_STRIDES = 40


class Given(BaseModel, extra="allow"):
    """An input that takes any fields."""


class Answer(BaseModel):
    """An output that holds anything."""

    value: Any = None


class Harness:
    """One worker, restarted at will. `provided` meets the operations' needs, by type.

    `clock` (a `ManualClock`), `engine`, `plan` and `journal` are open to a test. Without `limits`
    a worker hears nothing of other processes but what its journal tells, and its lease is endless.
    """

    def __init__(
        self,
        operations: Iterable[Operation[Any, Any]],
        *,
        journal: Journal | None = None,
        provided: Mapping[type, object] | None = None,
        limits: Limits | None = None,
        scope: Scope | None = None,
        clock: ManualClock | None = None,
    ) -> None:
        self.clock = clock or ManualClock()
        self._watched = _Watched(journal or DatabaseJournal(Database.in_memory()))
        self.journal = cast("Journal", self._watched)
        self._provided: dict[type, Provide] = {
            type_: partial(_given, value) for type_, value in (provided or {}).items()
        }
        self._limits = limits or Limits(poll_every=_NOBODY_ELSE, lease=_NOBODY_ELSE)
        self._scope = scope
        self._all = [self._watched]
        self._build(operations)

    def beside(
        self,
        operations: Iterable[Operation[Any, Any]],
        *,
        journal: Journal,
        limits: Limits | None = None,
    ) -> Harness:
        """A second worker on the same clock, to be started; what is settled is so for both.

        `journal` is its own view of the same database, as `peers` makes them.
        """
        limits = limits or self._limits
        other = Harness(operations, journal=journal, limits=limits, clock=self.clock)
        self._all.append(other._watched)
        other._all = self._all
        return other

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.plan.kill()

    # The worker.

    async def start(self) -> None:
        """Start a worker, which first recovers what dead ones left."""
        kit = Kit(
            self.journal, self.registry, self.clock, woken=lambda _: None, chance=random.Random(1)
        )
        scope = self._scope or self.registry.scope()
        schedules = Schedules(self.journal, self.registry, self.clock, TENANT)
        self.plan = Embedded(kit, scope, self._limits, schedules)
        await self.plan.start()
        self.engine.attach(self.plan)

    async def stop(self) -> None:
        """Drain the worker. What is in flight must end by itself, or by `advance` meanwhile."""
        self.engine.detach(self.plan)
        await self.plan.stop()

    async def crash(self, operations: Iterable[Operation[Any, Any]] | None = None) -> None:
        """Lose the worker and all its memory and start another, with other code if given."""
        await self.kill()
        await self.journal.leave(self.plan.worker)  # as if its lease had run out
        if operations is not None:
            self._build(operations)
        await self.start()

    async def kill(self) -> None:
        """Lose the worker and all its memory; its lease runs on."""
        self.engine.detach(self.plan)
        await self.plan.kill()

    # Time.

    async def settle(self) -> None:
        """Return once nothing happens any more by itself. Threads are not waited for."""
        quiet, seen = 0, self._calls
        while quiet < _QUIET_TURNS:
            for watched in self._all:
                await watched.idle()
            await asyncio.sleep(0)
            quiet = quiet + 1 if seen == self._calls else 0
            seen = self._calls
        # A write that changes nothing comes after all that was posted.
        for watched in self._all:
            await watched.wake("", now=self.clock.now())

    async def advance(self, seconds: float) -> None:
        """Let everything happen, move the clock, and again."""
        await self.settle()
        self.clock.advance(seconds)
        await self.settle()

    # Runs.

    async def submit(
        self,
        operation: str,
        input: Mapping[str, Any] | None = None,  # noqa: A002 - the author's word
        **how: Unpack[How],
    ) -> Run:
        """Accept a run and drive it as far as it goes by itself."""
        run = await self.engine.submit(operation, input or {}, tenant=TENANT, **how)
        await self.settle()
        return await self.engine.get(run.id)

    async def finish(self, run_id: str) -> Run:
        """The run once it is done; the clock moves by ever longer strides until then."""
        for stride in range(_STRIDES):
            await self.settle()
            run = await self.engine.get(run_id)
            if run.done:
                return run
            self.clock.advance(2.0 ** (stride - 4))
        raise AssertionError(f"{run_id} does not end by time alone: {run}")

    async def result(self, run_id: str) -> Run:
        """The run once it is done, without moving the clock; for steps that run in threads."""
        ended = self._watched.ended
        run = await self.engine.get(run_id)
        while not run.done:
            # What ended while we read is not in what we have read.
            ended = await self._watched.more_than(ended + 1)
            run = await self.engine.get(run_id)
        return run

    async def run(self, operation: str, input: Mapping[str, Any] | None = None) -> Run:  # noqa: A002
        """Submit and finish."""
        return await self.finish((await self.submit(operation, input)).id)

    async def emit(self, name: str, data: Any = None, *, idempotency_key: str | None = None) -> int:
        """Send a signal and let everything happen; how many runs it woke, canceled or started."""
        told = await self.engine.emit(name, data, tenant=TENANT, idempotency_key=idempotency_key)
        await self.settle()
        return told

    async def status(self, run_id: str) -> str:
        """The run's state."""
        return (await self.engine.get(run_id)).status

    async def steps(self, run_id: str) -> dict[str, Step]:
        """What the run remembers, by key, in the order of its calls."""
        return {step.key: step for step in await self.engine.steps(run_id)}

    async def output(self, run_id: str) -> Any:
        """The output of a run that has succeeded, as JSON."""
        run = await self.engine.get(run_id)
        assert run.status == "succeeded", run
        return json.loads(run.output or "null")

    @property
    def _calls(self) -> int:
        return sum(watched.calls for watched in self._all)

    def _build(self, operations: Iterable[Operation[Any, Any]]) -> None:
        self.registry = Registry(operations, self._provided)
        self.engine = Engine(self.journal, self.registry, self.clock)


def _given(value: object, _: Run) -> object:
    return value


class _Watched:
    """A journal whose calls are counted, so that one can wait for the end of all."""

    def __init__(self, journal: Journal) -> None:
        self.calls = 0
        self.ended = 0
        self._journal = journal
        self._open = 0
        self._closed = asyncio.Event()

    async def idle(self) -> None:
        while self._open:
            self._closed.clear()
            await self._closed.wait()

    async def more_than(self, count: int) -> int:
        """How many calls have ended, once they are more."""
        while self.ended <= count:
            self._closed.clear()
            await self._closed.wait()
        return self.ended

    def beats(self, *args: Any, **kwargs: Any) -> Any:
        beats: Any = self._journal.beats(*args, **kwargs)
        beats.once = self._counted(beats.once)
        return beats

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._journal, name)
        return self._counted(method) if inspect.iscoroutinefunction(method) else method

    def _counted(self, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def call(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            self._open += 1
            try:
                return await method(*args, **kwargs)
            finally:
                self._open -= 1
                self.ended += 1
                self._closed.set()

        return call
