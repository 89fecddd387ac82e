"""Following runs: at once, in order, cheaply, and whichever process drives them."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.clock import ManualClock
from understudy.db.database import Database
from understudy.engine.change import Change, Cursor, Look, Seen
from understudy.engine.journal import Journal, Past
from understudy.engine.journals.database import DatabaseJournal
from understudy.engine.run import Claim, Outcome
from understudy.engine.watching import Watch, Watching
from understudy.errors import NotFound, StorageError
from understudy.testing.conformance.rows import NOW, TENANT, a_step, asked, claim_all, driven

Journals = tuple[Journal, Journal]

DONE = Outcome("succeeded", output="{}")
FAILED = Outcome("failed", error={"code": "error"})


class Rushing:
    """A clock on which no wait takes long."""

    def __init__(self) -> None:
        self._now = NOW

    def now(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        self._now += max(seconds, 0.0)
        await asyncio.sleep(0)


class Counted:
    """A journal whose looks are counted, and may be refused."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.looks: list[int] = []
        self.listens: Callable[[str], None] | None = None
        self.refuses = False

    async def changes(self, looks: Sequence[Look]) -> Sequence[Seen]:
        self.looks.append(len(looks))
        if self.refuses:
            raise StorageError("the disk is gone")
        return await self._journal.changes(looks)

    def on_write(self, tell: Callable[[str], None] | None) -> None:
        self.listens = tell
        self._journal.on_write(tell)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)


@pytest.fixture
def counted() -> Counted:
    """A journal in memory."""
    return Counted(DatabaseJournal(Database.in_memory()))


async def turns() -> None:
    """Let everything happen that needs no time."""
    for _ in range(40):
        await asyncio.sleep(0)


def keys(change: Change) -> list[str]:
    """The keys of the steps that a change brings."""
    return [step.key for step in change.steps]


def asking(watch: Watch) -> asyncio.Task[Change]:
    """Wait for the next change beside the test."""

    async def ask() -> Change:
        return await anext(watch)

    return asyncio.create_task(ask())


@given(st.tuples(*[st.integers(0, 10**15 - 1)] * 3))
def test_a_cursor_is_read_as_it_was_written(numbers: tuple[int, int, int]) -> None:
    """Its text is the id of a server-sent event, and comes back from whoever reconnects."""
    assert Cursor.parse(str(Cursor(*numbers))) == numbers


@pytest.mark.parametrize(
    "text", ["", "1", "1.2", "1.2.x", "-1.2.3", "1.2.3.4", "1.2.3\n", "\u0661.2.3"]
)
def test_what_is_no_cursor_is_none(text: str) -> None:
    """Anybody may send anything as the last event's id."""
    assert Cursor.parse(text) is None


async def test_a_run_is_followed_to_its_end(journals: Journals) -> None:
    """The whole run at once, then what changes, whichever process writes it."""
    one, _ = journals
    claim = await driven(one)
    await one.record(claim, a_step("a", 0))
    here, there = (Watching(journal, Rushing()).watch("run_1", TENANT) for journal in journals)
    for watch in (here, there):
        change = await anext(watch)
        assert (change.whole, keys(change), change.run.status) == (True, ["a"], "running")
    for number, key in enumerate("bc", start=1):
        await one.record(claim, a_step(key, number))
        for watch in (here, there):
            change = await anext(watch)
            assert (change.whole, keys(change)) == (False, [key])
    await one.finish(claim, DONE, now=NOW)
    for watch in (here, there):
        assert [change.run.status async for change in watch] == ["succeeded"]
        assert [change async for change in watch] == []


async def test_who_comes_back_goes_on(journal: Journal) -> None:
    """A cursor is all that one needs to bring, also to a new process; the end is said once."""
    claim = await driven(journal)
    await journal.record(claim, a_step("a", 0))
    first = await anext(Watching(journal, Rushing()).watch("run_1", TENANT))
    await journal.record(claim, a_step("b", 1))
    await journal.finish(claim, FAILED, now=NOW)
    again = Cursor.parse(str(first.cursor))
    (last,) = [one async for one in Watching(journal, Rushing()).watch("run_1", TENANT, again)]
    assert (last.whole, keys(last), last.run.done) == (False, ["b"], True)
    over = Watching(journal, Rushing()).watch("run_1", TENANT, last.cursor)
    assert [one async for one in over] == []
    await journal.retry("run_1", now=NOW)
    change = await anext(Watching(journal, Rushing()).watch("run_1", TENANT, last.cursor))
    assert (change.whole, change.run.status) == (True, "queued")


async def test_strangers_are_told_nothing(journal: Journal) -> None:
    """Another tenant's run is as unknown as one that never was, and as one that is forgotten."""
    await journal.submit(asked())
    watching = Watching(journal, Rushing())
    for run_id, tenant in (("run_1", "other"), ("run_2", TENANT)):
        with pytest.raises(NotFound, match=f"no run has the id '{run_id}'"):
            await anext(watching.watch(run_id, tenant))
    watch = watching.watch("run_1", None)
    await anext(watch)
    await journal.cancel("run_1", now=NOW)
    await journal.forget(Past(NOW + 9))
    with pytest.raises(NotFound):
        await anext(watch)


async def test_what_happens_here_is_told_at_once(counted: Counted) -> None:
    """Without a moment passing; only a run that has just changed rests, and then says all."""
    clock = ManualClock()
    claim = await driven(counted)
    watch = Watching(counted, clock).watch("run_1", TENANT)
    await anext(watch)
    clock.advance(0.25)
    waiting = asking(watch)
    await turns()
    assert not waiting.done()
    clock.advance(0.0625)
    await counted.record(claim, a_step("a", 0))
    await turns()
    assert waiting.done()
    assert keys(await waiting) == ["a"]
    waiting = asking(watch)
    for number, key in enumerate("bcd", start=1):
        await counted.record(claim, a_step(key, number))
        clock.advance(0.0625)
        await turns()
    assert not waiting.done()
    clock.advance(0.0625)
    await turns()
    assert waiting.done()
    assert keys(await waiting) == ["b", "c", "d"]


async def test_a_watcher_gets_four_changes_a_second(counted: Counted) -> None:
    """However many there are; and the journal is asked no more often than for the others."""
    clock = ManualClock()
    claim = await driven(counted)
    watch = Watching(counted, clock).watch("run_1", TENANT)
    got: list[Change] = []

    async def follow() -> None:
        async for change in watch:
            got.append(change)  # noqa: PERF401 - counted meanwhile

    follower = asyncio.create_task(follow())
    for number in range(200):
        await counted.record(claim, a_step(f"s{number}", number))
        clock.advance(0.01)
        await turns()
    assert 7 <= len(got) <= 9
    await counted.finish(claim, DONE, now=NOW)
    clock.advance(0.5)
    await turns()
    assert follower.done()
    assert sum(len(change.steps) for change in got) == 200
    assert len(counted.looks) < 50


async def test_a_wait_may_be_given_up(counted: Counted) -> None:
    """What comes meanwhile comes with the next one; nobody polls for nobody."""
    clock = ManualClock()
    claim = await driven(counted)
    watch = Watching(counted, clock).watch("run_1", TENANT)
    await anext(watch)
    for rests in (0.1, 0.2):
        waiting = asking(watch)
        await turns()
        clock.advance(rests)
        await turns()
        waiting.cancel()
        await asyncio.wait({waiting})
    await turns()
    assert counted.listens is None
    assert asyncio.all_tasks() == {asyncio.current_task()}
    asked_before = len(counted.looks)
    await counted.record(claim, a_step("a", 0))
    clock.advance(9)
    await turns()
    assert len(counted.looks) == asked_before
    assert keys(await anext(watch)) == ["a"]


async def test_a_thousand_watchers_are_one_query(counted: Counted) -> None:
    """One look a tick for all, one task each at most, and no more memory than the state needs."""
    clock, count = ManualClock(), 1000
    watching = Watching(counted, clock)
    claims: list[Claim] = []
    for number in range(count):
        await counted.submit(asked(f"run_{number}"))
    claims = [claimed.claim for claimed in (await claim_all(counted)).values()]
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    watches = [watching.watch(f"run_{number}", TENANT) for number in range(count)]
    first = [asking(watch) for watch in watches]
    await turns()
    assert all(one.done() for one in first)
    clock.advance(0.25)
    waiting = [asking(watch) for watch in watches]
    await turns()
    del first
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert used / count < 20_000
    assert len(asyncio.all_tasks()) <= count + 4  # the test, the poller and its alarms
    counted.looks.clear()
    for _ in range(8):
        clock.advance(0.25)
        await turns()
    assert counted.looks == [count] * 8
    await counted.record(claims[7], a_step("a", 0))
    clock.advance(0.0625)
    await turns()
    assert [one.done() for one in waiting].count(True) == 1
    assert counted.looks[8:] == [1]
    for one in waiting:
        one.cancel()
    await asyncio.wait(waiting)


async def test_those_who_know_the_same_share_a_look(counted: Counted) -> None:
    """Many watch one run, and it is read once."""
    await driven(counted)
    watching = Watching(counted, ManualClock())
    found = await asyncio.gather(*(asking(watching.watch("run_1", TENANT)) for _ in range(50)))
    assert len({id(change) for change in found}) == 1
    assert counted.looks == [1]


async def test_a_journal_that_fails_is_told_of(counted: Counted) -> None:
    """Each watcher hears why, and may ask again."""
    await driven(counted)
    watching = Watching(counted, Rushing())
    watches = [watching.watch("run_1", TENANT) for _ in range(2)]
    counted.refuses = True
    for error in await asyncio.gather(*map(asking, watches), return_exceptions=True):
        assert isinstance(error, StorageError)
    counted.refuses = False
    assert [(await anext(watch)).whole for watch in watches] == [True, True]


async def test_a_clock_that_is_set_back_delays_nothing(counted: Counted) -> None:
    """The machine's clock may jump by hours: looks go on."""
    clock = ManualClock()
    watch = Watching(counted, clock).watch("run_1", TENANT)
    await counted.submit(asked())
    await anext(watch)
    clock.advance(0.25)
    waiting = asking(watch)
    await turns()
    clock._now -= 7200.0  # as by an administrator
    clock._sleepers = [(due - 7200.0, order, woken) for due, order, woken in clock._sleepers]
    counted.looks.clear()
    for _ in range(4):
        clock.advance(0.25)
        await turns()
    assert len(counted.looks) >= 3
    counted.on_write(None)
    await counted.cancel("run_1", now=NOW)
    clock.advance(0.25)
    await turns()
    assert waiting.done()
    assert (await waiting).run.status == "canceled"
