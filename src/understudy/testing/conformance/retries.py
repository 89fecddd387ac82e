"""The part of a journal's contract that is about running a run again."""

from __future__ import annotations

from typing import Literal

import pytest

from understudy.engine.journal import Journal
from understudy.engine.run import Claim, Outcome, Run, Signal, Step, Submission
from understudy.errors import Conflict, NotFound
from understudy.testing.conformance.rows import (
    FAULT,
    NOW,
    TENANT,
    a_run,
    a_step,
    claim_all,
    driven,
    failed_step,
    look,
    open_step,
    wait_for,
)


class RetryContract:
    """A retry keeps what was done and forgets the failure and what followed from it."""

    async def test_only_what_failed_or_was_canceled_is_retried(self, journal: Journal) -> None:
        """Other states are a conflict."""
        claim = await driven(journal)
        with pytest.raises(Conflict, match="run_1 is running"):
            await journal.retry("run_1", now=NOW)
        await journal.finish(claim, Outcome("succeeded", output="{}"), now=NOW)
        with pytest.raises(Conflict, match="run_1 is succeeded"):
            await journal.retry("run_1", now=NOW)
        with pytest.raises(NotFound):
            await journal.retry("run_2", now=NOW)

    async def test_a_retry_is_a_new_attempt_in_a_new_tenure(self, journal: Journal) -> None:
        """Error, end and cancellation are gone; attempt and epoch rise; it is due."""
        claim = await driven(journal)
        await journal.cancel("run_1", now=NOW)
        await journal.finish(claim, Outcome("canceled"), now=NOW)
        assert await journal.retry("run_1", now=NOW + 1) == ["run_1"]
        run = await journal.get("run_1")
        assert (run.status, run.attempt, run.epoch) == ("queued", 2, 2)
        assert (run.error, run.ended_at, run.cancel_requested_at) == (None, None, None)
        assert set(await claim_all(journal, NOW + 1)) == {"run_1"}

    async def test_the_failure_is_forgotten_and_nothing_else(self, journal: Journal) -> None:
        """The failed items of the map that failed it go, with what started after the failure."""
        await _fail(
            journal,
            await driven(journal),
            a_step("first", 0),
            failed_step("handled", 1),
            failed_step("draw[0]", 2, ended_at=NOW + 5),
            a_step("draw[1]", 3),
            failed_step("draw[2]", 4, ended_at=NOW + 6),
            a_step("beside", 5, started_at=NOW + 4, ended_at=NOW + 9),
            a_step("refund", 6, started_at=NOW + 7, ended_at=NOW + 8),
            cause="draw[0]",
        )
        await journal.retry("run_1", now=NOW + 10)
        kept = [step.key for step in await journal.steps("run_1")]
        assert kept == ["first", "handled", "draw[1]", "beside"]

    async def test_a_failure_of_the_code_forgets_nothing(self, journal: Journal) -> None:
        """Without a step that failed it, every step is kept."""
        claim = await driven(journal)
        await _fail(journal, claim, a_step("first", 0), failed_step("handled", 1), cause=None)
        await journal.retry("run_1", now=NOW)
        assert len(await journal.steps("run_1")) == 2

    async def test_the_signal_of_a_forgotten_wait_may_answer_again(self, journal: Journal) -> None:
        """What is forgotten uses no signal."""
        claim = await driven(journal)
        await journal.signal(Signal(TENANT, "answer", "1"), now=NOW)
        await journal.record(claim, failed_step("draw", 0))
        wait = wait_for()
        step = open_step("answer", 1, started_at=NOW + 1)
        await journal.await_signal(claim, step, wait, now=NOW + 1)
        await _fail(journal, claim, cause="draw")
        await journal.retry("run_1", now=NOW + 2)
        again = (await claim_all(journal, NOW + 2))["run_1"]
        assert again.steps == ()
        assert (await look(journal, again.claim, wait, now=NOW + 2)).result == "1"

    async def test_a_failed_call_retries_its_child(self, journal: Journal) -> None:
        """The child goes on from its own finished steps instead of starting anew."""
        claim = await _parent_of(journal, "failed")
        await _fail(journal, claim, _failed_call(), cause="song")
        assert set(await journal.retry("run_1", now=NOW + 1)) == {"run_1", "run_2"}
        due = await claim_all(journal, NOW + 1)
        assert [step.state for step in due["run_1"].steps] == ["waiting"]
        assert due["run_2"].run.attempt == 2
        assert [step.key for step in due["run_2"].steps] == ["first"]

    async def test_an_open_call_retries_its_canceled_child(self, journal: Journal) -> None:
        """Retrying a canceled run retries what was canceled with it."""
        claim = await _parent_of(journal, "canceled")
        await journal.finish(claim, Outcome("canceled"), now=NOW)
        assert set(await journal.retry("run_1", now=NOW)) == {"run_1", "run_2"}
        assert (await journal.get("run_2")).status == "queued"

    async def test_a_handled_call_stays_failed(self, journal: Journal) -> None:
        """A child whose failure the operation got over is left alone."""
        claim = await _parent_of(journal, "failed")
        await _fail(journal, claim, _failed_call(), failed_step("draw", 1), cause="draw")
        assert await journal.retry("run_1", now=NOW) == ["run_1"]
        assert (await journal.get("run_2")).status == "failed"
        assert [step.state for step in await journal.steps("run_1")] == ["failed"]

    async def test_the_child_of_a_forgotten_call_is_canceled(self, journal: Journal) -> None:
        """It belongs to nobody, so that the call may start another one."""
        claim = await driven(journal)
        await journal.record(claim, failed_step("draw", 0))
        step = open_step("song", 1, kind="call", started_at=NOW + 1)
        await journal.start_child(claim, step, Submission(_child()))
        await _fail(journal, claim, cause="draw")
        assert await journal.retry("run_1", now=NOW + 2) == ["run_1"]
        orphan = await journal.get("run_2")
        assert (orphan.status, orphan.parent_id, orphan.parent_key) == ("canceled", None, None)
        assert await journal.child_of("run_1", "song") is None


async def _fail(journal: Journal, claim: Claim, *steps: Step, cause: str | None) -> None:
    for step in steps:
        await journal.record(claim, step)
    error = {**FAULT, "step": cause}
    await journal.finish(claim, Outcome("failed", error=error), now=NOW + 9)


def _child() -> Run:
    return a_run("run_2", operation="song", parent_id="run_1", parent_key="song")


def _failed_call() -> Step:
    return failed_step("song", 0, kind="call")


async def _parent_of(journal: Journal, status: Literal["failed", "canceled"]) -> Claim:
    """A driven run whose child has one finished step and ended badly."""
    claim = await driven(journal)
    await journal.start_child(claim, open_step("song", kind="call"), Submission(_child()))
    child = (await claim_all(journal))["run_2"].claim
    await journal.record(child, a_step("first"))
    error = {**FAULT, "step": None} if status == "failed" else None
    await journal.finish(child, Outcome(status, error=error), now=NOW)
    return claim
