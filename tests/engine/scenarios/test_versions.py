"""Life with changing code: versions side by side, and forks of what was done before."""

from __future__ import annotations

from typing import Any

import pytest

from understudy import Context, Permanent, operation
from understudy.engine.journal import Journal
from understudy.errors import NotFound
from understudy.testing.harness import Answer, Given, Harness

Journals = tuple[Journal, Journal]


def greeting(version: int, log: list[int] | None = None) -> Any:
    @operation("greet", version=version)
    async def greet(ctx: Context, input: Given) -> Answer:
        if log is not None:
            log.append(version)
        await ctx.sleep(60)
        return Answer(value=version)

    return greet


async def test_a_run_goes_on_in_its_own_version(journal: Journal) -> None:
    """New runs take the new code, old ones theirs; without it, the newest must do."""
    async with Harness([greeting(1)], journal=journal) as harness:
        first, other = await harness.submit("greet"), await harness.submit("greet")
        await harness.crash([greeting(1), greeting(2)])
        second = await harness.submit("greet")
        await harness.finish(first.id)
        await harness.finish(second.id)
        assert await harness.output(first.id) == {"value": 1}
        assert await harness.output(second.id) == {"value": 2}
        assert await harness.output(other.id) == {"value": 1}
        last = await harness.submit("greet")
        await harness.crash([greeting(3)])
        await harness.finish(last.id)
        assert await harness.output(last.id) == {"value": 3}


async def test_an_older_worker_leaves_newer_runs_alone(journals: Journals) -> None:
    """In the middle of a deployment: only a worker that knows the version takes the run."""
    old_log: list[int] = []
    new_log: list[int] = []
    async with (
        Harness([greeting(1, old_log)], journal=journals[0]) as old,
        old.beside([greeting(1, new_log), greeting(2, new_log)], journal=journals[1]) as new,
    ):
        runs = [await new.submit("greet") for _ in range(4)]
        await new.kill()
        await old.advance(120)
        assert old_log == []
        await new.journal.leave(new.plan.worker)
        await new.start()
        for run in runs:
            assert (await new.finish(run.id)).status == "succeeded"
        assert set(new_log) == {2}


class Steps:
    """Three steps, which are counted; the second fails until it is mended."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.broken = True

    async def work(self, name: str) -> str:
        self.log.append(name)
        if name == "b" and self.broken:
            raise Permanent("broken")
        return f"{name}{len(self.log)}"

    def operation(self, *names: str) -> Any:
        @operation("three")
        async def three(ctx: Context, input: Given) -> Answer:
            return Answer(value=[await ctx.step(name, self.work, name) for name in names])

        return three


async def test_a_fork_keeps_what_came_before_its_step(journal: Journal) -> None:
    """From the failure, from a step, from the end; the first run stays as it was."""
    steps = Steps()
    async with Harness([steps.operation("a", "b", "c")], journal=journal) as harness:
        failed = await harness.run("three", {"n": 1})
        assert failed.status == "failed"
        steps.broken = False
        steps.log.clear()
        from_failure = await harness.engine.fork(failed.id)
        await harness.settle()
        assert steps.log == ["b", "c"]
        done = await harness.engine.get(from_failure.id)
        assert (done.status, done.forked_from, done.input) == ("succeeded", failed.id, failed.input)
        from_step = await harness.engine.fork(from_failure.id, "c")
        whole = await harness.engine.fork(from_failure.id)
        await harness.settle()
        assert steps.log == ["b", "c", "c"]
        assert (await harness.output(whole.id)) == (await harness.output(from_failure.id))
        assert await harness.status(from_step.id) == "succeeded"
        assert await harness.engine.get(failed.id) == failed
        with pytest.raises(NotFound, match="has no step 'x'"):
            await harness.engine.fork(failed.id, "x")


async def test_a_fork_into_changed_code_is_no_guess(journal: Journal) -> None:
    """Code that asks for something else than is remembered is parked and says what differs."""
    steps = Steps()
    steps.broken = False
    async with Harness([steps.operation("a", "b", "c")], journal=journal) as harness:
        run = await harness.run("three")
        await harness.crash([steps.operation("a", "x", "c")])
        forked = await harness.engine.fork(run.id, "c")
        await harness.settle()
        parked = await harness.engine.get(forked.id)
        assert parked.waiting_for is not None
        assert (parked.status, parked.waiting_for["kind"]) == ("waiting", "operator")
        assert "x" in parked.waiting_for["text"]
        again = await harness.engine.fork(run.id, "b")
        await harness.settle()
        assert await harness.status(again.id) == "succeeded"
