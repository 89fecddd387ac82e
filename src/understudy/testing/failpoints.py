"""Numbered points at which a test lets the process die, wait, or be refused.

Every durable write and every outside call has one before it (nothing has happened) and one after
it (it is durable, or done, and nobody has been told):

    points = Failpoints(clock)
    journal = failing_journal(DatabaseJournal(database), points)
    points.arm("record.after", Crash())

The points stand in wrappers, around the journal (`failing_journal`), the database's driver
(`failing_driver`) and the operations (`failing_operations`); without those there is nothing of
them in a running system.
"""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import functools
import inspect
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, NoReturn, TypeVar, cast

from understudy.clock import Clock
from understudy.db.driver import Driver, Session
from understudy.db.tx import Tx
from understudy.engine.context import Context
from understudy.engine.journal import Beats, Journal
from understudy.engine.operation import Operation
from understudy.errors import StorageError

T = TypeVar("T")
D = TypeVar("D", bound=Driver)

READS = frozenset(
    {
        "changed",
        "changes",
        "child_of",
        "get",
        "list",
        "on_change",
        "on_write",
        "place",
        "poked",
        "queues",
        "slots",
        "steps",
        "unfinished",
        "workers",
    }
)
"""The methods of a journal that change nothing. Any other has its points."""

WRITES: tuple[str, ...] = tuple(
    name
    for name, member in vars(Journal).items()
    if inspect.isfunction(member) and not name.startswith("_") and name not in READS
)
"""The methods that change something, in the order of the contract; `beats` is each renewal."""

POINTS: tuple[str, ...] = tuple(
    f"{place}.{side}" for place in (*WRITES, "body", "commit") for side in ("before", "after")
)
"""All points; a point's number is its place here. `body` is a step's call to the outside world,
`commit` a transaction, which may hold many writes."""


@dataclasses.dataclass(frozen=True)
class Crash:
    """The process dies, seen from this engine: nothing of it is written or begun any more.

    Whoever armed it awaits `Failpoints.crashed`, then kills the plan and closes the database.
    """


@dataclasses.dataclass(frozen=True)
class Kill:
    """The process really dies, by SIGKILL."""


@dataclasses.dataclass(frozen=True)
class Delay:
    """It takes so many seconds longer; in a thread these are real."""

    seconds: float


@dataclasses.dataclass(frozen=True)
class Fail:
    """It raises this error: before, with nothing done; after, although it was done."""

    error: Exception


Action = Crash | Kill | Delay | Fail


class Failpoints:
    """What happens at which point. With nothing armed the passes are only counted.

    Make it where the loop runs. `passes` counts them by point; `crashed` is set by a `Crash`.
    """

    def __init__(self, clock: Clock, block: Callable[[float], None] = time.sleep) -> None:
        self.passes: Counter[str] = Counter()
        self.crashed = asyncio.Event()
        self.dead = False
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._block = block
        self._lock = threading.Lock()
        self._armed: dict[tuple[str, int], Action] = {}

    def arm(self, point: str, action: Action, *, nth: int = 1) -> None:
        """Do this at the n-th pass of a point, counted from the start. Raises ValueError."""
        if point not in POINTS:
            raise ValueError(f"there is no failpoint {point!r}; known: {', '.join(POINTS)}")
        self._armed[point, nth] = action

    async def reach(self, point: str) -> None:
        """Pass a point on the loop."""
        if self.dead:
            await for_ever()
        action = self._pass(point)
        if isinstance(action, Delay):
            await self._clock.sleep(action.seconds)
        elif action is not None:
            self._act(action)
            await for_ever()

    def reach_blocking(self, point: str) -> None:
        """Pass a point in a thread. Raises `StorageError` in a process that is to count as dead."""
        if self.dead:
            raise _dead()
        action = self._pass(point)
        if isinstance(action, Delay):
            self._block(action.seconds)
        elif action is not None:
            self._act(action)
            raise _dead()

    def _pass(self, point: str) -> Action | None:
        with self._lock:
            self.passes[point] += 1
            return self._armed.get((point, self.passes[point]))

    def _act(self, action: Crash | Kill | Fail) -> None:
        if isinstance(action, Fail):
            raise action.error
        if isinstance(action, Kill):
            os.kill(os.getpid(), signal.SIGKILL)
        self.dead = True
        self._loop.call_soon_threadsafe(self.crashed.set)


def failing_journal(journal: Journal, points: Failpoints) -> Journal:
    """The same journal, with the points of its writes."""
    return cast("Journal", _Journal(journal, points))


def failing_driver(driver: D, points: Failpoints) -> D:
    """The same driver, whose transactions pass `commit`.

    Those of its unlocked sessions renew leases, and so pass `beats`.
    """
    failing = copy.copy(driver)

    def connect(*, read_only: bool = False, unlocked: bool = False) -> Session:
        session = driver.connect(read_only=read_only, unlocked=unlocked)
        place = "beats" if unlocked else "commit"
        return session if read_only else cast("Session", _Session(session, points, place))

    vars(failing)["connect"] = connect
    return failing


def failing_operations(
    operations: Iterable[Operation[Any, Any]], points: Failpoints
) -> list[Operation[Any, Any]]:
    """The same operations, whose steps pass `body`."""
    return [_failing_operation(operation, points) for operation in operations]


class _Journal:
    """Passes two points around each write; in a dead process nothing is answered any more."""

    def __init__(self, journal: Journal, points: Failpoints) -> None:
        self._journal = journal
        self._points = points

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._journal, name)
        if inspect.iscoroutinefunction(method):
            return functools.partial(_around, self._points, name, method)
        return method

    def progress(self, *arguments: Any) -> None:
        """A report that is not told is no error."""
        try:
            self._points.reach_blocking("progress.before")
            self._journal.progress(*arguments)
            self._points.reach_blocking("progress.after")
        except StorageError:
            return

    def beats(self, worker: str, *, lease: float, every: float) -> Beats:
        """Where no thread renews the lease, each renewal is a call of its own."""
        beats = self._journal.beats(worker, lease=lease, every=every)
        vars(beats)["once"] = functools.partial(_around, self._points, "beats", beats.once)
        return beats


async def _around(
    points: Failpoints, name: str, method: Callable[..., Any], *arguments: Any, **named: Any
) -> Any:
    if name in READS:
        return await _if_alive(points, method, *arguments, **named)
    await points.reach(f"{name}.before")
    answer = await _if_alive(points, method, *arguments, **named)
    await points.reach(f"{name}.after")
    return answer


async def _if_alive(
    points: Failpoints, method: Callable[..., Any], *arguments: Any, **named: Any
) -> Any:
    """The answer, or the error, unless the process died meanwhile."""
    if points.dead:
        await for_ever()
    try:
        answer = await method(*arguments, **named)
    except Exception:
        if points.dead:
            await for_ever()
        raise
    if points.dead:
        await for_ever()
    return answer


class _Session:
    """Passes two points around each commit; in a dead process every transaction is undone."""

    def __init__(self, session: Session, points: Failpoints, place: str) -> None:
        self._session = session
        self._points = points
        self._place = place

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def transact(self, work: Callable[[Tx], T], *, alone: bool) -> T:
        if self._points.dead:
            raise _dead()

        def watched(tx: Tx) -> T:
            result = work(tx)
            self._points.reach_blocking(f"{self._place}.before")
            return result

        result = self._session.transact(watched, alone=alone)
        self._points.reach_blocking(f"{self._place}.after")
        return result


def _failing_operation(operation: Operation[Any, Any], points: Failpoints) -> Operation[Any, Any]:
    function = operation.function

    @functools.wraps(function)
    async def failing(ctx: Context, given: Any, **needs: Any) -> Any:
        return await function(cast("Context", _Context(ctx, points)), given, **needs)

    return dataclasses.replace(operation, function=failing)


class _Context:
    """A context whose steps pass two points around their body."""

    def __init__(self, ctx: Context, points: Failpoints) -> None:
        self._ctx = ctx
        self._points = points

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ctx, name)

    async def step(self, name: str, function: Callable[..., Any], *rest: Any, **how: Any) -> Any:
        return await self._ctx.step(name, _failing_body(function, self._points), *rest, **how)

    async def map(self, name: str, function: Callable[..., Any], *rest: Any, **how: Any) -> Any:
        return await self._ctx.map(name, _failing_body(function, self._points), *rest, **how)


def _failing_body(function: Callable[..., Any], points: Failpoints) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def body(*arguments: Any) -> Any:
            await points.reach("body.before")
            result = await function(*arguments)
            await points.reach("body.after")
            return result

        return body

    @functools.wraps(function)
    def plain(*arguments: Any) -> Any:
        points.reach_blocking("body.before")
        result = function(*arguments)
        points.reach_blocking("body.after")
        return result

    return plain


async def for_ever() -> NoReturn:
    """What a caller in a dead process sees: nothing, until its task is cancelled."""
    await asyncio.get_running_loop().create_future()
    raise AssertionError("nobody resolves it")


def _dead() -> StorageError:
    return StorageError("this process counts as dead since a failpoint")
