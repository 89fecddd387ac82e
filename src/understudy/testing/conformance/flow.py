"""The part of a journal's contract that is about limits, deadlines, and what follows from a run."""

from __future__ import annotations

from typing import Any

import pytest

from understudy.engine.flow import Flow, Throttle
from understudy.engine.interrupts import SupersededInterrupt
from understudy.engine.journal import Journal, Overdue
from understudy.engine.run import (
    Claim,
    Claimed,
    Outcome,
    Run,
    Scope,
    Signal,
    Submission,
    WaitFor,
    out_of_time,
)
from understudy.testing.conformance.rows import (
    FAULT,
    NOW,
    TENANT,
    WORKER,
    a_run,
    a_step,
    asked,
    claim_all,
    driven,
)

_WAITING = {"kind": "timer", "text": "the clock", "until": NOW + 9}
_DONE = Outcome("succeeded", output="{}")
_FAILED = Outcome("failed", error=FAULT)


def _scope(
    total: int | None = None, each: int | None = None, throttle: Throttle | None = None
) -> Scope:
    return Scope(("film", "song"), flows={"film": Flow(total, each, throttle)})


def _limited(run_id: str, key: str | None = None, **facts: Any) -> Submission:
    return asked(run_id, lane="film", concurrency_key=key, **facts)


async def _take(
    journal: Journal, scope: Scope, *, now: float = NOW, limit: int = 100
) -> dict[str, Claimed]:
    claims = await journal.claim(WORKER, scope, limit=limit, now=now)
    return {claimed.run.id: claimed for claimed in claims.runs}


class LimitContract:
    """Concurrency, throttle and priority, as claims keep to them."""

    async def test_a_claim_keeps_to_the_total(self, journal: Journal) -> None:
        """Counted over all workers; operations without limits are taken as ever."""
        scope = _scope(total=2)
        for number in range(4):
            await journal.submit(_limited(f"run_{number}", wake_at=NOW - 9 + number))
        await journal.submit(asked("run_9", operation="song"))
        first = await journal.claim("other", scope, limit=1, now=NOW)
        second = await _take(journal, scope)
        assert {run.run.id for run in first.runs} | second.keys() == {"run_0", "run_1", "run_9"}
        assert await _take(journal, scope) == {}
        (claim,) = [one.claim for one in (*first.runs, *second.values()) if one.run.id == "run_0"]
        await journal.finish(claim, _DONE, now=NOW)
        assert set(await _take(journal, scope)) == {"run_2"}

    async def test_a_claim_keeps_to_the_keys(self, journal: Journal) -> None:
        """Who finds the key full is held; every way out of the driver lets the next one in."""
        scope = _scope(each=1)
        for number in range(5):
            await journal.submit(_limited(f"run_a{number}", "a", wake_at=NOW - 9 + number))
        await journal.submit(_limited("run_b", "b"))
        taken = await _take(journal, scope)
        assert set(taken) == {"run_a0", "run_b"}
        assert [(await journal.get(f"run_a{n}")).held for n in (1, 2, 3, 4)] == [1] * 4
        assert await journal.finish(taken["run_a0"].claim, _DONE, now=NOW) == ["run_a1"]
        parked = (await _take(journal, scope))["run_a1"].claim
        await journal.park(parked, None, _WAITING)
        released = (await _take(journal, scope))["run_a2"].claim
        await journal.cancel("run_a3", now=NOW)
        await journal.release(released, now=NOW)
        again = await _take(journal, scope)
        assert len(again) == 1
        (claim,) = [one.claim for one in again.values()]
        await journal.finish(claim, Outcome("canceled"), now=NOW)
        assert {*again, *await _take(journal, scope)} == {"run_a2", "run_a4"}

    async def test_what_is_held_is_looked_at_again(self, journal: Journal) -> None:
        """After a change of limits: the first of each key, and those after it in turn."""
        await journal.submit(_limited("run_0", "a", wake_at=NOW - 3))
        await _take(journal, _scope(each=1))
        for number in (1, 2):
            await journal.submit(_limited(f"run_{number}", "a", wake_at=NOW - 3 + number))
        assert await _take(journal, _scope(each=1)) == {}
        await journal.unhold()
        assert set(await _take(journal, _scope(each=2))) == {"run_1"}

    async def test_a_claim_keeps_to_the_throttle(self, journal: Journal) -> None:
        """Who comes too early is booked for a time of its own, one interval after the last."""
        scope = _scope(throttle=Throttle(1, 10, burst=2))
        for number in range(4):
            run = _limited(f"run_{number}", wake_at=NOW - 9 + number, throttle_key="")
            await journal.submit(run)
        assert set(await _take(journal, scope)) == {"run_0", "run_1"}
        booked = [(await journal.get(f"run_{n}")) for n in (2, 3)]
        assert [(run.held, run.wake_at) for run in booked] == [(2, NOW + 10), (2, NOW + 20)]
        assert await _take(journal, scope, now=NOW + 9) == {}
        assert set(await _take(journal, scope, now=NOW + 10)) == {"run_2"}
        (claim,) = [one.claim for one in (await _take(journal, scope, now=NOW + 20)).values()]
        await journal.park(claim, NOW + 21, _WAITING)
        assert set(await _take(journal, scope, now=NOW + 21)) == {"run_3"}

    async def test_queues_are_counted(self, journal: Journal) -> None:
        """By operation and key: due, held, driven, parked, and since when the first is due."""
        scope = _scope(each=1)
        for number, wake_at in enumerate((NOW - 5, NOW - 4, NOW + 9)):
            await journal.submit(_limited(f"run_{number}", "a", wake_at=wake_at))
        await _take(journal, scope)
        await journal.submit(_limited("run_3", "a", wake_at=NOW - 3))
        await journal.submit(asked("run_4", operation="song"))
        film, song = await journal.queues(now=NOW)
        assert (film.operation, film.concurrency_key) == ("film", "a")
        assert (film.due, film.held, film.running, film.parked) == (1, 1, 1, 1)
        assert film.oldest_due == NOW - 4
        assert (song.operation, song.due, song.oldest_due) == ("song", 1, NOW)
        tenant = (await journal.get("run_4")).tenant
        assert await journal.queues(now=NOW, tenant=tenant) == [film, song]
        assert await journal.queues(now=NOW, tenant="nobody") == []


class ConsequenceContract:
    """Deadlines, keys, cancelling and starting signals, and runs that follow others."""

    async def test_a_deadline_is_set_at_the_start(self, journal: Journal) -> None:
        """From `finish_within`, once; the claim says when the next one passes."""
        await journal.submit(asked(finish_within=60.0, deadline_at=NOW + 5))
        claimed = (await claim_all(journal, NOW + 1))["run_1"]
        assert (claimed.run.started_at, claimed.run.deadline_at) == (NOW + 1, NOW + 61)
        await journal.park(claimed.claim, NOW + 500, _WAITING)
        claims = await journal.claim(WORKER, _scope(), limit=9, now=NOW + 2)
        assert (claims.next_due, claims.overdue) == (NOW + 61, False)
        assert (await journal.claim(WORKER, _scope(), limit=9, now=NOW + 61)).overdue

    async def test_the_overdue_fail(self, journal: Journal) -> None:
        """Those that nobody drives; waits close, children go, parents wake, followers start."""
        await driven(journal, "run_1", finish_within=5.0)
        await journal.submit(asked("run_2", wake_at=NOW + 99, deadline_at=NOW + 5))
        await journal.submit(asked("run_3", parent_id="run_2", parent_key="song", wake_at=NOW + 99))

        def then(run: Run) -> Submission | None:
            return asked("run_4", input='"late"') if run.id == "run_2" else None

        overdue = Overdue(out_of_time, then)
        assert await journal.fail_overdue(overdue, now=NOW + 4) == []
        assert "run_4" in await journal.fail_overdue(overdue, now=NOW + 5)
        run = await journal.get("run_2")
        assert run.error is not None
        assert (run.status, run.ended_at, run.error["code"]) == ("failed", NOW + 5, "run_timeout")
        assert (await journal.get("run_1")).status == "running"
        assert (await journal.get("run_3")).status == "canceled"
        assert (await journal.get("run_4")).input == '"late"'

    async def test_a_key_is_one_run(self, journal: Journal) -> None:
        """Of the tenant and operation, also after its end."""
        first = await journal.submit(asked("run_1", idempotency_key="k"))
        again = await journal.submit(asked("run_2", idempotency_key="k", input='{"n":2}'))
        assert (first.id, again.id, again.input) == ("run_1", "run_1", first.input)
        await journal.submit(asked("run_3", idempotency_key="k", operation="song"))
        await journal.submit(asked("run_4", idempotency_key="k", tenant="other"))
        claim = (await claim_all(journal))["run_1"].claim
        await journal.finish(claim, _DONE, now=NOW)
        ended = await journal.submit(asked("run_5", idempotency_key="k"))
        assert (ended.id, ended.status) == ("run_1", "succeeded")

    async def test_a_signal_counts_once_for_its_key(self, journal: Journal) -> None:
        """Of the tenant; the second one starts nothing, as does a run that there is already."""
        start = (asked("run_1", idempotency_key="k"),)
        signal = Signal(TENANT, "stored", "1", "s")
        assert await journal.signal(signal, start, now=NOW) == ["run_1"]
        assert await journal.signal(signal, (asked("run_2"),), now=NOW) == []
        again = (asked("run_3", idempotency_key="k"), asked("run_4"))
        assert await journal.signal(Signal(TENANT, "stored", "2"), again, now=NOW) == ["run_4"]
        assert set(await claim_all(journal)) == {"run_1", "run_4"}

    async def test_an_emit_starts_runs_once(self, journal: Journal) -> None:
        """With its step and its signal, or not at all."""
        claim = await driven(journal)
        step = a_step("stored", kind="emit", result="null")
        signal = Signal(TENANT, "stored", "1")
        assert await journal.emit(claim, step, signal, (asked("run_2"),)) == ["run_2"]
        assert await journal.emit(claim, step, signal, (asked("run_3"),)) == []
        assert set(await claim_all(journal)) == {"run_2"}

    async def test_a_signal_cancels(self, journal: Journal) -> None:
        """The runs that were submitted with such a wish, if its fields are equal."""
        wish = (WaitFor("gone", {"order": 7}, None),)
        await journal.submit(Submission(a_run("run_1"), wish))
        await journal.submit(Submission(a_run("run_2", wake_at=NOW + 9), wish))
        claim = (await claim_all(journal))["run_1"].claim
        assert await journal.signal(Signal(TENANT, "gone", '{"order":8}'), now=NOW) == []
        assert await journal.signal(Signal(TENANT, "gone", '{"order":7}'), now=NOW) == [
            "run_1",
            "run_2",
        ]
        assert await journal.take_poke(claim) is True
        assert (await journal.get("run_2")).status == "canceled"
        await journal.finish(claim, Outcome("canceled"), now=NOW)
        assert await journal.signal(Signal(TENANT, "gone", '{"order":7}'), now=NOW) == []

    async def test_an_end_and_what_follows_are_one(self, journal: Journal) -> None:
        """The follower is stored with the end, and not by who no longer holds the claim."""
        claim = await driven(journal)
        assert await journal.finish(claim, _FAILED, now=NOW, then=asked("run_2")) == ["run_2"]
        stale = Claim("run_1", claim.token, claim.epoch)
        with pytest.raises(SupersededInterrupt):
            await journal.finish(stale, _FAILED, now=NOW, then=asked("run_3"))
        assert set(await claim_all(journal)) == {"run_2"}
