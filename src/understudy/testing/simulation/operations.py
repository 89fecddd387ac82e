"""What runs in a history: random programs, under every kind of flow control."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import BaseModel

from understudy.clock import Clock
from understudy.engine.context import Context
from understudy.engine.cron import Cron
from understudy.engine.flow import (
    CancelOn,
    Concurrency,
    Failure,
    Throttle,
    Timeout,
    Trigger,
)
from understudy.engine.operation import Operation, operation
from understudy.engine.retry import Retry
from understudy.engine.run import Run
from understudy.errors import Transient, WaitTimeout
from understudy.testing.simulation.books import Books

Instruction = list[Any]

CONCURRENCY = Concurrency(total=3, key="key", each=1)
THROTTLE = Throttle(limit=2, period=10.0)
TIMEOUT = Timeout(start=100.0, finish=40.0)
CRON = Cron("0 * * * *", missed="all")
_RETRY = Retry(attempts=3, first=0.5, factor=8)


class Program(BaseModel):
    """What a run does, one instruction after the other.

    `key` is its concurrency key, `ahead` its priority; `order`, `kind` and `mark` come from the
    signal that started it.
    """

    code: list[Instruction]
    key: str = ""
    ahead: float = 0.0
    order: str = ""
    kind: str = ""
    mark: str = ""


class Log(BaseModel):
    """What a run's instructions answered."""

    answers: list[Any] = []


class Nothing(BaseModel):
    """The input of what starts by the clock."""


@dataclasses.dataclass(frozen=True)
class Place:
    """The process that a run is driven in."""

    life: Any
    books: Books
    clock: Clock

    def of(self, run: Run) -> Here:
        """Where the bodies of a run are."""
        return Here(self, run)


@dataclasses.dataclass(frozen=True)
class Here:
    """What a driven run needs: its process, and under which claim it is there."""

    place: Place
    run: Run

    async def effect(self, name: str, plan: tuple[int, float]) -> dict[str, Any]:
        """Fails so many times, taking so many seconds."""
        failures, seconds = plan
        execution = self.place.books.begin(name, self.run, self.place.life)
        finished = False
        try:
            await self.place.clock.sleep(seconds)
            finished = execution.number > failures
        finally:
            await self._clean_up(execution, finished=finished)
        if not finished:
            raise Transient(f"failure {execution.number}")
        return {"place": name, "execution": execution.number}

    async def _clean_up(self, execution: Any, *, finished: bool) -> None:
        """What cleans up after itself takes a moment, also when it is ended."""
        try:
            for _ in range(3):
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            finished = False
            raise
        finally:
            self.place.books.end(execution, finished=finished)


@operation("plain", retry=_RETRY, priority=lambda program: program.ahead)
async def plain(ctx: Context, input: Program, *, here: Here) -> Log:  # noqa: A002 - the author's word
    """Some runs overtake others."""
    return await _Run(ctx, here).all(input)


@operation("keyed", retry=_RETRY, concurrency=CONCURRENCY)
async def keyed(ctx: Context, input: Program, *, here: Here) -> Log:  # noqa: A002
    """One at a time for each key, three in all."""
    return await _Run(ctx, here).all(input)


@operation("throttled", retry=_RETRY, throttle=THROTTLE)
async def throttled(ctx: Context, input: Program, *, here: Here) -> Log:  # noqa: A002
    """Two in ten seconds."""
    return await _Run(ctx, here).all(input)


@operation("mourn")
async def mourn(ctx: Context, input: Failure) -> Log:  # noqa: A002, ARG001
    """Follows a failure."""
    return Log()


@operation("timed", retry=_RETRY, timeout=TIMEOUT, on_failure=mourn)
async def timed(ctx: Context, input: Program, *, here: Here) -> Log:  # noqa: A002
    """Has its deadlines, and is mourned."""
    return await _Run(ctx, here).all(input)


@operation(
    "ordered",
    retry=_RETRY,
    trigger=[Trigger("go", {"kind": "new"})],
    cancel_on=[CancelOn("stop", match="order")],
)
async def ordered(ctx: Context, input: Program, *, here: Here) -> Log:  # noqa: A002
    """Started by one signal and canceled by another."""
    return await _Run(ctx, here).all(input)


@operation("hourly", cron=CRON)
async def hourly(ctx: Context, input: Nothing) -> Log:  # noqa: A002, ARG001
    """Started by the clock."""
    return Log()


OPERATIONS: tuple[Operation[Any, Any], ...] = (
    plain,
    keyed,
    throttled,
    mourn,
    timed,
    ordered,
    hourly,
)


class _Run:
    """A program while it runs."""

    def __init__(self, ctx: Context, here: Here) -> None:
        self._ctx = ctx
        self._effect = here.effect
        self._books = here.place.books
        self._instructions: dict[str, Callable[..., Awaitable[Any]]] = {
            "step": self._step,
            "map": self._map,
            "sleep": self._sleep,
            "wait": self._wait,
            "emit": self._emit,
            "call": self._call,
            "both": self._both,
        }

    async def all(self, program: Program) -> Log:
        """Its answers."""
        return Log(answers=await self._some(program.code, self._ctx.run_id))

    async def _some(self, code: list[Instruction], at: str) -> list[Any]:
        return [
            await self._instructions[name](f"{at}/{number}", *rest)
            for number, (name, *rest) in enumerate(code)
        ]

    async def _step(self, at: str, failures: int, seconds: float) -> Any:
        result = await self._ctx.step("step", self._effect, at, (failures, seconds))
        self._books.answered(at, result)
        return result

    async def _map(self, at: str, plans: list[tuple[int, float]]) -> Any:
        async def item(numbered: tuple[int, tuple[int, float]]) -> dict[str, Any]:
            number, plan = numbered
            return await self._effect(f"{at}[{number}]", plan)

        results = await self._ctx.map("map", item, enumerate(plans), limit=2)
        for number, result in enumerate(results):
            self._books.answered(f"{at}[{number}]", result)
        return results

    async def _sleep(self, _: str, seconds: float) -> None:
        await self._ctx.sleep(seconds)

    async def _wait(self, _: str, name: str, match: dict[str, Any], seconds: float) -> Any:
        try:
            return await self._ctx.wait(name, match=match, timeout=seconds)
        except WaitTimeout:
            return None

    async def _emit(self, at: str, name: str, data: dict[str, Any]) -> None:
        # What a retry forgets is sent again.
        await self._ctx.emit(name, {**data, "mark": f"{at} try {self._ctx.attempt}"})

    async def _call(self, _: str, name: str, program: dict[str, Any]) -> Any:
        return await self._ctx.call(name, program)

    async def _both(self, at: str, *codes: list[Instruction]) -> Any:
        branches = (self._some(code, f"{at}.{n}") for n, code in enumerate(codes))
        return await asyncio.gather(*branches)
