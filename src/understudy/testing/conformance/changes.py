"""The part of a journal's contract that callers meet: requests, what they watch, who is told."""

from __future__ import annotations

import asyncio

import pytest

from understudy.engine.change import Change, Cursor, Look, Seen
from understudy.engine.flow import Flow
from understudy.engine.interrupts import SupersededInterrupt
from understudy.engine.journal import Journal, Overdue, Past
from understudy.engine.run import (
    Claim,
    Outcome,
    Request,
    Run,
    Scope,
    Signal,
    Step,
    Submission,
    WaitFor,
    out_of_time,
)
from understudy.errors import KeyReused, NotFound
from understudy.testing.conformance.rows import (
    FAULT,
    HOOK,
    NOBODY,
    NOW,
    TENANT,
    WORKER,
    a_run,
    a_step,
    asked,
    claim_all,
    driven,
    failed_step,
    look,
    open_step,
    wait_for,
)

_DONE = Outcome("succeeded", output="{}")
_FAILED = Outcome("failed", error=FAULT)
_WAITING = {"kind": "timer", "text": "the clock", "until": NOW + 9}


class RequestContract:
    """Requests: who asks the same again is answered by the same run."""

    async def test_a_request_is_one_run(self, journal: Journal) -> None:
        """Of the tenant, whatever the operation, also after the run's end."""
        request = Request("k", "f")
        first = await journal.submit(asked("run_1"), request)
        again = await journal.submit(asked("run_2", operation="song"), request)
        assert (first.id, again.id) == ("run_1", "run_1")
        await journal.finish((await claim_all(journal))["run_1"].claim, _DONE, now=NOW)
        ended = await journal.submit(asked("run_3"), request)
        assert (ended.id, ended.status) == ("run_1", "succeeded")
        other = await journal.submit(asked("run_4", tenant="other"), request)
        assert other.id == "run_4"
        for run_id in ("run_2", "run_3"):
            with pytest.raises(NotFound):
                await journal.get(run_id)

    async def test_a_key_is_for_one_request(self, journal: Journal) -> None:
        """With another fingerprint nothing is stored, and the first run goes on."""
        await journal.submit(asked("run_1"), Request("k", "f"))
        for submission in (asked("run_2"), asked("run_2", input='{"file":"art_1"}')):
            with pytest.raises(KeyReused, match="'k' was used for run_1"):
                await journal.submit(submission, Request("k", "g"))
        with pytest.raises(NotFound):
            await journal.get("run_2")
        assert set(await claim_all(journal)) == {"run_1"}

    async def test_many_at_once_are_one_run_each(self, journal: Journal) -> None:
        """The same requests in one batch: each key one run, whoever of them comes first."""
        asking = [
            journal.submit(asked(f"run_{key}{n}"), Request(key, key))
            for n in range(5)
            for key in ("a", "b", "c")
        ]
        wrong = journal.submit(asked("run_x"), Request("a", "x"))
        *runs, refused = await asyncio.gather(*asking, wrong, return_exceptions=True)
        assert isinstance(refused, KeyReused)
        found = [run.id for run in runs if isinstance(run, Run)]
        assert len(found) == 15
        assert set(found) == {"run_a0", "run_b0", "run_c0"} == set(await claim_all(journal))

    async def test_a_request_meets_the_operations_own_key(self, journal: Journal) -> None:
        """A run that is there already answers the request, now and when it is repeated."""
        await journal.submit(asked("run_1", idempotency_key="i"))
        request = Request("k", "f")
        for run_id in ("run_2", "run_3"):
            assert (await journal.submit(asked(run_id, idempotency_key="i"), request)).id == "run_1"
        assert (await journal.submit(asked("run_4"), request)).id == "run_1"

    async def test_a_forgotten_run_answers_no_more(self, journal: Journal) -> None:
        """Its key may then be used for anything."""
        await journal.submit(asked("run_1"), Request("k", "f"))
        await journal.finish((await claim_all(journal))["run_1"].claim, _DONE, now=NOW)
        await journal.forget(Past(NOW + 9, status="succeeded"))
        assert (await journal.submit(asked("run_2"), Request("k", "g"))).id == "run_2"
        assert (await journal.submit(asked("run_3"), Request("k", "g"))).id == "run_2"
        await journal.finish((await claim_all(journal))["run_2"].claim, _DONE, now=NOW)
        await journal.forget(Past(NOW + 9))
        assert (await journal.submit(asked("run_4"), Request("k", "f"))).id == "run_4"


class _Watcher:
    """Follows one run by cursors, and keeps what it is told, as a client would."""

    def __init__(self, journal: Journal, run_id: str = "run_1") -> None:
        self._journal = journal
        self._run_id = run_id
        self.cursor: Cursor | None = None
        self.run: Run | None = None
        self.steps: dict[str, Step] = {}

    async def look(self) -> Seen:
        (seen,) = await self._journal.changes([Look(self._run_id, TENANT, self.cursor)])
        if seen.change is not None:
            self._take(seen.change)
        return seen

    def _take(self, change: Change) -> None:
        if change.whole:
            self.steps.clear()
        self.cursor, self.run = change.cursor, change.run
        self.steps |= {step.key: step for step in change.steps}

    async def changed(self) -> bool:
        """Whether something was new; what is known is then all that there is."""
        new = (await self.look()).change is not None
        assert self.run == await self._journal.get(self._run_id)
        steps = await self._journal.steps(self._run_id)
        assert self.steps == {step.key: step for step in steps}
        assert (await self.look()).change is None
        return new


class ChangeContract:
    """Watching: whatever changes in a run is numbered, and told once."""

    async def test_every_move_of_a_run_is_seen(self, journal: Journal) -> None:
        """From its submission to its end and on, and each is told once."""
        watcher = _Watcher(journal)
        assert not (await watcher.look()).found
        await journal.submit(asked())
        assert await watcher.changed()
        claim = (await claim_all(journal))["run_1"].claim
        assert await watcher.changed()
        journal.progress(claim, {"done": 1, "total": 2, "note": ""})
        await journal.wake("", now=NOW)  # a write comes after what was posted
        assert await watcher.changed()
        await journal.park(claim, NOW + 9, _WAITING)
        assert await watcher.changed()
        await journal.wake("run_1", now=NOW)
        assert await watcher.changed()
        await claim_all(journal)
        await journal.cancel("run_1", now=NOW)
        assert await watcher.changed()
        assert await journal.recover(now=NOW) == ["run_1"]
        assert await watcher.changed()
        claim = (await claim_all(journal))["run_1"].claim
        await journal.release(claim, now=NOW)
        assert await watcher.changed()
        claim = (await claim_all(journal))["run_1"].claim
        await journal.finish(claim, _FAILED, now=NOW)
        assert await watcher.changed()
        seen = await watcher.look()
        assert (seen.found, seen.done, seen.change) == (True, True, None)
        await journal.retry("run_1", now=NOW)
        assert await watcher.changed()
        await journal.cancel("run_1", now=NOW)
        assert await watcher.changed()

    async def test_every_write_of_a_step_is_seen(self, journal: Journal) -> None:
        """By whatever move it is stored, in this tenure and in the next."""
        claim = await driven(journal)
        watcher = _Watcher(journal)
        assert await watcher.changed()
        await journal.record(claim, open_step("nap", 0, kind="sleep", due_at=NOW + 5))
        assert await watcher.changed()
        await journal.emit(
            claim, a_step("told", 1, kind="emit", result="null"), Signal(TENANT, "n", "1")
        )
        assert await watcher.changed()
        await look(journal, claim, wait_for())
        assert await watcher.changed()
        child = a_run("run_2", parent_id="run_1", parent_key="song", wake_at=NOW + 99)
        await journal.start_child(claim, open_step("song", 3, kind="call"), Submission(child))
        assert await watcher.changed()
        await journal.record(claim, a_step("nap", 0, kind="sleep", ended_at=NOW + 5))
        assert await watcher.changed()
        await journal.record(claim, a_step("nap", 0, kind="sleep", ended_at=NOW + 6))
        assert not await watcher.changed()
        await journal.release(claim, now=NOW)
        claim = (await claim_all(journal))["run_1"].claim
        assert await watcher.changed()
        await journal.record(claim, a_step("late", 4))
        assert await watcher.changed()
        assert watcher.steps["late"].change > watcher.steps["nap"].change

    async def test_only_what_is_new_is_told(self, journal: Journal) -> None:
        """A cursor of this attempt gets the steps after it; any other, all of them."""
        claim = await driven(journal)
        await journal.record(claim, a_step("a", 0))
        (first,) = await journal.changes([Look("run_1", None, None)])
        await journal.record(claim, a_step("b", 1))
        assert first.change is not None
        known = first.change.cursor
        attempt, number, _ = known
        ahead = Cursor(attempt, number + 9, 0)
        before = Cursor(attempt + 1, number, 0)
        looks = [Look("run_1", None, after) for after in (known, None, ahead, before, known)]
        found = [seen.change for seen in await journal.changes(looks)]
        told = [([step.key for step in one.steps], one.whole) for one in found if one]
        whole = (["a", "b"], True)
        assert told == [(["b"], False), whole, whole, whole, (["b"], False)]
        assert [one.cursor for one in found if one] == [known._replace(steps=2)] * 5
        assert await journal.changes([]) == []

    async def test_a_retry_voids_what_was_known(self, journal: Journal) -> None:
        """What it has forgotten is gone from the watcher's picture, too."""
        claim = await driven(journal)
        await journal.record(claim, a_step("first", 0))
        await journal.record(claim, failed_step("draw", 1))
        child = a_run("run_2", parent_id="run_1", parent_key="song", wake_at=NOW + 99)
        await journal.start_child(claim, open_step("song", 2, kind="call"), Submission(child))
        await journal.finish(claim, _FAILED, now=NOW)
        watcher = _Watcher(journal)
        assert await watcher.changed()
        await journal.retry("run_1", now=NOW)
        assert await watcher.changed()
        assert set(watcher.steps) == {"first", "song"}
        again = (await claim_all(journal))["run_1"].claim
        await journal.record(again, a_step("draw", 1, ended_at=NOW + 1))
        assert await watcher.changed()

    async def test_a_reopened_call_is_seen(self, journal: Journal) -> None:
        """A retry that lets a failed call wait again numbers that change after all others."""
        claim = await driven(journal)
        call = open_step("song", 0, kind="call")
        child = a_run("run_2", parent_id="run_1", parent_key="song", wake_at=NOW + 99)
        await journal.start_child(claim, call, Submission(child))
        await journal.record(claim, failed_step("song", 0, kind="call"))
        await journal.record(claim, a_step("beside", 1, ended_at=NOW - 1))
        await journal.finish(claim, Outcome("failed", error={**FAULT, "step": "song"}), now=NOW)
        await journal.retry("run_1", now=NOW)
        numbers = {step.key: step.change for step in await journal.steps("run_1")}
        assert numbers["song"] > numbers["beside"]
        claimed = (await claim_all(journal))["run_1"]
        assert next(claimed.claim.changes) > numbers["song"]

    async def test_limits_are_seen(self, journal: Journal) -> None:
        """That a run is held, and that it is no more."""
        scope = Scope(("film", "song"), flows={"film": Flow(None, 1, None)})
        for number in (1, 2):
            limited = asked(f"run_{number}", lane="film", concurrency_key="a", wake_at=NOW + number)
            await journal.submit(limited)
        held = _Watcher(journal, "run_2")
        assert await held.changed()
        (first,) = (await journal.claim(WORKER, scope, limit=9, now=NOW + 9)).runs
        assert await held.changed()
        assert held.run is not None
        assert held.run.held == 1
        await journal.finish(first.claim, _DONE, now=NOW + 9)
        assert await held.changed()
        await journal.fail_overdue(Overdue(out_of_time, lambda _: None), now=NOW)
        assert not await held.changed()

    async def test_strangers_see_nothing(self, journal: Journal) -> None:
        """Another tenant's run is not there; nor is one that has been forgotten."""
        await journal.submit(asked("run_1", tenant="other"))
        looks = [Look("run_1", tenant, None) for tenant in (TENANT, "other", None)]
        assert [seen.found for seen in await journal.changes(looks)] == [False, True, True]
        await journal.cancel("run_1", now=NOW)
        await journal.forget(Past(NOW + 9))
        assert [seen.found for seen in await journal.changes(looks)] == [False] * 3

    async def test_who_writes_says_so(self, journal: Journal) -> None:
        """Each write of a driver is told after it was made, until nobody listens any more."""
        heard: list[str] = []
        journal.on_write(heard.append)
        claim = await driven(journal)
        await journal.record(claim, a_step())
        await journal.finish(claim, _DONE, now=NOW)
        assert heard == ["run_1"] * 3
        journal.on_write(None)
        await driven(journal, "run_2")
        assert len(heard) == 3


class TellingContract:
    """Webhooks: the end of a run and the run that tells of it are one change."""

    async def test_an_end_is_told(self, journal: Journal) -> None:
        """However its driver ends it; the id is among those to look at."""
        ends = {
            "run_1": _DONE,
            "run_2": _FAILED,
            "run_3": Outcome("canceled"),
        }
        for run_id, outcome in ends.items():
            claim = await driven(journal, run_id, webhook=HOOK)
            assert await journal.finish(claim, outcome, now=NOW) == [f"{run_id}-told-1"]
            assert (await journal.get(f"{run_id}-told-1")).input == f'"{outcome.status}"'
        quiet = await driven(journal, "run_4")
        nobody = await driven(journal, "run_5", webhook=NOBODY)
        for claim in (quiet, nobody):
            assert await journal.finish(claim, _DONE, now=NOW) == []

    async def test_who_lost_the_claim_tells_nothing(self, journal: Journal) -> None:
        """The end is not stored, so nobody is told of it."""
        claim = await driven(journal, webhook=HOOK)
        stale = Claim("run_1", "another", claim.epoch, webhook=HOOK)
        with pytest.raises(SupersededInterrupt):
            await journal.finish(stale, _DONE, now=NOW)
        with pytest.raises(NotFound):
            await journal.get("run_1-told-1")

    async def test_an_end_that_nobody_drives_is_told(self, journal: Journal) -> None:
        """By a cancel, a signal, a deadline, and as the child of a run that was canceled."""
        await journal.submit(asked("run_1", webhook=HOOK))
        assert await journal.cancel("run_1", now=NOW) == ["run_1-told-1"]
        wish = (WaitFor("gone", {}, None),)
        await journal.submit(Submission(a_run("run_2", webhook=HOOK), wish))
        woken = await journal.signal(Signal(TENANT, "gone", "1"), now=NOW)
        assert woken == ["run_2", "run_2-told-1"]
        await journal.submit(asked("run_3", webhook=HOOK, deadline_at=NOW + 1))
        overdue = Overdue(out_of_time, lambda _: None)
        assert await journal.fail_overdue(overdue, now=NOW + 1) == ["run_3-told-1"]
        parent = await driven(journal, "run_4")
        child = a_run("run_5", parent_id="run_4", parent_key="song", webhook=HOOK)
        await journal.start_child(parent, open_step("song", kind="call"), Submission(child))
        ended = await journal.finish(parent, Outcome("canceled"), now=NOW)
        assert "run_5-told-1" in ended
        assert (await journal.get("run_5-told-1")).input == '"canceled"'

    async def test_each_end_is_told_once(self, journal: Journal) -> None:
        """A second cancel says nothing; the end after a retry is another one."""
        await journal.submit(asked("run_1", webhook=HOOK))
        assert await journal.cancel("run_1", now=NOW) == ["run_1-told-1"]
        assert await journal.cancel("run_1", now=NOW) == []
        await journal.retry("run_1", now=NOW)
        claim = (await claim_all(journal))["run_1"].claim
        assert await journal.finish(claim, _DONE, now=NOW) == ["run_1-told-2"]


class PlaceContract:
    """Where a run stands in its queue."""

    async def test_a_place_counts_who_is_due_before(self, journal: Journal) -> None:
        """In the same lane; a run that is driven or has ended stands in no queue."""
        for number in range(3):
            await journal.submit(asked(f"run_{number}", wake_at=NOW + number))
            await journal.submit(asked(f"run_l{number}", lane="film", wake_at=NOW - 9))
        places = [await journal.place(await journal.get(f"run_{n}")) for n in range(3)]
        assert places == [0, 1, 2]
        same = [await journal.place(await journal.get(f"run_l{n}")) for n in range(3)]
        assert same == [0, 1, 2]
        claim = (await journal.claim(WORKER, Scope(("film",)), limit=1, now=NOW)).runs[0].claim
        assert claim.run_id == "run_0"
        assert await journal.place(await journal.get("run_0")) is None
        assert await journal.place(await journal.get("run_1")) == 0
        await journal.finish(claim, _DONE, now=NOW)
        assert await journal.place(await journal.get("run_0")) is None

    async def test_who_is_held_stands_among_its_key(self, journal: Journal) -> None:
        """Those of the same key that were held before it."""
        scope = Scope(("film",), flows={"film": Flow(None, 1, None)})
        for number, key in enumerate("aabaa"):
            due = NOW - 9 + number
            limited = asked(f"run_{number}", lane="film", concurrency_key=key, wake_at=due)
            await journal.submit(limited)
        await journal.claim(WORKER, scope, limit=9, now=NOW)
        runs = [await journal.get(f"run_{n}") for n in range(5)]
        assert [run.held for run in runs] == [0, 1, 0, 1, 1]
        assert [await journal.place(run) for run in runs] == [None, 0, None, 1, 2]
