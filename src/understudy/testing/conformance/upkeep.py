"""The part of a journal's contract that is about workers, schedules, forks and the past."""

from __future__ import annotations

import pytest

from understudy.engine.journal import Journal, Past, Slot
from understudy.engine.run import Claim, Outcome, Run, Signal, Submission
from understudy.errors import NotFound
from understudy.testing.conformance.rows import (
    FAULT,
    NOW,
    TENANT,
    a_run,
    a_step,
    asked,
    claim_all,
    driven,
    look,
    open_step,
    plain,
    wait_for,
)

_DONE = Outcome("succeeded", output="{}")
_INFO = {"started_at": NOW, "host": "here"}


class LeaseContract:
    """Workers: as long as a lease is renewed, its runs are left alone."""

    async def test_a_lease_keeps_the_claims(self, journal: Journal) -> None:
        """Recovery takes what belongs to workers that are not in the list, or whose time is up."""
        await journal.enlist("alive", lease=30.0, info=_INFO)
        await journal.submit(asked("run_1"))
        await journal.submit(asked("run_2"))
        await claim_all(journal, worker="alive")
        assert await journal.recover(now=NOW + 29) == []
        (worker,) = await journal.workers()
        assert (worker.name, worker.lease_until, worker.driving) == ("alive", NOW + 30, 2)
        assert worker.info["host"] == "here"
        assert sorted(await journal.recover(now=NOW + 30)) == ["run_1", "run_2"]
        assert await journal.workers() == []
        assert (await journal.get("run_1")).epoch == 2

    async def test_a_beat_renews_the_lease(self, journal: Journal) -> None:
        """And says whether it was held; who left or was forgotten has none."""
        heard: list[tuple[bool, bool, float]] = []
        await journal.enlist("alive", lease=30.0, info=_INFO)
        beats = journal.beats("alive", lease=30.0, every=1e6)
        beats.tell = lambda *answer: heard.append(answer)
        try:
            beats.now, beats.info = lambda: NOW + 20, {**_INFO, "host": "there"}
            await beats.once()
            (worker,) = await journal.workers()
            assert (worker.lease_until, worker.info["host"]) == (NOW + 50, "there")
            await journal.leave("alive")
            await beats.once()
        finally:
            await beats.close()
        assert heard == [(True, False, NOW + 20), (False, False, NOW + 20)]

    async def test_who_leaves_keeps_nothing(self, journal: Journal) -> None:
        """Its claims are recovered at once, whatever was left of its lease."""
        await journal.enlist("gone", lease=30.0, info=_INFO)
        await driven(journal)
        await journal.leave("gone")
        assert await journal.recover(now=NOW) == ["run_1"]


class ScheduleContract:
    """Cron: the next slot, and the runs of those passed, are one change."""

    async def test_a_slot_is_taken_by_one(self, journal: Journal) -> None:
        """Whoever expects what is no longer so changes nothing and starts nothing."""
        first, second, third = (Slot("0 * * * * UTC", NOW + 60 * n) for n in (1, 2, 3))
        assert await journal.slots(TENANT) == {}
        assert await journal.schedule(TENANT, "film", first, expected=None)
        assert not await journal.schedule(TENANT, "film", first, expected=None)
        assert await journal.slots(TENANT) == {"film": first}
        one, two = (asked("run_1", idempotency_key="c"),), (asked("run_2"),)
        assert await journal.schedule(TENANT, "film", second, expected=first, starts=one)
        assert not await journal.schedule(TENANT, "film", third, expected=first, starts=two)
        other = second._replace(cron="5 * * * * UTC")
        assert not await journal.schedule(TENANT, "film", third, expected=other, starts=two)
        assert await journal.slots(TENANT) == {"film": second}
        assert await journal.slots("stranger") == {}
        assert set(await claim_all(journal)) == {"run_1"}


class ForkContract:
    """A fork is a run of its own that remembers what came before a step."""

    async def test_a_fork_remembers_what_came_before(self, journal: Journal) -> None:
        """Finished steps only; the run that it came from stays as it is."""
        claim = await driven(journal)
        steps = [a_step("a", 0), open_step("nap", 1, kind="sleep"), a_step("b", 2), a_step("c", 3)]
        for step in steps:
            await journal.record(claim, step)
        await journal.fork("run_1", "c", Submission(_fork("run_2")))
        await journal.fork("run_1", "a", Submission(_fork("run_3")))
        await journal.fork("run_1", None, Submission(_fork("run_4")))
        assert plain(await journal.steps("run_2")) == [steps[0], steps[2]]
        assert plain(await journal.steps("run_3")) == []
        assert plain(await journal.steps("run_4")) == [steps[0], steps[2], steps[3]]
        assert plain((await claim_all(journal))["run_2"].steps) == [steps[0], steps[2]]
        assert plain(await journal.steps("run_1")) == steps
        assert (await journal.get("run_2")).forked_from == "run_1"
        with pytest.raises(NotFound, match="run_1 has no step 'd'; it has: a, nap, b, c"):
            await journal.fork("run_1", "d", Submission(_fork("run_5")))
        with pytest.raises(NotFound):
            await journal.get("run_5")

    async def test_a_fork_has_used_the_signals_that_it_remembers(self, journal: Journal) -> None:
        """One that answered a remembered wait answers no other; the others may."""
        claim = await driven(journal)
        for text in ("1", "2"):
            await journal.signal(Signal(TENANT, "answer", text), now=NOW)
        for seq, key in enumerate(("first", "second")):
            step = open_step(key, seq)
            await journal.await_signal(claim, step, wait_for(), now=NOW)
        await journal.fork("run_1", "second", Submission(_fork("run_2")))
        forked = (await claim_all(journal))["run_2"].claim
        assert (await look(journal, forked, wait_for(), key="second")).result == "2"


class PastContract:
    """Retention: what is over goes in batches, and nothing that somebody may still need."""

    async def test_what_has_ended_is_forgotten(self, journal: Journal) -> None:
        """Runs with their steps, by age and state, the oldest first, at most `limit` at once."""
        for number in range(4):
            claim = await driven(journal, f"run_{number}")
            await journal.record(claim, a_step())
            failed = Outcome("failed", error=FAULT)
            await journal.finish(claim, failed if number == 2 else _DONE, now=NOW + number)
        await journal.submit(asked("run_9", created_at=NOW - 99))
        assert await journal.forget(Past(NOW)) == 0
        assert await journal.forget(Past(NOW + 9, status="failed")) == 1
        assert await journal.forget(Past(NOW + 9, limit=1)) == 1
        assert await _there(journal) == ["run_1", "run_3", "run_9"]
        assert await journal.steps("run_0") == []
        assert await journal.forget(Past(NOW + 9)) == 2
        assert await _there(journal) == ["run_9"]

    async def test_a_family_is_kept_while_its_parent_is_open(self, journal: Journal) -> None:
        """A parent that is tried again finds its child; then both go."""
        parent = await driven(journal)
        await _child_of(journal, parent)
        assert await journal.forget(Past(NOW + 99)) == 0
        await journal.finish(parent, _DONE, now=NOW + 50)
        assert await journal.forget(Past(NOW + 20)) == 0
        assert await journal.forget(Past(NOW + 99)) == 2
        assert await _there(journal) == []

    async def test_a_signal_is_kept_for_who_may_use_it(self, journal: Journal) -> None:
        """One that came before every open run of its tenant is past; of others it is not."""
        await journal.signal(Signal(TENANT, "answer", "1"), now=NOW - 1)
        await journal.signal(Signal("other", "answer", "1"), now=NOW + 1)
        claim = await driven(journal)
        await journal.signal(Signal(TENANT, "answer", "2"), now=NOW + 1)
        assert await journal.forget(Past(NOW + 99, status="failed")) == 0
        assert await journal.forget(Past(NOW + 99)) == 2
        assert (await look(journal, claim, wait_for(), now=NOW + 2)).result == "2"
        await journal.finish(claim, _DONE, now=NOW + 3)
        assert await journal.forget(Past(NOW + 99)) == 2


def _fork(run_id: str) -> Run:
    return a_run(run_id, forked_from="run_1")


async def _child_of(journal: Journal, parent: Claim) -> None:
    """A child that has ended."""
    child = a_run("run_2", parent_id="run_1", parent_key="song")
    await journal.start_child(parent, open_step("song", kind="call"), Submission(child))
    claim = (await claim_all(journal))["run_2"].claim
    await journal.finish(claim, _DONE, now=NOW + 10)


async def _there(journal: Journal) -> list[str]:
    found = []
    for run_id in (f"run_{number}" for number in range(10)):
        try:
            found.append((await journal.get(run_id)).id)
        except NotFound:
            continue
    return found


class UpkeepContract(LeaseContract, ScheduleContract, ForkContract, PastContract):
    """All of these."""
