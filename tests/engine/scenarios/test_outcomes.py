"""Who may say how a run ended: only its present driver, once, whatever else happens meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any

from understudy import Context, Permanent, operation
from understudy.engine.journal import Journal
from understudy.engine.plans.embedded import Limits
from understudy.engine.run import Outcome, RunFilter, Scope
from understudy.errors import StorageError
from understudy.testing.conformance.rows import FAULT
from understudy.testing.harness import TENANT, Answer, Given, Harness

Journals = tuple[Journal, Journal]

LEASED = Limits(poll_every=1e9, lease=90)


class Slow:
    """One step that stays until it is let go."""

    def __init__(self) -> None:
        self.begun = 0
        self.go = asyncio.Event()

    async def __call__(self) -> str:
        self.begun += 1
        await self.go.wait()
        return "mine"

    def operation(self) -> Any:
        @operation("slow")
        async def slow(ctx: Context, input: Given) -> Answer:
            return Answer(value=await ctx.step("work", self))

        return slow


async def test_an_outcome_from_elsewhere_stands(journal: Journal) -> None:
    """Success, failure or cancellation: who is late with its own result changes nothing."""
    for outcome in (
        Outcome("succeeded", output='{"value":"theirs"}'),
        Outcome("failed", error=FAULT),
        Outcome("canceled"),
    ):
        slow = Slow()
        async with Harness([slow.operation()], journal=journal) as harness:
            run = await harness.submit("slow")
            await journal.leave(harness.plan.worker)
            await journal.recover(now=harness.clock.now())
            scope = Scope(("slow",))
            now = harness.clock.now()
            (taken,) = (await journal.claim("other", scope, limit=1, now=now)).runs
            await journal.finish(taken.claim, outcome, now=now)
            slow.go.set()
            await harness.settle()
            await harness.advance(10)
            after = await harness.engine.get(run.id)
            assert (after.status, after.output) == (outcome.status, outcome.output)
            assert await harness.steps(run.id) == {}
            assert slow.begun == 1


async def test_a_cancel_after_the_last_step_is_final(journal: Journal) -> None:
    """What comes before the end of the run wins; a retry goes on and repeats no step."""
    ran: list[str] = []
    last = asyncio.Event()

    async def note() -> None:
        ran.append("step")

    @operation("late")
    async def late(ctx: Context, input: Given) -> Answer:
        await ctx.step("note", note)
        await last.wait()
        return Answer(value="done")

    async with Harness([late], journal=journal) as harness:
        run = await harness.submit("late")
        await harness.engine.cancel(run.id)
        await harness.settle()
        last.set()
        assert (await harness.finish(run.id)).status == "canceled"
        await harness.crash()
        await harness.advance(99)
        assert await harness.status(run.id) == "canceled"
        await harness.engine.retry(run.id)
        assert (await harness.finish(run.id)).status == "succeeded"
    assert ran == ["step"]


async def test_a_cancel_and_an_end_at_once_leave_one_of_them(journals: Journals) -> None:
    """Neither waits for the other, and children and parents see the same end."""

    @operation("child")
    async def child(ctx: Context, input: Given) -> Answer:
        return Answer()

    @operation("parent")
    async def parent(ctx: Context, input: Given) -> Answer:
        await ctx.call("child", {})
        return Answer()

    operations: list[Any] = [parent, child]
    async with (
        Harness(operations, journal=journals[0]) as one,
        one.beside(operations, journal=journals[1]) as two,
    ):
        runs = [await one.engine.submit("parent", {}, tenant=TENANT) for _ in range(12)]
        ends = await asyncio.gather(
            *((one, two)[i % 2].engine.cancel(run.id) for i, run in enumerate(runs)),
            return_exceptions=True,
        )
        await one.settle()
        for end in ends:
            assert not isinstance(end, StorageError)
        assert await one.engine.unfinished(TENANT) == []
        for run in runs:
            assert await one.status(run.id) in {"succeeded", "canceled"}


class Forgetful:
    """A journal whose first answer of each of these methods is lost, though the change is made."""

    def __init__(self, journal: Journal, *methods: str) -> None:
        self.lost: list[str] = []
        self._journal = journal
        self._methods = methods

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._journal, name)
        if name not in self._methods:
            return method

        async def call(*args: Any, **kwargs: Any) -> Any:
            answer = await method(*args, **kwargs)
            if name not in self.lost:
                self.lost.append(name)
                raise StorageError("the connection was lost")
            return answer

        return call


async def test_a_lost_answer_repeats_nothing(journal: Journal) -> None:
    """What was committed before the connection went is found, not done again."""
    ran: list[str] = []

    async def note(what: str) -> str:
        ran.append(what)
        return what

    @operation("child")
    async def child(ctx: Context, input: Given) -> Answer:
        return Answer(value=await ctx.step("note", note, "child"))

    @operation("all")
    async def everything(ctx: Context, input: Given) -> Answer:
        await ctx.step("note", note, "parent")
        await ctx.emit("news", 1)
        heard = await ctx.wait("news")
        return Answer(value=[heard, (await ctx.call("child", {})).value])

    methods = ("record", "emit", "await_signal", "start_child", "park")
    lossy: Any = Forgetful(journal, *methods)
    async with Harness([everything, child], journal=lossy) as harness:
        run = await harness.run("all")
        await harness.advance(60)
        assert await harness.output(run.id) == {"value": [1, "child"]}
        assert len(await harness.engine.list(RunFilter(TENANT, operation="child"))) == 1
    assert ran == ["parent", "child"]
    assert set(methods) - set(lossy.lost) <= {"park"}


async def test_the_same_asking_at_once_is_one_run(journals: Journals) -> None:
    """Through two processes together: one run, one body, one result for both."""
    slow = Slow()
    slow.go.set()
    operations = [slow.operation()]
    async with (
        Harness(operations, journal=journals[0]) as one,
        one.beside(operations, journal=journals[1]) as two,
    ):
        askings = [
            worker.engine.submit("slow", {}, tenant=TENANT, idempotency_key="k")
            for worker in (one, two, one, two)
        ]
        ids = {run.id for run in await asyncio.gather(*askings)}
        await one.settle()
        assert len(ids) == 1
        assert await two.output(ids.pop()) == {"value": "mine"}
    assert slow.begun == 1


async def test_a_recovery_that_is_repeated_takes_nothing_away(journals: Journals) -> None:
    """Sweeps of both workers, again and again and at once, leave running runs alone."""
    slow = Slow()
    operations = [slow.operation()]
    async with (
        Harness(operations, journal=journals[0], limits=LEASED) as one,
        one.beside(operations, journal=journals[1]) as two,
    ):
        run = await one.submit("slow")
        for _ in range(3):
            now = one.clock.now()
            sweeps = [worker.journal.recover(now=now) for worker in (one, two, one)]
            assert await asyncio.gather(*sweeps) == [[], [], []]
            await one.advance(20)
        slow.go.set()
        await one.settle()
        assert (await one.engine.get(run.id)).epoch == 1
    assert slow.begun == 1


async def test_parents_and_children_are_recovered_once(journal: Journal) -> None:
    """Many parents that wait for children all end after a crash; finished children stay so."""
    ran: list[int] = []

    async def note(n: int) -> None:
        ran.append(n)

    @operation("child")
    async def child(ctx: Context, input: Given) -> Answer:
        n = (input.model_extra or {})["n"]
        await ctx.step("note", note, n)
        if n % 2:
            await ctx.sleep(30)
        return Answer(value=n)

    @operation("parent")
    async def parent(ctx: Context, input: Given) -> Answer:
        n = (input.model_extra or {})["n"]
        return Answer(value=(await ctx.call("child", {"n": n})).value)

    async with Harness([parent, child], journal=journal) as harness:
        runs = [await harness.engine.submit("parent", {"n": n}, tenant=TENANT) for n in range(40)]
        await harness.settle()
        await harness.crash()
        for run in runs:
            assert (await harness.finish(run.id)).status == "succeeded"
        assert len(await harness.engine.list(RunFilter(TENANT, operation="child", limit=99))) == 40
    assert sorted(ran) == list(range(40))


async def test_a_child_that_cannot_reach_its_database_fails_its_parent(journal: Journal) -> None:
    """An error of storage in a child's own step is that step's, and nobody hangs."""

    async def broken() -> None:
        raise StorageError("the customer's database is away")

    @operation("child")
    async def child(ctx: Context, input: Given) -> Answer:
        await ctx.step("broken", broken)
        return Answer()

    @operation("parent")
    async def parent(ctx: Context, input: Given) -> Answer:
        await ctx.call("child", {})
        return Answer()

    async with Harness([parent, child], journal=journal) as harness:
        run = await harness.run("parent")
        assert run.error is not None
        assert "the customer's database is away" in run.error["message"]
        assert not harness.plan.failure.done()


async def test_a_whole_tree_is_canceled_and_tried_again(journal: Journal) -> None:
    """Three levels: none goes on, and a retry of the root brings all of them to their end."""
    held = asyncio.Event()

    @operation("leaf")
    async def leaf(ctx: Context, input: Given) -> Answer:
        await ctx.step("hold", held.wait)
        return Answer()

    @operation("branch")
    async def branch(ctx: Context, input: Given) -> Answer:
        await ctx.call("leaf", {})
        return Answer()

    @operation("root")
    async def root(ctx: Context, input: Given) -> Answer:
        await ctx.call("branch", {})
        return Answer()

    async with Harness([root, branch, leaf], journal=journal) as harness:
        run = await harness.submit("root")
        await harness.advance(5)
        await harness.engine.cancel(run.id)
        await harness.settle()
        family = await harness.engine.list(RunFilter(TENANT))
        assert [one.status for one in family] == ["canceled"] * 3
        held.set()
        await harness.engine.retry(run.id)
        assert (await harness.finish(run.id)).status == "succeeded"
        assert len(await harness.engine.list(RunFilter(TENANT))) == 3


async def test_a_wait_that_timed_out_takes_no_later_signal(journal: Journal) -> None:
    """On a replay it has timed out still; the signal is for the next wait."""

    @operation("ask")
    async def ask(ctx: Context, input: Given) -> Answer:
        try:
            first = await ctx.wait("reply", timeout=60)
        except Exception as error:  # noqa: BLE001
            first = type(error).__name__
        await ctx.sleep(60)
        return Answer(value=[first, await ctx.wait("reply")])

    async with Harness([ask], journal=journal) as harness:
        run = await harness.submit("ask")
        await harness.advance(61)
        await harness.emit("reply", "late")
        await harness.crash()
        await harness.advance(61)
        assert await harness.output(run.id) == {"value": ["WaitTimeout", "late"]}


async def test_a_run_that_never_works_ends(journal: Journal) -> None:
    """Its own error ends it at once; crashes do not count as its tries, and nothing is lost."""

    @operation("bad")
    async def bad(ctx: Context, input: Given) -> Answer:
        raise Permanent("never")

    async with Harness([bad], journal=journal) as harness:
        run = await harness.run("bad")
        for _ in range(3):
            await harness.crash()
        assert (await harness.engine.get(run.id)).epoch == 1
        assert (await harness.engine.get(run.id)).status == "failed"
