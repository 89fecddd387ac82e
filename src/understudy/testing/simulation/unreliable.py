"""The journal as a process has it that may be stopped, over a database that is not always there."""

from __future__ import annotations

import asyncio
import inspect
import random
from collections.abc import Awaitable, Callable
from typing import Any

from understudy.engine.journal import Journal
from understudy.engine.run import Step
from understudy.errors import StorageError
from understudy.testing.simulation.books import Books
from understudy.testing.simulation.clock import WorldClock
from understudy.testing.simulation.tally import FAULTS, Tally

HEARD_AFTER = 45.0
"""Seconds after which everybody has looked for what they were not told."""

_INSISTED = frozenset(
    {"record", "await_signal", "start_child", "emit", "park", "release", "finish", "child_of"}
)
"""A driver makes these again when they are refused."""

_FATAL = frozenset({"claim", "take_poke", "recover"})
"""A worker gives up when these are refused, and is started again."""

_CLIENTS = frozenset({"submit", "signal", "cancel", "retry", "fork"})

_ALONE = frozenset({"record", "await_signal", "child_of"})
"""Nobody else is told what these answer, so the answer may be late."""

_WORDS = {
    "submit": "submit",
    "signal": "signal",
    "cancel": "cancel",
    "retry": "retry",
    "fork": "fork",
    "await_signal": "wait",
    "emit": "emit",
    "start_child": "call",
    "park": "park",
    "take_poke": "poke",
    "finish": "finish",
    "release": "release",
}
_STEPS = {"step": "step", "sleep": "pause", "call": "call"}


_SHARE = 0.5
"""Of the faults, in a history."""

_ODDS = (
    {("refused", name): 0.03 for name in _INSISTED}
    | {("unsure", name): 0.03 for name in _INSISTED}
    | {("refused", name): 0.1 for name in _CLIENTS}
    | {("unsure", name): 0.15 for name in _CLIENTS}
    | {("refused", name): 0.01 for name in _FATAL}
)


class Life:
    """One life of a process, from its start until it is gone."""

    def __init__(self) -> None:
        self.gone = False
        self.stopped = False
        self.drained = False
        self.shaken = False
        """Its lease may have run out while it worked."""
        self.doomed = False
        """It gives up, since what it cannot do without was refused."""
        self.tokens: dict[tuple[str, int], str] = {}
        self._continued = asyncio.Event()

    def stop(self) -> None:
        """As by SIGSTOP."""
        self.stopped = self.shaken = True
        self._continued.clear()

    def go_on(self) -> None:
        """As by SIGCONT."""
        self.stopped = False
        self._continued.set()

    async def gate(self) -> None:
        """Return once the process goes on; never, if it is gone."""
        while self.stopped or self.gone:
            if self.gone:
                await asyncio.get_running_loop().create_future()
            await self._continued.wait()


class Weather:
    """What all processes share besides the database: time, chance, and the books."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self.dice = self._chance.random
        self.faults = {fault for fault in FAULTS if self.dice() < _SHARE}
        """Some faults hide others, so each history has some of them, and more of these."""
        self.clock = WorldClock()
        self.tally = Tally()
        self.books = Books()
        self.listeners: list[tuple[object, Callable[[], None]]] = []
        self.open = 0
        self.calls = 0
        self.calm_at = 0.0

    @property
    def calm(self) -> bool:
        """Whether everybody has heard of everything by now."""
        return self.clock.passed >= self.calm_at

    def forgive(self, seconds: float) -> None:
        """Something was lost that is noticed only so much later."""
        self.calm_at = max(self.calm_at, self.clock.passed + seconds)

    def announce(self, sender: object) -> None:
        """A change that all other processes are told about."""
        for listener, hear in self.listeners:
            if listener is sender:
                continue
            if "unheard" in self.faults and self.dice() < 0.06:
                self.tally.fault("unheard")
                self.forgive(HEARD_AFTER)
            else:
                hear()

    async def linger(self) -> None:
        """A few turns of the loop, in which others may overtake."""
        if "late" not in self.faults or self.dice() < 0.5:
            return
        before = self.calls
        for _ in range(self._chance.choice((1, 2, 7, 15))):
            await asyncio.sleep(0)
        if self.calls != before:
            self.tally.fault("late")

    def trouble(self, name: str, args: tuple[Any, ...]) -> str | None:
        """What goes wrong with a call, if anything."""
        fault = "refused" if self.dice() < 0.5 else "unsure"
        odds = _ODDS.get((fault, name), 0.0)
        if fault not in self.faults or self.dice() >= odds:
            return None
        if fault == "unsure" and name in {"submit", "signal"} and _key(args[0]) is None:
            return None  # nobody would ask again
        return fault


class Unreliable:
    """A journal that takes its time before it begins, so that calls overtake each other.

    Its answers come in the order of the changes, as from a database; only those that nobody else
    is told about may be late, too.
    """

    def __init__(self, journal: Journal, life: Life, weather: Weather) -> None:
        self._journal = journal
        self._life = life
        self._weather = weather

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._journal, name)
        if not inspect.iscoroutinefunction(method):
            return method

        async def call(*args: Any, **kwargs: Any) -> Any:
            said = (*args, *kwargs.values())
            return await self._call(name, lambda: method(*args, **kwargs), said)

        setattr(self, name, call)
        return call

    async def _call(
        self, name: str, make: Callable[[], Awaitable[Any]], args: tuple[Any, ...]
    ) -> Any:
        life, weather = self._life, self._weather
        await weather.linger()
        await life.gate()
        trouble = weather.trouble(name, args)
        if trouble is not None:
            weather.tally.fault(trouble)
            weather.forgive(HEARD_AFTER if trouble == "unsure" else 0.2)
            life.doomed = life.doomed or name in _FATAL
        if trouble == "refused":
            self._count(name, args, None)
            raise StorageError(f"{name} is refused by chance")
        weather.calls += 1
        weather.open += 1
        try:
            answer = await make()
        finally:
            weather.open -= 1
        self._count(name, args, answer)
        self._enter(name, args, answer)
        if trouble == "unsure":
            raise StorageError(f"{name} was done, and the answer is lost")
        if name in _ALONE:
            await weather.linger()
        if life.stopped or life.gone:
            await life.gate()
        return answer

    def _count(self, name: str, args: tuple[Any, ...], answer: Any) -> None:
        """What was done, or asked for and refused."""
        act = self._weather.tally.act
        if name in _WORDS:
            act(_WORDS[name])
        elif name == "record":
            act(_STEPS[args[1].kind])
        elif name == "claim":
            for _ in answer.runs if answer else (1,):
                act("claim")
        elif name == "fail_overdue":
            for _ in answer:
                act("finish")
        elif name == "recover" and answer != []:
            self._weather.tally.fault("lapsed")
            act("adopt")

    def _enter(self, name: str, args: tuple[Any, ...], answer: Any) -> None:
        """Write into the books what a change means."""
        books = self._weather.books
        if name == "claim":
            for claimed in answer.runs:
                self._life.tokens[claimed.run.id, claimed.run.epoch] = claimed.claim.token
            books.claimed(answer.runs)
        elif name == "record" and args[1].kind == "step":
            step: Step = args[1]
            if step.state == "succeeded":
                books.stored(step)
        elif name in {"finish", "park", "release"}:
            books.left(args[0].token)
        elif name == "schedule" and answer and args[3] is None:
            books.first_slot = args[2].next_at


def _key(asked: Any) -> str | None:
    """The idempotency key of a submission or a signal."""
    run = getattr(asked, "run", asked)
    key: str | None = run.idempotency_key
    return key
