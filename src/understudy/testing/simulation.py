"""A random world around a journal and a worker: what may go wrong does, in a repeatable order.

    faults = await simulate(seed, MemoryJournal())

Runs of random programs are submitted, signalled, canceled, tried again, and the worker crashes or
drains, at random moments of a clock that moves only when told. `simulate` returns what was broken
of the engine's promises; nothing, if all is well. The order of the journal's answers is random
too, by the seed; with a database its threads add a little of their own.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, cast

from pydantic import BaseModel

from understudy.engine.context import Context
from understudy.engine.journal import Journal
from understudy.engine.operation import Operation, operation
from understudy.engine.retry import Retry
from understudy.engine.run import Run, RunFilter, Step
from understudy.errors import Conflict, Transient, WaitTimeout
from understudy.testing.harness import TENANT, Harness

_ACTIONS = 40
_PATIENCE = 300
_NAMES = ("red", "blue")
_EVERYTHING = RunFilter(TENANT, limit=10_000)

Instruction = list[Any]


class Program(BaseModel):
    """What a run does, one instruction after the other; see `_Author`."""

    code: list[Instruction]


class Log(BaseModel):
    """What a run's instructions answered."""

    answers: list[Any]


async def simulate(seed: int, journal: Journal) -> list[str]:
    """The promises that were broken, in words; each names the run."""
    world = _World(seed, journal)
    async with world.harness:
        for _ in range(_ACTIONS):
            await world.act()
        await world.end()
    return world.faults


class _World:
    def __init__(self, seed: int, journal: Journal) -> None:
        self.chance = random.Random(seed)
        self.works = _Works()
        late = cast("Journal", _Late(journal, random.Random(seed + 1)))
        self.harness = Harness([self.works.operation()], journal=late)
        self.works.clock = self.harness.clock
        self.signals: list[tuple[float, str, str]] = []
        self.runs: list[str] = []
        self.faults = self.works.faults

    async def act(self) -> None:
        """One random thing, then some turns of the loop or all that happens by itself."""
        actions: dict[Callable[[], Awaitable[None]], int] = {
            self._submit: 6,
            self._signal: 4,
            self._wait: 6,
            self._cancel: 2,
            self._retry: 2,
            self._crash: 2,
            self._drain: 1,
        }
        (action,) = self.chance.choices([*actions], [*actions.values()])
        await action()
        if self.chance.random() < 0.4:
            await self.harness.settle()
            await self._check()
        else:
            for _ in range(self.chance.randrange(30)):
                await asyncio.sleep(0)

    async def end(self) -> None:
        """Given time, every run ends; then the books are compared."""
        for turn in range(_PATIENCE):
            await self.harness.advance((1, 8, 700)[turn % 3])
            await self._check()
            runs = await self.harness.journal.list(_EVERYTHING)
            if all(run.done for run in runs):
                break
        self.faults += [f"{run.id} never ends: {run}" for run in runs if not run.done]
        if self.harness.plan.failure.done():
            self.faults.append(f"the worker gave up: {self.harness.plan.failure.result()}")
        for run in runs:
            self._audit(run, await self.harness.journal.steps(run.id))

    # What happens.

    async def _submit(self) -> None:
        program = Program(code=_Author(self.chance).code(depth=2))
        run = await self.harness.engine.submit("program", program, tenant=TENANT)
        self.runs.append(run.id)

    async def _signal(self) -> None:
        name, mark = self.chance.choice(_NAMES), f"signal {len(self.signals)}"
        self.signals.append((self.harness.clock.now(), name, mark))
        await self.harness.engine.emit(name, mark, tenant=TENANT)

    async def _wait(self) -> None:
        self.harness.clock.advance(self.chance.choice((0.1, 1, 3, 10, 60)))

    async def _cancel(self) -> None:
        await self._ask(self.harness.engine.cancel)

    async def _retry(self) -> None:
        await self._ask(self.harness.engine.retry)

    async def _ask(self, of: Callable[[str], Awaitable[Run]]) -> None:
        if self.runs:
            try:
                await of(self.chance.choice(self.runs))
            except Conflict:
                return

    async def _crash(self) -> None:
        await self.harness.crash()

    async def _drain(self) -> None:
        stop = asyncio.create_task(self.harness.stop())
        while not stop.done():
            await self.harness.advance(5)
        await stop
        await self.harness.start()

    # What must be true.

    async def _check(self) -> None:
        """Once nothing happens by itself: nobody was forgotten."""
        now = self.harness.clock.now()
        for run in await self.harness.journal.list(_EVERYTHING):
            due = run.wake_at is not None and run.wake_at <= now
            if due and run.claim is None:
                self.faults.append(f"lost wake-up: {run.id} is due and nobody drives it")
            elif due:
                self.faults.append(f"lost poke: {run.id} was woken and its driver did not look")
            elif (run.waiting_for or {}).get("kind") == "operator":
                self.faults.append(f"{run.id} diverged, but no code has changed: {run}")
            elif not run.done:
                self._look_for_signals(run, await self.harness.journal.steps(run.id))

    def _look_for_signals(self, run: Run, steps: list[Step]) -> None:
        if any(step.state == "failed" and step.kind != "wait" for step in steps):
            return  # it has failed already and only finishes what runs
        used = {step.result for step in steps if step.kind == "wait"}
        for step in steps:
            if step.kind != "wait" or step.state != "waiting":
                continue
            for at, name, mark in self.signals:
                due = step.due_at is None or at <= step.due_at
                if (
                    name == step.name
                    and run.created_at <= at
                    and due
                    and json.dumps(mark) not in used
                ):
                    self.faults.append(f"lost signal: {run.id} does not see {mark}")

    def _audit(self, run: Run, steps: list[Step]) -> None:
        used = Counter(step.result for step in steps if step.kind == "wait" and step.result)
        self.faults += [f"{run.id} used {mark} twice" for mark, n in used.items() if n > 1]
        for step in steps:
            if step.kind == "step" and step.state == "succeeded":
                done = json.loads(step.result or "null")
                if done["execution"] != self.works.executions[done["place"]]:
                    self.faults.append(f"{done['place']} ran again after its result was stored")


class _Works:
    """The programs' side effects, and the books that are kept of them."""

    def __init__(self) -> None:
        self.clock: Any = None
        self.executions: Counter[str] = Counter()
        self.faults: list[str] = []
        self._running: set[str] = set()

    def operation(self) -> Operation[Any, Any]:
        """The one operation: it runs a program."""

        @operation("program", retry=Retry(attempts=3, first=0.5, factor=8))
        async def program(ctx: Context, input: Program) -> Log:  # noqa: A002
            return Log(answers=await self._run(ctx, input.code, ctx.run_id))

        return program

    async def _run(self, ctx: Context, code: list[Instruction], place: str) -> list[Any]:
        return [
            await getattr(self, f"_{name}")(ctx, f"{place}/{number}", *rest)
            for number, (name, *rest) in enumerate(code)
        ]

    async def _step(self, ctx: Context, place: str, failures: int, seconds: float) -> Any:
        return await ctx.step("step", self._effect, place, failures, seconds)

    async def _map(self, ctx: Context, place: str, plan: list[tuple[int, float]]) -> Any:
        async def item(numbered: tuple[int, tuple[int, float]]) -> Any:
            number, (failures, seconds) = numbered
            return await self._effect(f"{place}[{number}]", failures, seconds)

        return await ctx.map("map", item, enumerate(plan), limit=2)

    async def _sleep(self, ctx: Context, _: str, seconds: float) -> None:
        await ctx.sleep(seconds)

    async def _wait(self, ctx: Context, _: str, name: str, seconds: float) -> Any:
        try:
            return await ctx.wait(name, timeout=seconds)
        except WaitTimeout:
            return None

    async def _call(self, ctx: Context, _: str, code: list[Instruction]) -> Any:
        return await ctx.call("program", {"code": code})

    async def _both(self, ctx: Context, place: str, *codes: list[Instruction]) -> Any:
        branches = (self._run(ctx, code, f"{place}.{n}") for n, code in enumerate(codes))
        return await asyncio.gather(*branches)

    async def _effect(self, place: str, failures: int, seconds: float) -> Any:
        """Fails so many times, taking so long; never twice at once, and counted."""
        if place in self._running:
            self.faults.append(f"{place} runs twice at once")
        self._running.add(place)
        self.executions[place] += 1
        execution = self.executions[place]
        try:
            await self.clock.sleep(seconds)
        finally:
            await self._clean_up(place)
        if execution <= failures:
            raise Transient(f"failure {execution}")
        return {"place": place, "execution": execution}

    async def _clean_up(self, place: str) -> None:
        """What cleans up after itself takes a moment, also when it is ended."""
        try:
            for _ in range(3):
                await asyncio.sleep(0)
        finally:
            self._running.discard(place)


class _Author:
    """Writes random programs."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def code(self, depth: int) -> list[Instruction]:
        """One to three instructions; `depth` limits programs inside programs."""
        kinds = ["step", "step", "sleep", "wait", "map", *(["call", "both"] if depth else [])]
        return [
            self._instruction(self._chance.choice(kinds), depth)
            for _ in range(self._chance.randint(1, 3))
        ]

    def _instruction(self, kind: str, depth: int) -> Instruction:
        chance = self._chance
        if kind == "sleep":
            return [kind, chance.choice((0, 1, 30, 600))]
        if kind == "wait":
            return [kind, chance.choice(_NAMES), chance.choice((1, 30, 600))]
        if kind == "map":
            return [kind, [self._effort() for _ in range(chance.randint(0, 4))]]
        if kind == "call":
            return [kind, self.code(depth - 1)]
        if kind == "both":
            # A branch is known by its first call.
            first = ["step", 0, 0]
            return [kind, *([first, *self.code(depth - 1)] for _ in range(2))]
        return [kind, *self._effort()]

    def _effort(self) -> tuple[int, float]:
        chance = self._chance
        return chance.choice((0, 0, 0, 1, 2, 4)), chance.choice((0, 0, 0.5, 5))


class _Late:
    """A journal that takes its time before it begins, so that calls overtake each other.

    Its answers come in the order of the changes, as from a database; only those that nobody else
    is told about may be late, too.
    """

    def __init__(self, journal: Journal, chance: random.Random) -> None:
        self._journal = journal
        self._chance = chance

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._journal, name)
        if not inspect.iscoroutinefunction(method):
            return method

        async def call(*args: Any, **kwargs: Any) -> Any:
            await self._linger()
            answer = await method(*args, **kwargs)
            if name in {"record", "await_signal", "child_of"}:
                await self._linger()
            return answer

        return call

    async def _linger(self) -> None:
        for _ in range(self._chance.choice((0, 0, 0, 1, 2, 7))):
            await asyncio.sleep(0)
