"""What every journal must do, whatever it is made of.

    class TestMyJournal(JournalContract):
        @pytest.fixture
        def journal(self): return MyJournal(tells=telling)

The journal must be empty, and tell webhooks by `understudy.testing.conformance.rows.telling`. Tests
are `async def`: run them with any plugin or hook that does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable

import pytest

from understudy.engine.interrupts import SupersededInterrupt
from understudy.engine.journal import Journal
from understudy.engine.run import Claim, Outcome, RunFilter, Scope, Signal, Submission
from understudy.errors import Conflict, NotFound
from understudy.testing.conformance.changes import (
    ChangeContract,
    PlaceContract,
    RequestContract,
    TellingContract,
)
from understudy.testing.conformance.flow import ConsequenceContract, LimitContract
from understudy.testing.conformance.retries import RetryContract
from understudy.testing.conformance.rows import (
    FAULT,
    HOOK,
    NOW,
    SCOPE,
    TENANT,
    WORKER,
    a_run,
    a_step,
    asked,
    claim_all,
    driven,
    failed_step,
    open_step,
    plain,
)
from understudy.testing.conformance.signals import SignalContract
from understudy.testing.conformance.upkeep import UpkeepContract

_DONE = Outcome("succeeded", output="{}")
_WAITING = {"kind": "timer", "text": "the clock", "until": NOW + 9}


class RunContract:
    """Runs: submitted, claimed, parked, handed back, ended, canceled, listed."""

    async def test_a_run_comes_back_as_it_was_submitted(self, journal: Journal) -> None:
        """Every field of a run is stored and read back."""
        run = a_run(user="ann", input='{"text":"ä\\u0000"}', version=3, webhook=HOOK)
        await journal.submit(Submission(run))
        assert await journal.get(run.id) == run
        assert await journal.steps(run.id) == []
        with pytest.raises(NotFound):
            await journal.get("run_2")

    async def test_what_is_due_is_claimed_once(self, journal: Journal) -> None:
        """The longest due run first, at most `limit`, each with a token; the rest later."""
        for number, due in enumerate((3.0, 1.0, 2.0, -5.0)):
            await journal.submit(asked(f"run_{number}", wake_at=NOW - due))
        first = await journal.claim(WORKER, SCOPE, limit=2, now=NOW)
        assert [claimed.run.id for claimed in first.runs] == ["run_0", "run_2"]
        second = await journal.claim("other", SCOPE, limit=2, now=NOW)
        assert [claimed.run.id for claimed in second.runs] == ["run_1"]
        assert second.next_due == NOW + 5
        assert len({claimed.claim.token for claimed in (*first.runs, *second.runs)}) == 3
        run = await journal.get("run_0")
        assert (run.status, run.worker, run.started_at) == ("running", WORKER, NOW)
        assert run.claim == first.runs[0].claim.token
        assert (await journal.claim(WORKER, SCOPE, limit=9, now=NOW)).runs == ()

    async def test_a_scope_limits_what_is_claimed(self, journal: Journal) -> None:
        """Unknown operations stay queued; with a root only its runs, and what came since."""
        await journal.submit(asked("run_1", created_at=NOW - 9))
        await journal.submit(asked("run_2", created_at=NOW - 9))
        await journal.submit(asked("run_3", created_at=NOW - 9, root_id="run_1"))
        await journal.submit(asked("run_4"))
        await journal.submit(asked("run_5", operation="poem"))
        await journal.submit(asked("run_6", operation="poem", wake_at=NOW + 5))
        scope = Scope(SCOPE.operations, root="run_1", since=NOW)
        claims = await journal.claim(WORKER, scope, limit=9, now=NOW)
        assert {claimed.run.id for claimed in claims.runs} == {"run_1", "run_3", "run_4"}
        assert claims.next_due is None
        assert set(await claim_all(journal)) == {"run_2"}
        assert (await journal.claim(WORKER, Scope(()), limit=9, now=NOW)).runs == ()

    async def test_a_parked_run_comes_back_at_its_time(self, journal: Journal) -> None:
        """A parked run holds no claim, says what it waits for, and remembers its steps."""
        claim = await driven(journal)
        await journal.record(claim, a_step("b", 1))
        await journal.record(claim, a_step("a", 0))
        assert await journal.park(claim, NOW + 9, _WAITING) is False
        run = await journal.get("run_1")
        assert (run.status, run.claim, run.worker) == ("waiting", None, None)
        assert (run.wake_at, run.waiting_for) == (NOW + 9, _WAITING)
        early = await journal.claim(WORKER, SCOPE, limit=9, now=NOW + 8)
        assert (early.runs, early.next_due) == ((), NOW + 9)
        claimed = (await claim_all(journal, NOW + 9))["run_1"]
        assert [step.key for step in claimed.steps] == ["a", "b"]
        run = await journal.get("run_1")
        assert (run.waiting_for, run.wake_at, run.started_at) == (None, None, NOW)

    async def test_a_poke_before_the_park_keeps_the_run_due(self, journal: Journal) -> None:
        """A wake that comes while a run is driven is not lost by its parking."""
        claim = await driven(journal)
        await journal.wake("run_1", now=NOW + 1)
        assert await journal.park(claim, NOW + 99, _WAITING) is True
        assert set(await claim_all(journal, NOW + 1)) == {"run_1"}

    async def test_a_poke_is_taken_once(self, journal: Journal) -> None:
        """`poked` names woken runs of that worker until the poke is taken."""
        claim = await driven(journal)
        assert await journal.poked(WORKER, now=NOW) == []
        await journal.wake("run_1", now=NOW)
        assert await journal.poked(WORKER, now=NOW) == ["run_1"]
        assert await journal.poked("other", now=NOW) == []
        assert await journal.take_poke(claim) is False
        assert await journal.poked(WORKER, now=NOW) == []
        await journal.cancel("run_1", now=NOW)
        assert await journal.take_poke(claim) is True
        assert await journal.park(claim, None, _WAITING) is False

    async def test_release_begins_a_new_tenure(self, journal: Journal) -> None:
        """A run that was handed back is due before new ones, at a higher epoch, with its steps."""
        claim = await driven(journal)
        await journal.record(claim, a_step())
        await journal.release(claim, now=NOW + 1)
        run = await journal.get("run_1")
        assert (run.status, run.epoch, run.claim, run.wake_at) == ("queued", 2, None, NOW)
        claimed = (await claim_all(journal, NOW + 1))["run_1"]
        assert claimed.claim.epoch == 2
        assert plain(claimed.steps) == [a_step()]

    async def test_recovery_takes_every_claim(self, journal: Journal) -> None:
        """What dead workers held is queued again; what nobody held stays as it is."""
        await driven(journal, "run_1")
        parked = await driven(journal, "run_2")
        await journal.park(parked, NOW + 99, _WAITING)
        assert len(await journal.recover(now=NOW + 1)) == 1
        assert await journal.recover(now=NOW + 1) == []
        assert (await journal.get("run_1")).epoch == 2
        assert (await journal.get("run_2")).wake_at == NOW + 99
        assert set(await claim_all(journal, NOW + 1)) == {"run_1"}

    async def test_an_end_is_final(self, journal: Journal) -> None:
        """Output or error is stored with the end; an ended run is never due or woken again."""
        one, two = await driven(journal, "run_1"), await driven(journal, "run_2")
        await journal.wake("run_1", now=NOW)
        assert await journal.finish(one, _DONE, now=NOW + 1) == []
        await journal.finish(two, Outcome("failed", error=FAULT), now=NOW + 2)
        run = await journal.get("run_1")
        assert (run.status, run.output, run.error, run.ended_at) == (
            "succeeded",
            "{}",
            None,
            NOW + 1,
        )
        assert (run.done, run.claim, run.wake_at) == (True, None, None)
        assert (await journal.get("run_2")).error == FAULT
        await journal.wake("run_1", now=NOW + 3)
        assert await claim_all(journal, NOW + 9) == {}

    async def test_who_lost_the_claim_changes_nothing(self, journal: Journal) -> None:
        """Every move needs the token that the row holds; a stale driver is told so."""
        claim = await driven(journal)
        await journal.record(claim, a_step("draw"))
        await journal.recover(now=NOW)
        await claim_all(journal)
        before = await journal.get("run_1")
        stale = dataclasses.replace(claim, token=before.claim or "")
        moves: list[Callable[[Claim], Awaitable[object]]] = [
            lambda held: journal.record(held, a_step("late")),
            lambda held: journal.emit(held, a_step("late"), Signal(TENANT, "n", "1")),
            lambda held: journal.start_child(held, open_step("late", kind="call"), asked("run_9")),
            lambda held: journal.park(held, None, _WAITING),
            lambda held: journal.release(held, now=NOW),
            lambda held: journal.finish(held, _DONE, now=NOW),
        ]
        for move in moves:
            with pytest.raises(SupersededInterrupt):
                await move(claim)
        for move in moves[3:]:
            with pytest.raises(SupersededInterrupt):
                await move(stale)
        assert await journal.take_poke(claim) is False
        journal.progress(claim, {"done": 1, "total": 2, "note": ""})
        await journal.wake("", now=NOW)  # a write comes after what was posted
        assert await journal.get("run_1") == before
        assert [step.key for step in await journal.steps("run_1")] == ["draw"]

    async def test_progress_is_shown(self, journal: Journal) -> None:
        """The last word on progress is stored."""
        claim = await driven(journal)
        for done in (1, 2):
            journal.progress(claim, {"done": done, "total": 2, "note": "ä"})
        await journal.wake("", now=NOW)  # a write comes after what was posted
        assert (await journal.get("run_1")).progress == {"done": 2, "total": 2, "note": "ä"}

    async def test_lists_are_filtered(self, journal: Journal) -> None:
        """By tenant, operation and state, newest first, at most `limit`; open ones oldest first."""
        await journal.submit(asked("run_1"))
        await journal.submit(asked("run_2", operation="song", user="ann"))
        await journal.submit(asked("run_3", tenant="other"))
        claim = (await journal.claim(WORKER, Scope(("song",)), limit=1, now=NOW)).runs[0].claim
        await journal.submit(asked("run_4"))

        async def ids(**wanted: object) -> list[str]:
            wanted = {"tenant": TENANT, **wanted}
            return [run.id for run in await journal.list(RunFilter(**wanted))]  # type: ignore[arg-type]

        assert await ids() == ["run_4", "run_2", "run_1"]
        assert await ids(limit=1) == ["run_4"]
        assert await ids(operation="film") == ["run_4", "run_1"]
        assert await ids(user="ann") == ["run_2"]
        assert await ids(user="ann", unfinished=True, operation="song") == ["run_2"]
        assert await ids(user="ann", unfinished=True, operation="film") == []
        assert await ids(user="ann", tenant="other") == []
        assert await ids(status="running") == ["run_2"]
        assert await ids(tenant="other", operation="song") == []
        await journal.finish(claim, _DONE, now=NOW)
        assert [run.id for run in await journal.unfinished(TENANT)] == ["run_1", "run_4"]


class StepContract:
    """Steps: remembered once, never changed after their end."""

    async def test_a_finished_step_never_changes(self, journal: Journal) -> None:
        """Pauses may follow each other; once it ended, the first end stands."""
        claim = await driven(journal)
        paused = a_step(state="retry", result=None, ended_at=None, due_at=NOW + 1, error=FAULT)
        await journal.record(claim, paused)
        assert plain(await journal.steps("run_1")) == [paused]
        ended = a_step(attempt=2, result='"first"', ended_at=NOW + 2)
        await journal.record(claim, ended)
        for late in (a_step(result='"second"'), failed_step(), paused):
            await journal.record(claim, late)
        assert plain(await journal.steps("run_1")) == [ended]

    async def test_a_pause_keeps_when_the_step_began(self, journal: Journal) -> None:
        """Recording a step again changes how it stands, not what it is."""
        claim = await driven(journal)
        await journal.record(claim, open_step("nap", kind="sleep", due_at=NOW + 5))
        await journal.record(claim, a_step("nap", 4, kind="sleep", started_at=NOW + 5))
        (step,) = await journal.steps("run_1")
        assert (step.seq, step.started_at, step.state) == (0, NOW, "succeeded")

    async def test_a_result_after_a_cancel_is_kept(self, journal: Journal) -> None:
        """As long as the row holds the token, what a step has done is remembered."""
        claim = await driven(journal)
        await journal.cancel("run_1", now=NOW)
        await journal.record(claim, a_step())
        await journal.finish(claim, Outcome("canceled"), now=NOW)
        assert plain(await journal.steps("run_1")) == [a_step()]
        with pytest.raises(SupersededInterrupt):
            await journal.record(claim, a_step("late", 1))


class FamilyContract:
    """Parents, children, and what a cancel does to them."""

    async def test_a_child_is_started_once(self, journal: Journal) -> None:
        """The call and its run are stored together; a repetition stores nothing."""
        claim = await driven(journal)
        step = open_step("song", kind="call")
        child = a_run("run_2", operation="song", parent_id="run_1", parent_key="song")
        await journal.start_child(claim, step, Submission(child))
        await journal.record(claim, a_step("song", kind="call"))
        await journal.start_child(claim, step, asked("run_3"))
        found = await journal.child_of("run_1", "song")
        assert found is not None
        assert found.id == "run_2"
        assert await journal.child_of("run_1", "other") is None
        with pytest.raises(NotFound):
            await journal.get("run_3")

    async def test_a_childs_end_wakes_its_parent(self, journal: Journal) -> None:
        """A parked parent is due at once when its child ends, however it ends."""
        for number, outcome in enumerate(
            (_DONE, Outcome("failed", error=FAULT), Outcome("canceled"))
        ):
            parent, child = await _family(journal, number)
            await journal.park(parent, None, _WAITING)
            assert await journal.finish(child, outcome, now=NOW + 5) == [parent.run_id]
            assert set(await claim_all(journal, NOW + 5)) == {parent.run_id}

    async def test_cancel_ends_at_once_what_nobody_drives(self, journal: Journal) -> None:
        """Queued and parked runs are canceled in the journal; again is no error."""
        await journal.submit(asked("run_1"))
        assert await journal.cancel("run_1", now=NOW + 1) == []
        run = await journal.get("run_1")
        assert (run.status, run.ended_at, run.wake_at) == ("canceled", NOW + 1, None)
        assert await journal.cancel("run_1", now=NOW + 2) == []
        assert (await journal.get("run_1")).ended_at == NOW + 1
        claim = await driven(journal, "run_2")
        await journal.park(claim, NOW + 99, _WAITING)
        await journal.cancel("run_2", now=NOW)
        assert (await journal.get("run_2")).status == "canceled"
        assert await claim_all(journal, NOW + 100) == {}

    async def test_cancel_pokes_who_drives(self, journal: Journal) -> None:
        """A driven run goes on until its driver has heard; recovery does not forget it."""
        await driven(journal)
        assert await journal.cancel("run_1", now=NOW + 1) == ["run_1"]
        assert await journal.cancel("run_1", now=NOW + 2) == ["run_1"]
        run = await journal.get("run_1")
        assert (run.status, run.cancel_requested_at) == ("running", NOW + 1)
        await journal.recover(now=NOW + 3)
        claimed = (await claim_all(journal, NOW + 3))["run_1"]
        assert claimed.run.cancel_requested_at == NOW + 1

    async def test_what_has_ended_cannot_be_canceled(self, journal: Journal) -> None:
        """A succeeded or failed run is a conflict, an unknown one is not found."""
        await journal.finish(await driven(journal), _DONE, now=NOW)
        with pytest.raises(Conflict, match="run_1 has already succeeded"):
            await journal.cancel("run_1", now=NOW)
        with pytest.raises(NotFound):
            await journal.cancel("run_2", now=NOW)

    async def test_a_cancel_takes_the_children_along(self, journal: Journal) -> None:
        """Children and their children: parked ones at once, driven ones by a poke."""
        parent, child = await _family(journal, 1)
        await journal.submit(asked("run_9", parent_id=child.run_id, parent_key="song"))
        await journal.park(parent, None, _WAITING)
        assert await journal.cancel(parent.run_id, now=NOW) == [child.run_id]
        assert (await journal.get(parent.run_id)).status == "canceled"
        assert (await journal.get("run_9")).status == "queued"
        await journal.finish(child, Outcome("canceled"), now=NOW)
        assert (await journal.get("run_9")).status == "canceled"

    async def test_a_driver_that_cancels_takes_the_children_along(self, journal: Journal) -> None:
        """Finishing as canceled cancels queued children."""
        parent = await driven(journal)
        child = a_run("run_2", parent_id="run_1", parent_key="song")
        await journal.start_child(parent, open_step("song", kind="call"), Submission(child))
        assert await journal.finish(parent, Outcome("canceled"), now=NOW) == []
        assert (await journal.get("run_2")).status == "canceled"
        assert await claim_all(journal, NOW + 9) == {}


class JournalContract(
    RunContract,
    StepContract,
    FamilyContract,
    SignalContract,
    RetryContract,
    LimitContract,
    ConsequenceContract,
    UpkeepContract,
    RequestContract,
    ChangeContract,
    TellingContract,
    PlaceContract,
):
    """Inherit it in a test module and give a fixture `journal`."""


async def _family(journal: Journal, number: int) -> tuple[Claim, Claim]:
    parent = await driven(journal, f"run_p{number}")
    child = a_run(f"run_c{number}", parent_id=parent.run_id, parent_key="song")
    await journal.start_child(parent, open_step("song", kind="call"), Submission(child))
    return parent, (await claim_all(journal))[child.id].claim
