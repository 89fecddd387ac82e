"""What the journal forgets of a person, and of a tenant, in each database."""

from __future__ import annotations

import pytest

from understudy.db.database import Database, Tx, sql
from understudy.engine.erasing import Erased
from understudy.engine.journal import Journal, Past
from understudy.engine.journals.erasing import DatabaseErasing
from understudy.engine.run import Claim, Outcome, Request, RunFilter, Signal
from understudy.errors import NotFound
from understudy.testing.conformance.rows import (
    NOW,
    TENANT,
    a_step,
    asked,
    claim_all,
    driven,
    look,
    wait_for,
)

DONE = Outcome("succeeded", output="1")
COUNT = {
    name: sql(f"SELECT count(*) FROM {name}")
    for name in ("runs", "steps", "signals", "signal_uses", "requests", "waits", "throttles")
}


@pytest.fixture
def erasing(database: Database) -> DatabaseErasing:
    """Beside the journal."""
    return DatabaseErasing(database)


async def counts(database: Database) -> dict[str, int]:
    """How many rows there are."""

    def look(tx: Tx) -> dict[str, int]:
        return {name: tx.scalar(count) for name, count in COUNT.items()}

    return await database.read(look)


async def ended(journal: Journal, run_id: str, **facts: object) -> Claim:
    """A run with one step that has succeeded."""
    claim = await driven(journal, run_id, **facts)
    await journal.record(claim, a_step())
    await journal.finish(claim, DONE, now=NOW)
    return claim


async def test_what_ended_goes_with_all_that_belongs_to_it(
    journal: Journal, database: Database, erasing: DatabaseErasing
) -> None:
    """Runs, steps, signals and requests of one user of one tenant; nobody else's."""
    await ended(journal, "run_ann", user="ann")
    await ended(journal, "run_bob", user="bob")
    await ended(journal, "run_none")
    await ended(journal, "run_far", user="ann", tenant="other")
    await journal.submit(asked("run_keyed", user="ann", wake_at=NOW), Request("key", "print"))
    claim = (await claim_all(journal))["run_keyed"].claim
    await journal.signal(Signal(TENANT, "answer", '"yes"'), now=NOW)
    await look(journal, claim, wait_for())
    await journal.finish(claim, DONE, now=NOW)
    gone = await erasing.erase(TENANT, "ann", spared="erase", limit=10)
    assert gone == Erased(runs=2, steps=2, signals=1, shared=0, requests=1)
    assert await counts(database) == {
        "runs": 3,
        "steps": 3,
        "signals": 0,
        "signal_uses": 0,
        "requests": 0,
        "waits": 0,
        "throttles": 0,
    }
    assert not (await erasing.erase(TENANT, "ann", spared="erase", limit=10)).runs


async def test_a_batch_is_as_big_as_asked(journal: Journal, erasing: DatabaseErasing) -> None:
    """The oldest first."""
    for number in range(3):
        await ended(journal, f"run_{number}", user="ann")
    assert (await erasing.erase(TENANT, "ann", spared="erase", limit=2)).runs == 2
    assert [run.id for run in await journal.list(RunFilter(TENANT))] == ["run_2"]


async def test_open_runs_are_found_and_stay(journal: Journal, erasing: DatabaseErasing) -> None:
    """They must be canceled first. An operation may be spared."""
    await driven(journal, "run_1", user="ann")
    await journal.submit(asked("run_2", user="ann", operation="song"))
    await journal.submit(asked("run_3", user="bob"))
    assert await erasing.open_runs(TENANT, "ann", spared="erase") == ["run_1", "run_2"]
    assert await erasing.open_runs(TENANT, "ann", spared="song") == ["run_1"]
    assert await erasing.open_runs("other", "ann", spared="song") == []
    assert await erasing.erase(TENANT, "ann", spared="erase", limit=9) == Erased()
    assert (await journal.get("run_1")).user == "ann"


async def test_what_others_have_used_stays(
    journal: Journal, database: Database, erasing: DatabaseErasing
) -> None:
    """A signal that answered a run of somebody else as well is counted, and kept for them."""
    for run_id, user in (("run_1", "ann"), ("run_2", "bob")):
        await journal.submit(asked(run_id, user=user))
    claims = await claim_all(journal)
    await journal.signal(Signal(TENANT, "answer", '"all"'), now=NOW)
    for claimed in claims.values():
        await look(journal, claimed.claim, wait_for())
        await journal.finish(claimed.claim, DONE, now=NOW)
    gone = await erasing.erase(TENANT, "ann", spared="erase", limit=9)
    assert (gone.signals, gone.shared) == (0, 1)
    assert (await counts(database))["signals"] == 1


async def test_a_mask_hides_whom_a_run_was_about(
    journal: Journal, erasing: DatabaseErasing
) -> None:
    """Its input is another one, and it has no user; whoever watches it sees that it changed."""
    await journal.submit(asked(user="ann"))
    before = await journal.get("run_1")
    await erasing.mask("run_1", '{"user":"erased"}')
    after = await journal.get("run_1")
    assert (after.input, after.user) == ('{"user":"erased"}', None)
    assert after.change == before.change + 1


async def test_retention_is_each_tenants_own(journal: Journal, database: Database) -> None:
    """A tenant with its own time is left out where all others are meant, and alone where it is."""
    own = sql("INSERT INTO tenants (id, run_days) VALUES ('own', 5)")
    await database.write(lambda tx: tx.execute(own))
    for tenant in ("own", "some", "more"):
        await journal.submit(asked(f"run_{tenant}", tenant=tenant), Request("key", "print"))
        await journal.signal(Signal(tenant, "answer", "1"), now=NOW)
        await journal.cancel(f"run_{tenant}", now=NOW)
    assert await journal.forget(Past(NOW + 1, "canceled")) == 2
    assert (await journal.get("run_own")).status == "canceled"
    assert await journal.forget(Past(NOW + 1, "canceled", tenant="own")) == 1
    with pytest.raises(NotFound):
        await journal.get("run_own")
    assert await journal.forget(Past(NOW + 1, tenant="own")) == 2
    assert await journal.forget(Past(NOW)) == 0
    assert await journal.forget(Past(NOW + 1)) == 4
    assert set((await counts(database)).values()) == {0}
