"""Work in threads is never left half done."""

from __future__ import annotations

import asyncio
import threading

import pytest

from understudy.artifacts.blocking import finish


async def test_results_and_errors_come_through() -> None:
    """It is a call like any other, only elsewhere."""
    assert await finish(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await finish(divmod, 7, 0)


def test_a_loop_that_ends_waits_too() -> None:
    """Ctrl-C cancels every task of a loop at once; what a thread does is still finished."""
    begun, free = threading.Event(), threading.Event()
    order: list[str] = []

    def work() -> None:
        begun.set()
        free.wait(30)
        order.append("the thread ended")

    async def wait() -> None:
        try:
            await finish(work)
        finally:
            order.append("the caller went on")

    async def free_when_cancelled() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            free.set()

    async def main() -> None:
        left.extend(asyncio.ensure_future(one) for one in (wait(), free_when_cancelled()))
        await asyncio.to_thread(begun.wait, 30)

    left: list[asyncio.Future[None]] = []
    with asyncio.Runner() as runner:
        runner.run(main())
    assert order == ["the thread ended", "the caller went on"]


@pytest.mark.parametrize("fails", [False, True])
async def test_a_cancel_waits_for_the_end(fails: bool) -> None:
    """However often it is cancelled, the caller goes on only when the thread has ended."""
    begun, free, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        free.wait(30)
        ended.set()
        if fails:
            raise ValueError("too late to be heard")

    task = asyncio.ensure_future(finish(work))
    await asyncio.to_thread(begun.wait, 30)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not task.done()
    free.set()
    await asyncio.wait([task])
    assert task.cancelled()
    assert ended.is_set()
