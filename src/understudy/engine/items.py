"""The items of a map: steps side by side, so many at once, and none begun after one has failed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from understudy.engine.attempt import Task, attempt, known_result, step_failed
from understudy.engine.drive import Drive
from understudy.engine.interrupts import Interrupt
from understudy.engine.replay import Call


class _Closed(Exception):
    """An item stays unstarted: another one has failed."""


class _Gate:
    """Lets a number of items work at once, and none any more once it is closed."""

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ValueError(f"limit must be at least 1, not {limit}")
        self._slots = asyncio.Semaphore(limit)
        self.inside: set[asyncio.Task[Any] | None] = set()
        self.closed = False

    def check(self) -> None:
        if self.closed:
            raise _Closed

    def close(self) -> None:
        self.closed = True

    async def __aenter__(self) -> None:
        self.check()
        await self._slots.acquire()
        if self.closed:
            self._slots.release()
            raise _Closed
        self.inside.add(asyncio.current_task())

    async def __aexit__(self, *_: object) -> None:
        self.inside.discard(asyncio.current_task())
        self._slots.release()


class Items:
    """One map of a run."""

    def __init__(self, drive: Drive, calls: Sequence[Call], tasks: Sequence[Task]) -> None:
        self._drive = drive
        self._calls = calls
        self._tasks = tasks
        self._succeeded = 0

    async def results(self, limit: int) -> list[Any]:
        """The items' results in order. Raises `StepFailed` of the first item that failed."""
        for call in self._calls:
            if call.step is not None and call.step.state == "failed":
                raise step_failed(call.step)
        gate = _Gate(limit)
        results: dict[str, Any] = {}
        left: list[tuple[Call, Task]] = []
        for call, task in zip(self._calls, self._tasks, strict=True):
            if call.step is not None and call.step.state == "succeeded":
                results[call.key] = known_result(call.step, task.codec)
            else:
                left.append((call, task))
        self._succeeded = len(results)
        if left:
            await self._drive.active(self._drive.begin(left[0][0]))
        branches = {call.key: self._start(call, task, gate) for call, task in left}
        await _finish(list(branches.values()), gate)
        results |= {key: branch.result() for key, branch in branches.items()}
        return [results[call.key] for call in self._calls]

    def _start(self, call: Call, task: Task, gate: _Gate) -> asyncio.Task[Any]:
        work = self._drive.active(attempt(self._drive, call, task, gate))
        branch = asyncio.create_task(work)
        branch.add_done_callback(self._show)
        return branch

    def _show(self, branch: asyncio.Task[Any]) -> None:
        if not branch.cancelled() and branch.exception() is None:
            self._succeeded += 1
            self._drive.progress(self._succeeded, len(self._calls), self._calls[0].name)


async def _finish(branches: Sequence[asyncio.Task[Any]], gate: _Gate) -> None:
    """Return when every branch has succeeded; else end what may end, and raise why."""
    pending = set(branches)
    try:
        while pending and not gate.closed:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_EXCEPTION)
            if any(branch.cancelled() or branch.exception() for branch in done):
                gate.close()
        for branch in pending - gate.inside:
            branch.cancel()
        if pending:
            await asyncio.wait(pending)
    except asyncio.CancelledError:
        await _end(pending)
        raise
    errors = [branch.exception() for branch in branches if not branch.cancelled()]
    # Why the run must stop goes before a failure; an earlier item's failure before a later's.
    wanted = [error for error in errors if error and not isinstance(error, _Closed)]
    for error in sorted(wanted, key=lambda error: not isinstance(error, Interrupt)):
        raise error


async def _end(branches: set[asyncio.Task[Any]]) -> None:
    for branch in branches:
        if not branch.cancelling():
            branch.cancel()
    if branches:
        await asyncio.wait(branches)
    for branch in branches:
        if not branch.cancelled():
            branch.exception()
