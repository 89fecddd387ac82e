"""Bodies of steps: they run, they end, and nothing of them is left behind."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from understudy import Permanent, StepTimeout
from understudy.clock import ManualClock
from understudy.engine import body
from understudy.engine.body import run_body


async def turns() -> None:
    """Let everything happen that happens by itself."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_being_ended_twice_leaves_nothing_behind() -> None:
    """A body that cleans up after itself is awaited, however often its step is cancelled."""
    log: list[str] = []
    cleaned = asyncio.Event()

    async def careful() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            log.append("cleaning")
            await cleaned.wait()
            log.append("clean")

    clock = ManualClock()
    step = asyncio.create_task(run_body(careful, (), 5, clock))
    await turns()
    clock.advance(5)
    await turns()
    for _ in range(3):
        step.cancel()
        await turns()
    assert (log, step.done()) == (["cleaning"], False)
    cleaned.set()
    with pytest.raises(asyncio.CancelledError):
        await step
    assert log == ["cleaning", "clean"]


async def test_a_body_may_fail_while_it_is_ended() -> None:
    """What it says on the way out is not the step's failure: the timeout is."""

    async def rude() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("rude")

    clock = ManualClock()
    step = asyncio.create_task(run_body(rude, (), 5, clock))
    await turns()
    clock.advance(5)
    with pytest.raises(StepTimeout):
        await step


async def test_a_thread_that_has_not_begun_never_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """With every thread busy, a cancelled step is over at once."""
    busy, log = threading.Event(), list[str]()
    with ThreadPoolExecutor(1) as pool:
        monkeypatch.setattr(body, "_threads", lambda: pool)
        first = asyncio.create_task(run_body(busy.wait, (), None, ManualClock()))
        second = asyncio.create_task(run_body(log.append, ("ran",), None, ManualClock()))
        await turns()
        second.cancel()
        await asyncio.wait({second})
        assert second.cancelled()
        busy.set()
        assert await first is True
    assert log == []


async def test_a_thread_is_not_left_behind_by_a_second_cancel() -> None:
    """It is told to end until it has ended; what it raises then is nobody's."""
    begun, freed, ended = threading.Event(), threading.Event(), threading.Event()

    def stubborn() -> None:
        begun.set()
        while not freed.is_set():
            try:
                freed.wait(0.001)
            except BaseException:  # noqa: BLE001
                continue
        ended.set()
        raise ValueError("at last")

    step = asyncio.create_task(run_body(stubborn, (), None, ManualClock()))
    await asyncio.to_thread(begun.wait)
    for _ in range(3):
        step.cancel()
        await turns()
    assert not step.done()
    freed.set()
    await asyncio.wait({step})
    assert step.cancelled()
    assert ended.is_set()


async def test_code_cannot_end_the_process() -> None:
    """`sys.exit` in a body is that body's failure, in a thread as on the loop."""

    def plain() -> None:
        raise SystemExit(2)

    async def on_the_loop() -> None:
        raise SystemExit(2)

    for function in (plain, on_the_loop):
        for seconds in (None, 5):
            with pytest.raises(Permanent, match=r"sys\.exit\(2\)"):
                await run_body(function, (), seconds, ManualClock())
