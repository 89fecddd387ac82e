"""One claimed run while it is being driven: what is in flight, what pauses, why it must stop.

An operation's calls are *active* while they work and *paused* while they wait for a time or a
signal. Once everything that is left pauses for long, the run leaves memory: the driver stops the
operation's task and parks the row until the earliest time, or a wake.
"""

from __future__ import annotations

import asyncio
import dataclasses
import math
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from functools import partial
from typing import Any, ParamSpec, TypeVar

from understudy.clock import Clock
from understudy.engine.branch import Branch
from understudy.engine.interrupts import (
    CancelInterrupt,
    EndedInterrupt,
    Interrupt,
    ReleaseInterrupt,
    SuspendInterrupt,
    TimeoutInterrupt,
)
from understudy.engine.journal import Journal
from understudy.engine.progress import Progress
from understudy.engine.registry import Registry
from understudy.engine.replay import Call, Replay
from understudy.engine.run import Claimed, Step
from understudy.errors import Diverged, StorageError

T = TypeVar("T")
P = ParamSpec("P")

SHORT_PAUSE = 2.0
"""Seconds: a shorter pause is slept in memory, and so long a wait stays there for its signal."""

_WRITE_AGAIN = (0.1, 0.5, 2.0, 5.0)
"""Seconds between tries of a write that the disk refused; then the worker gives up."""

_TURNS = 20
"""Turns of the event loop that a branch gets to go on: after a call returns, each task or gather
between the call and the operation takes one or two."""


def _surely() -> None:
    """Nobody else could take the runs."""


@dataclasses.dataclass(frozen=True)
class Kit:
    """What every driver of a worker shares.

    `held` is None while the worker is sure that what it has claimed is still its own, else it
    returns once it is.
    """

    journal: Journal
    registry: Registry
    clock: Clock
    woken: Callable[[list[str]], None]
    chance: random.Random = dataclasses.field(default_factory=random.Random)
    short_pause: float = SHORT_PAUSE
    held: Callable[[], Awaitable[None] | None] = _surely


@dataclasses.dataclass(slots=True)
class _Pause:
    """`wakes` is the number of wakes that the waiting call had seen, None if it heeds none."""

    until: float | None
    leaves_at: float
    waiting_for: dict[str, Any]
    wakes: int | None


class Drive:
    """The state of one driven run, between the operation's calls and the worker."""

    def __init__(self, claimed: Claimed, kit: Kit) -> None:
        self.run = claimed.run
        self.claim = claimed.claim
        self.kit = kit
        self.journal = kit.journal
        self.clock = kit.clock
        self.replay = Replay(claimed.steps)
        # Kept, since Python 3.11 asks the system for the process's id to find the running loop.
        self.loop = asyncio.get_running_loop()
        self.root = Branch(self.loop)
        self.ending: BaseException | None = None
        self.body: asyncio.Task[Any] | None = None
        self.wakes = 0
        self._active = 0
        self._inside: set[asyncio.Task[Any] | None] = set()
        self._left: asyncio.Future[None] | None = None
        self._stopped = False
        self._pauses: dict[asyncio.Task[Any] | None, _Pause] = {}
        self._pokes = 0
        self._woken: asyncio.Future[None] | None = None
        self._settler: asyncio.Task[None] | None = None
        self._deadline: asyncio.Task[None] | None = None
        self._progress = Progress(partial(kit.journal.progress, claimed.claim), kit.clock)

    # The operation's side.

    def check(self) -> None:
        """Raise why the run must stop, if it must. Every call begins here."""
        if self.ending is not None:
            raise self.ending

    def ask(self, kind: Any, name: str) -> Call:
        """The next call of that kind and name, checked against the journal."""
        self.check()
        try:
            return self.replay.ask(name, kind, self.root.here().path)
        except Diverged as diverged:
            raise self._diverge(diverged) from None

    def ask_items(self, name: str, count: int) -> list[Call]:
        """The calls of a map's items, checked against the journal."""
        self.check()
        try:
            return self.replay.ask_items(name, count, self.root.here().path)
        except Diverged as diverged:
            raise self._diverge(diverged) from None

    async def active(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a call's work, counted as something that keeps the run in memory."""
        task = asyncio.current_task(self.loop)
        self._inside.add(task)
        self._active += 1
        try:
            return await work
        finally:
            self._active -= 1
            self._inside.discard(task)
            if self._left is not None and not self._inside and not self._left.done():
                self._left.set_result(None)
            if self._pauses or self.ending is not None:
                self._settle()

    async def begin(self, call: Call) -> None:
        """Refuse a new call that comes where the journal remembers another one.

        Only a sequential operation can be judged: beside other branches, a new call may simply
        come earlier than a remembered one.
        """
        if (
            call.step is None
            and self.replay.first_unasked is not None
            and asyncio.current_task(self.loop) is self.body
        ):
            # A branch that was started just before gets its turn to ask for what is its own.
            for _ in range(_TURNS):
                await asyncio.sleep(0)
                if self.replay.first_unasked is None:
                    return
            if self._active == 1 and not self._pauses:
                try:
                    self.replay.check_new(call)
                except Diverged as diverged:
                    raise self._diverge(diverged) from None

    def record(self, step: Step) -> Coroutine[Any, Any, None]:
        """Remember how a step stands. Durable on return."""
        return self.insist(self.journal.record, self.claim, step)

    async def insist(self, write: Callable[P, Awaitable[T]], *of: P.args, **named: P.kwargs) -> T:
        """Make a change, again if the disk refuses it: what a step has done is not thrown away.

        After the last refusal the operation cannot go on, whatever it makes of the error.
        """
        for pause in _WRITE_AGAIN:
            try:
                return await write(*of, **named)
            except StorageError:
                await self.clock.sleep(pause)
        try:
            return await write(*of, **named)
        except StorageError as error:
            self.ending = error
            raise

    async def pause(
        self, until: float | None, waiting_for: dict[str, Any], *, wakes: int | None = None
    ) -> None:
        """Return when `until` has passed or, given the `wakes` seen so far, at the next wake.

        Read `self.wakes` before looking at the journal: a wake that comes between the look and the
        pause then ends the pause at once. A long pause ends by the run leaving memory; a wait may
        be answered soon and so stays for a moment first.
        """
        now = self.clock.now()
        short = self.kit.short_pause
        if until is not None and until - now <= short:
            await self._until(until, wakes)
            return
        self.check()
        task = asyncio.current_task(self.loop)
        leaves_at = now if wakes is None else now + short
        self._pauses[task] = _Pause(until, leaves_at, waiting_for, wakes)
        self._active -= 1
        self._settle()
        try:
            await self._until(until, wakes)
        finally:
            self._active += 1
            del self._pauses[task]

    def progress(self, done: float, total: float, note: str) -> None:
        """Show progress, at most twice a second and the last word always. From any thread."""
        self._progress.show({"done": done, "total": total, "note": note})

    async def leave(self) -> None:
        """The operation has ended: wait for the calls that it left behind.

        A step that runs is finished and remembered, as in a map; nothing pauses or begins.
        """
        if self.ending is None:
            self.ending = EndedInterrupt()
        _cancel(self._inside if self._stopped else self._pauses)
        if self._inside:
            for task in self._inside:
                if task is not None:
                    task.add_done_callback(_see)
            self._left = self.loop.create_future()
            await self._left

    # The worker's side.

    @property
    def leaving(self) -> bool:
        """Whether the run is about to leave memory, and so heeds no poke."""
        return self.ending is not None and not isinstance(self.ending, EndedInterrupt)

    async def poke(self) -> None:
        """Somebody woke or canceled the run while it was driven here.

        A run that is already leaving keeps its poke: the journal then parks it as due at once. A
        run does not leave while a poke is being taken.
        """
        if self.leaving:
            return
        self._pokes += 1
        try:
            canceled = await self.journal.take_poke(self.claim)
        finally:
            self._pokes -= 1
        if canceled:
            self.stop(CancelInterrupt())
            return
        self.wakes += 1
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)
        if self._pauses:
            self._settle()

    def stop(self, interrupt: Interrupt) -> None:
        """End the operation's task, running bodies included.

        Only the first time: a second cancellation would disturb what cleans up after itself.
        """
        if self._stopped:
            return
        self._stopped = True
        if not isinstance(self.ending, Diverged | StorageError):
            self.ending = interrupt
        if self.body is not None and not self.body.done():
            # What it awaits is ended through it; `leave` sees to the rest.
            self.body.cancel()
        else:
            _cancel(self._inside)

    def mind_the_deadline(self) -> None:
        """From now on the run is stopped when its time is over."""
        if self.run.deadline_at is not None:
            self._deadline = self.loop.create_task(self._stop_at(self.run.deadline_at))

    async def _stop_at(self, deadline: float) -> None:
        while (left := deadline - self.clock.now()) > 0:
            await self.clock.sleep(left)
        self.stop(TimeoutInterrupt())

    def drain(self) -> None:
        """Let what is running finish, start nothing more, then hand the run back."""
        if self.ending is None:
            self.ending = ReleaseInterrupt()
            if self._settler is not None:
                self._settler.cancel()  # it may be giving a pause its moment
                self._settler = None
            self._settle()

    def close(self) -> None:
        """Forget timers; the drive is over."""
        for task in (self._settler, self._deadline):
            if task is not None:
                task.cancel()
        self._progress.close()

    # How a run leaves memory.

    def _diverge(self, diverged: Diverged) -> Diverged:
        """Remembered, so that an operation which swallows the error cannot go on past it."""
        self.ending = diverged
        return diverged

    async def _until(self, until: float | None, wakes: int | None) -> None:
        """Return at `until` on the clock, or once there are more wakes than `wakes`."""
        ends: set[asyncio.Future[None]] = set()
        alarm: asyncio.Future[None] | None = None
        if wakes is not None:
            if self.wakes != wakes:
                return
            if self._woken is None or self._woken.done():
                self._woken = self.loop.create_future()
            ends.add(self._woken)
        if until is not None:
            alarm = asyncio.ensure_future(self.clock.sleep(until - self.clock.now()))
            ends.add(alarm)
        try:
            # Without an end, only a cancellation of this task ends the pause.
            await asyncio.wait(
                ends or {self.loop.create_future()},
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            if alarm is not None:
                alarm.cancel()

    def _settle(self) -> None:
        if self._settler is None or self._settler.done():
            self._settler = self.loop.create_task(self._suspend_when_quiet())

    async def _suspend_when_quiet(self) -> None:
        """Suspend the run once nothing is active and every pause has stayed its moment.

        A run that is being handed back does not stay.
        """
        while True:
            # Branches that were just created, or just woken, get their turn first.
            for _ in range(_TURNS):
                await asyncio.sleep(0)
                if not self._quiet():
                    return
            if self.ending is not None:
                self.stop(ReleaseInterrupt())
                return
            stays = max(pause.leaves_at for pause in self._pauses.values()) - self.clock.now()
            if stays <= 0:
                break
            await self.clock.sleep(stays)
        first = min(
            self._pauses.values(),
            key=lambda pause: math.inf if pause.until is None else pause.until,
        )
        self.stop(SuspendInterrupt(first.until, first.waiting_for))

    def _quiet(self) -> bool:
        """Whether everything that is left of the run pauses, and nothing is about to go on."""
        if self._active or self._pokes or self.body is None or self.body.done():
            return False
        if self.ending is not None:
            return isinstance(self.ending, ReleaseInterrupt)
        return bool(self._pauses) and all(
            pause.wakes in (None, self.wakes) for pause in self._pauses.values()
        )


def _cancel(tasks: Iterable[asyncio.Task[Any] | None]) -> None:
    for task in tuple(tasks):
        if task is not None and not task.cancelling():
            task.cancel()


def _see(task: asyncio.Task[Any]) -> None:
    """Nobody else looks at how a call that was left behind has ended."""
    if not task.cancelled():
        task.exception()
