"""Why a queued run is not driven yet, in words: its time, a limit of its operation, or a worker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from understudy.clock import iso
from understudy.engine.operation import Operation
from understudy.engine.registry import Registry
from understudy.engine.run import QueueRow, Run, WorkerRow
from understudy.engine.situation import Ahead
from understudy.wire import WaitingView

MOST_PLACES = 1000
"""So many runs before one are counted; then there may be more."""

_HELD = 1
_BOOKED = 2


class Crowd:
    """Who drives runs and what stands in the queues, as read at the time `now`."""

    def __init__(
        self,
        registry: Registry,
        workers: Sequence[WorkerRow],
        queues: Sequence[QueueRow],
        *,
        now: float,
    ) -> None:
        self.workers = workers
        self.queues = queues
        self._operations = {operation.name: operation for operation in registry}
        self._now = now

    def ahead_of(self, run: Run, place: int | None = None) -> WaitingView:
        """What a queued run waits for; `place` is how many runs stand before it, if it is known."""
        if run.wake_at is not None and run.wake_at > self._now:
            return _until(run.wake_at, throttled=run.held == _BOOKED)
        if not self._alive():
            return WaitingView(kind="worker", text="a worker: none is running")
        operation = self._operations.get(run.operation)
        limit = None if operation is None else self._limit(operation, run)
        if limit is None and run.held == _HELD:
            limit = "a place among the runs of its concurrency key"
        position = None if place is None else place + 1
        if limit is not None:
            return WaitingView(kind="concurrency", text=limit, position=position)
        if place:
            more = " or later" if place >= MOST_PLACES else ""
            text = f"place {place + 1}{more} in the queue"
            return WaitingView(kind="queue", text=text, position=position)
        return WaitingView(kind="worker", text="a free worker", position=position)

    def ahead(self, run: Run, place: int | None) -> Ahead:
        """How long the queue before a queued run is, and how fast it goes."""
        held = run.held == _HELD
        driven = (
            self._driven(run.operation, run.concurrency_key) if held else self._in_lane(run.lane)
        )
        return Ahead(place or 0, driven, self._alive())

    def _alive(self) -> bool:
        return any(worker.lease_until > self._now for worker in self.workers)

    def _in_lane(self, lane: str) -> int:
        """How many runs of a queue are driven now."""
        return sum(
            queue.running
            for queue in self.queues
            if lane == (queue.operation if self._limited(queue.operation) else "")
        )

    def _limited(self, name: str) -> bool:
        operation = self._operations.get(name)
        return operation is not None and operation.limited

    def _limit(self, operation: Operation[Any, Any], run: Run) -> str | None:
        """The limit on runs at once that this run meets, if it meets one."""
        limit = operation.concurrency
        if limit is None:
            return None
        if limit.key is not None and run.held == _HELD:
            driven = self._driven(run.operation, run.concurrency_key)
            return _full(driven, limit.each, f"{run.operation} for {_named(limit.key, run)}")
        driven = self._driven(run.operation)
        if limit.total is not None and driven >= limit.total:
            return _full(driven, limit.total, run.operation)
        return None

    def _driven(self, operation: str, key: str | None = None) -> int:
        """How many of the operation's runs are driven; with `key`, how many of that key."""
        return sum(
            queue.running
            for queue in self.queues
            if queue.operation == operation and key in {None, queue.concurrency_key}
        )


def _until(at: float, *, throttled: bool) -> WaitingView:
    second = f"{iso(at).partition('.')[0]}Z"
    if throttled:
        return WaitingView(kind="throttle", text=f"the throttle, until {second}", until=iso(at))
    return WaitingView(kind="time", text=f"its time, {second}", until=iso(at))


def _full(driven: int, limit: int, what: str) -> str:
    return f"a place: {driven} of {limit} runs of {what} are being driven"


def _named(key: str, run: Run) -> str:
    """Whom or what a concurrency key stands for: `user ann`, `shop.id 7`."""
    value = (run.user or "") if key == "user" else (run.concurrency_key or "")
    return f"{key} {value or '(none)'}"
