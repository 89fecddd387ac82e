"""What a running operation may touch: the whole API of an operation's author."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar, overload

from pydantic import BaseModel

from understudy.clock import iso
from understudy.engine import children
from understudy.engine.attempt import Task, attempt, known_result
from understudy.engine.codec import Codec, codec_of
from understudy.engine.consequences import started_by
from understudy.engine.drive import Drive
from understudy.engine.items import Items
from understudy.engine.operation import Operation
from understudy.engine.replay import Call
from understudy.engine.retry import Retry
from understudy.engine.run import Signal, Step, WaitFor
from understudy.engine.submission import Asking
from understudy.errors import WaitTimeout

T = TypeVar("T")
A = TypeVar("A")
O = TypeVar("O", bound=BaseModel)  # noqa: E741 - the output

_PLAIN = Codec()
_SIDE_BY_SIDE = 16


class Context:
    """Handed to every operation. All that goes through it is remembered in the journal."""

    def __init__(self, drive: Drive, retry: Retry) -> None:
        self._drive = drive
        self._retry = retry

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._drive.run.id

    @property
    def user(self) -> str | None:
        """Whom the run is for: the tenant's own id of its customer."""
        return self._drive.run.user

    @property
    def attempt(self) -> int:
        """1 on the first try of the whole run, 2 after the first `runs retry`."""
        return self._drive.run.attempt

    @overload
    async def step(
        self,
        name: str,
        function: Callable[..., Awaitable[T]],
        *arguments: Any,
        retry: Retry | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> T: ...
    @overload
    async def step(
        self,
        name: str,
        function: Callable[..., T],
        *arguments: Any,
        retry: Retry | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> T: ...
    async def step(
        self,
        name: str,
        function: Callable[..., Any],
        *arguments: Any,
        retry: Retry | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the engine ends the body itself
    ) -> Any:
        """Run `function(*arguments)` once and remember its result, which must fit JSON.

        A plain function runs in a thread, an async one on the loop. `timeout` is in seconds and
        for each attempt. Raises `StepFailed` after the last attempt, then and on every replay.
        If the process dies inside the function, it runs again.
        """
        call = self._drive.ask("step", name)
        codec = codec_of(function)
        if call.step is not None and call.step.ended_at is not None:
            return known_result(call.step, codec)
        task = Task(function, arguments, codec, retry or self._retry, timeout)
        return await self._drive.active(attempt(self._drive, call, task))

    @overload
    async def map(
        self,
        name: str,
        function: Callable[[A], Awaitable[T]],
        items: Iterable[A],
        *,
        limit: int | None = None,
        retry: Retry | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> list[T]: ...
    @overload
    async def map(
        self,
        name: str,
        function: Callable[[A], T],
        items: Iterable[A],
        *,
        limit: int | None = None,
        retry: Retry | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> list[T]: ...
    async def map(
        self,
        name: str,
        function: Callable[[Any], Any],
        items: Iterable[Any],
        *,
        limit: int | None = None,
        retry: Retry | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> list[Any]:
        """Run `function(item)` for every item side by side, each a step of its own.

        At most `limit` at once (default: 16). Results come in the order of the items. When an item
        fails for good, those already running are finished and remembered, no other starts, and
        `StepFailed` of the first failed item is raised. The run's progress shows the items done.
        """
        given = list(items)
        calls = self._drive.ask_items(name, len(given))
        codec = codec_of(function)
        policy = retry or self._retry
        tasks = [Task(function, (item,), codec, policy, timeout) for item in given]
        return await Items(self._drive, calls, tasks).results(
            _SIDE_BY_SIDE if limit is None else limit
        )

    async def sleep(self, duration: float | timedelta) -> None:
        """Pause for `duration` seconds, measured from the first time this is reached."""
        await self._sleep("sleep", self._drive.clock.now() + _seconds(duration))

    async def sleep_until(self, when: datetime | float) -> None:
        """Pause until `when`: an aware datetime, or seconds since 1970."""
        if isinstance(when, datetime):
            if when.tzinfo is None:
                raise ValueError("sleep_until needs a datetime with a time zone")
            when = when.timestamp()
        await self._sleep("sleep_until", when)

    async def wait(
        self,
        name: str,
        *,
        match: Mapping[str, Any] | None = None,
        timeout: float | timedelta | None = None,  # noqa: ASYNC109
    ) -> Any:
        """The data of the first signal `name` whose fields equal `match` (dotted paths).

        A signal that came before the wait, but after the run was created, counts; each signal
        answers one wait of a run. Raises `WaitTimeout` after `timeout` seconds.
        """
        call = self._drive.ask("wait", name)
        if call.step is not None and call.step.ended_at is not None:
            return _signal_data(call.step)
        due = None if timeout is None else self._drive.clock.now() + _seconds(timeout)
        return await self._drive.active(self._wait(call, WaitFor(name, dict(match or {}), due)))

    async def emit(self, name: str, data: Any = None) -> None:
        """Send a signal, exactly once, to the tenant's runs that wait for it.

        Operations that are triggered by it start, too.
        """
        call = self._drive.ask("emit", name)
        if call.step is None:
            await self._drive.active(self._emit(call, name, _PLAIN.dump(data)))

    @overload
    async def call(self, operation: Operation[Any, O], input: BaseModel) -> O: ...
    @overload
    async def call(self, operation: str, input: Mapping[str, Any]) -> Any: ...
    async def call(self, operation: Operation[Any, Any] | str, input: Any) -> Any:  # noqa: A002
        """Run another operation as a child run and take its result.

        Raises `StepFailed` if the child failed or was canceled.
        """
        registry = self._drive.kit.registry
        wanted = registry.get(operation if isinstance(operation, str) else operation.name)
        call = self._drive.ask("call", wanted.name)
        if call.step is not None and call.step.ended_at is not None:
            return known_result(call.step, wanted.result)
        return await self._drive.active(children.call(self._drive, call, wanted, input))

    def progress(self, done: float, total: float, note: str = "") -> None:
        """Show how far the run is; written at most twice a second."""
        self._drive.progress(float(done), float(total), str(note))

    async def _sleep(self, name: str, until: float) -> None:
        drive = self._drive
        call = drive.ask("sleep", name)
        if call.step is None or call.step.ended_at is None:
            await drive.active(self._pause(call, until))

    async def _pause(self, call: Call, until: float) -> None:
        drive = self._drive
        if call.step is None:
            await drive.begin(call)
            await drive.record(call.stands("waiting", drive.clock.now(), due_at=until))
        elif call.step.due_at is not None:
            until = call.step.due_at
        started = drive.clock.now() if call.step is None else call.step.started_at
        text = f"the clock: until {iso(until)}"
        while drive.clock.now() < until:
            await drive.pause(until, {"kind": "timer", "text": text, "until": until})
        ended = drive.clock.now()
        await drive.record(
            call.stands("succeeded", started, due_at=until, ended_at=ended, result="null")
        )

    async def _wait(self, call: Call, wait: WaitFor) -> Any:
        drive = self._drive
        await drive.begin(call)
        step = call.step or call.stands("waiting", drive.clock.now(), due_at=wait.due_at)
        wait = WaitFor(wait.name, wait.match, step.due_at)
        wanted = "".join(f", {path} = {json.dumps(value)}" for path, value in wait.match.items())
        waiting_for = {
            "kind": "signal",
            "text": f"the signal {wait.name!r}{wanted}",
            "until": wait.due_at,
        }
        while True:
            seen = drive.wakes
            look = drive.journal.await_signal
            now = drive.clock.now()
            step = await drive.insist(look, drive.claim, step, wait, now=now)
            if step.ended_at is not None:
                return _signal_data(step)
            await drive.pause(wait.due_at, waiting_for, wakes=seen)

    async def _emit(self, call: Call, name: str, data: str) -> None:
        drive = self._drive
        await drive.begin(call)
        now = drive.clock.now()
        step = call.stands("succeeded", now, ended_at=now, result="null")
        asking = Asking(drive.run.tenant, drive.run.user)
        starts = started_by(drive.kit.registry, name, json.loads(data), asking, now=now)
        signal = Signal(drive.run.tenant, name, data)
        emit = drive.journal.emit
        drive.kit.woken(await drive.insist(emit, drive.claim, step, signal, starts))


def _signal_data(step: Step) -> Any:
    if step.state == "failed":
        assert step.error is not None
        raise WaitTimeout(step.error["message"], step=step.key)
    return json.loads(step.result or "null")


def _seconds(duration: float | timedelta) -> float:
    return duration.total_seconds() if isinstance(duration, timedelta) else float(duration)
