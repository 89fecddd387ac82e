"""The part of a journal's contract that is about signals and who waits for them."""

from __future__ import annotations

import pytest

from understudy.engine.interrupts import SupersededInterrupt
from understudy.engine.journal import Journal
from understudy.engine.run import Outcome, Signal
from understudy.testing.conformance.rows import (
    NOW,
    TENANT,
    a_step,
    asked,
    claim_all,
    driven,
    look,
    open_step,
    reclaim,
    wait_for,
)

_WAITING = {"kind": "signal", "text": "the signal 'answer'", "until": None}


class SignalContract:
    """Signals: none lost, none used twice by a run, the first match wins."""

    async def test_a_signal_wakes_who_waits(self, journal: Journal) -> None:
        """An open wait is found by name and tenant; a parked run is due at once."""
        claim = await driven(journal)
        await look(journal, claim, wait_for())
        await journal.park(claim, None, _WAITING)
        assert await journal.signal(Signal(TENANT, "other", "1"), now=NOW) == []
        assert await journal.signal(Signal("stranger", "answer", "1"), now=NOW) == []
        assert await claim_all(journal) == {}
        assert await journal.signal(Signal(TENANT, "answer", '{"n":1}'), now=NOW + 1) == ["run_1"]
        again = (await claim_all(journal, NOW + 1))["run_1"].claim
        step = await look(journal, again, wait_for(), now=NOW + 1)
        assert (step.state, step.result, step.ended_at) == ("succeeded", '{"n":1}', NOW + 1)
        assert await journal.steps("run_1") == [step]  # its number as well
        assert await journal.signal(Signal(TENANT, "answer", "2"), now=NOW) == []

    async def test_an_early_signal_counts(self, journal: Journal) -> None:
        """One that came after the run was created but before it waited ends the wait at once."""
        claim = await driven(journal)
        await journal.signal(Signal(TENANT, "answer", '"early"'), now=NOW)
        assert (await look(journal, claim, wait_for(), now=NOW + 50)).result == '"early"'

    async def test_a_signal_from_before_the_run_does_not_count(self, journal: Journal) -> None:
        """What happened before the run was created is not for it."""
        await journal.signal(Signal(TENANT, "answer", "1"), now=NOW - 1)
        claim = await driven(journal)
        assert (await look(journal, claim, wait_for())).state == "waiting"

    async def test_the_first_match_wins(self, journal: Journal) -> None:
        """Signals are tried in the order in which they came; fields are matched by path."""
        claim = await driven(journal)
        for text in ("7", '{"who":{"id":2}}', '{"who":{"id":1},"n":1}', '{"who":{"id":1},"n":2}'):
            await journal.signal(Signal(TENANT, "answer", text), now=NOW)
        step = await look(journal, claim, wait_for(match={"who.id": 1}))
        assert step.result == '{"who":{"id":1},"n":1}'

    async def test_a_run_uses_a_signal_once(self, journal: Journal) -> None:
        """Each wait of a run takes a signal of its own; another run may take the same one."""
        one, two = await driven(journal, "run_1"), await driven(journal, "run_2")
        for text in ("1", "2"):
            await journal.signal(Signal(TENANT, "answer", text), now=NOW)
        first = await look(journal, one, wait_for(), key="a")
        second = await look(journal, one, wait_for(), key="b")
        third = await look(journal, one, wait_for(), key="c")
        assert [first.result, second.result, third.state] == ["1", "2", "waiting"]
        assert (await look(journal, two, wait_for(), key="a")).result == "1"

    async def test_a_wait_that_ended_stays_as_it_is(self, journal: Journal) -> None:
        """Looking again answers the same and uses no other signal."""
        claim = await driven(journal)
        await journal.signal(Signal(TENANT, "answer", "1"), now=NOW)
        await journal.signal(Signal(TENANT, "answer", "2"), now=NOW)
        first = await look(journal, claim, wait_for())
        assert await look(journal, claim, wait_for(), now=NOW + 9) == first
        assert (await look(journal, claim, wait_for(), key="next")).result == "2"

    async def test_a_wait_ends_at_its_time(self, journal: Journal) -> None:
        """Past its due time it fails with `wait_timeout`, and nobody waits any more."""
        claim = await driven(journal)
        assert (await look(journal, claim, wait_for(due_at=NOW + 5))).state == "waiting"
        step = await look(journal, claim, wait_for(due_at=NOW + 5), now=NOW + 5)
        assert step.state == "failed"
        assert step.error is not None
        assert (step.error["code"], step.error["category"]) == ("wait_timeout", "timeout")
        assert step.error["step"] == "answer"
        assert await journal.signal(Signal(TENANT, "answer", "1"), now=NOW + 6) == []

    async def test_a_signal_before_the_due_time_wins(self, journal: Journal) -> None:
        """However late one looks: what came in time answers, what came later does not."""
        in_time, late = await driven(journal, "run_1"), await driven(journal, "run_2")
        await journal.signal(Signal(TENANT, "answer", "1"), now=NOW + 5)
        wait = wait_for(due_at=NOW + 5)
        assert (await look(journal, in_time, wait, now=NOW + 99)).state == "succeeded"
        wait = wait_for(due_at=NOW + 4)
        assert (await look(journal, late, wait, now=NOW + 99)).state == "failed"

    async def test_looking_needs_the_claim(self, journal: Journal) -> None:
        """A stale driver neither opens a wait nor uses a signal."""
        claim = await driven(journal)
        await journal.signal(Signal(TENANT, "answer", "1"), now=NOW)
        await journal.recover(now=NOW)
        with pytest.raises(SupersededInterrupt):
            await look(journal, claim, wait_for())
        held = (await claim_all(journal))["run_1"].claim
        assert (await look(journal, held, wait_for())).result == "1"

    async def test_an_emit_happens_once(self, journal: Journal) -> None:
        """The signal and its step are one change; a repetition sends nothing."""
        sender, waiter = await driven(journal, "run_1"), await driven(journal, "run_2")
        await look(journal, waiter, wait_for())
        step = a_step("answer", kind="emit", result="null")
        assert await journal.emit(sender, step, Signal(TENANT, "answer", "1")) == ["run_2"]
        assert await journal.emit(sender, step, Signal(TENANT, "answer", "1")) == []
        assert (await look(journal, waiter, wait_for())).result == "1"
        assert (await look(journal, waiter, wait_for(), key="next")).state == "waiting"

    async def test_an_ended_run_waits_for_nothing(self, journal: Journal) -> None:
        """The waits of a run end with it, also when it is canceled while parked."""
        one, two = await driven(journal, "run_1"), await driven(journal, "run_2")
        await look(journal, one, wait_for())
        await look(journal, two, wait_for())
        await journal.finish(one, Outcome("succeeded", output="{}"), now=NOW)
        await journal.park(two, None, _WAITING)
        await journal.cancel("run_2", now=NOW)
        assert await journal.signal(Signal(TENANT, "answer", "1"), now=NOW) == []

    async def test_a_signal_pokes_who_is_driven(self, journal: Journal) -> None:
        """A driven run that waits is poked, and still due after it parks."""
        claim = await driven(journal)
        await look(journal, claim, wait_for())
        assert await journal.signal(Signal(TENANT, "answer", "1"), now=NOW) == ["run_1"]
        assert await journal.park(claim, None, _WAITING) is True
        assert set(await claim_all(journal)) == {"run_1"}

    async def test_two_waits_of_a_run_wake_it_once(self, journal: Journal) -> None:
        """Branches that wait for the same name are one run to wake."""
        claim = await driven(journal)
        await look(journal, claim, wait_for(), key="a")
        await look(journal, claim, wait_for(), key="b")
        assert await journal.signal(Signal(TENANT, "answer", "1"), now=NOW) == ["run_1"]
        await journal.submit(asked("run_2"))
        assert await journal.signal(Signal(TENANT, "answer", "2"), now=NOW) == ["run_1"]

    async def test_a_wait_is_open_again_after_a_crash(self, journal: Journal) -> None:
        """Recovery forgets no wait."""
        claim = await driven(journal)
        await journal.record(claim, open_step("answer"))
        await look(journal, claim, wait_for())
        await journal.recover(now=NOW)
        claimed = await reclaim(journal)
        assert [step.state for step in claimed.steps] == ["waiting"]
        assert await journal.signal(Signal(TENANT, "answer", "1"), now=NOW) == ["run_1"]
