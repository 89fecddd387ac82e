"""The engine in a random world, and the same search finding bugs that were planted for it."""

from __future__ import annotations

import copy
import logging
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import structlog

from understudy.db.database import Database, RowsStatement
from understudy.db.statement import sql
from understudy.engine import advance
from understudy.engine.branch import Branch
from understudy.engine.drive import Drive
from understudy.engine.flow import Throttle
from understudy.engine.journals import claiming, ending, statements, upkeep
from understudy.engine.journals import database as journal
from understudy.engine.plans.embedded import Embedded
from understudy.engine.worker import Worker
from understudy.testing.simulation import ACTIONS, FAULTS, Tally, simulate

Rounds = Callable[[int, int], int]
Patch = pytest.MonkeyPatch

_FULL = 20_000
_PAIRS = 100
_MEDIAN = 30
_BUDGET = 2_000


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Thousands of recoveries are not worth a line each."""
    quiet = structlog.make_filtering_bound_logger(logging.CRITICAL)
    with structlog.testing.capture_logs():
        structlog.configure(wrapper_class=quiet)
        yield
    structlog.reset_defaults()


@pytest.mark.prove
async def test_promises_hold_in_any_history(rounds: Rounds) -> None:
    """Nothing lost, repeated or forgotten, and no limit exceeded, whatever meets whatever."""
    count, total, began = rounds(_FULL, 50), Tally(), time.perf_counter()
    lengths = []
    database = Database.in_memory()
    for seed in range(count):
        history = await simulate(seed, database)
        assert history.violations == [], f"seed {seed}"
        lengths.append(history.tally.count)
        total.add(history.tally)
    seconds, median = time.perf_counter() - began, statistics.median(lengths)
    print(total.table())  # noqa: T201 - the proof says what it did
    print(f"{count} histories, seeds 0 to {count - 1}, in {seconds:.0f} s; median {median} actions")  # noqa: T201 - the same
    assert median >= _MEDIAN
    if count >= _FULL // 10:
        wanted = _PAIRS * count // _FULL
        pairs = {
            (action, fault): total.met[action, fault] for action in ACTIONS for fault in FAULTS
        }
        assert {pair: met for pair, met in pairs.items() if met < wanted} == {}


@pytest.mark.prove
async def test_promises_hold_in_sqlite(rounds: Rounds, sqlite: Database) -> None:
    """The same over a file."""
    await _hold(sqlite, rounds(200, 3))


@pytest.mark.prove
async def test_promises_hold_in_postgresql(rounds: Rounds, postgresql: Database) -> None:
    """The same over a server."""
    await _hold(postgresql, rounds(200, 3))


async def _hold(database: Database, count: int) -> None:
    for seed in range(count):
        assert (await simulate(seed, database)).violations == [], f"seed {seed}"
    print(f"{count} histories in {database.place}, seeds 0 to {count - 1}")  # noqa: T201 - the proof says what it did


def checks_no_fence(patch: Patch) -> None:
    """Who has lost a run may go on writing it: neither token nor epoch is looked at."""
    for name in ("HELD", "PARK", "RELEASE", "FINISH", "CANCEL_REQUESTED", "TAKE_POKE"):
        _rewrite(patch, statements, name, " AND claim = :token AND epoch = :epoch", "")
    _rewrite(patch, statements, "RECORD", "AND runs.claim = r.token", "")
    fence = "AND runs.claim = r.token AND runs.epoch = r.epoch"
    _rewrite(patch, statements, "FINISH_MANY", fence, "")


def forgets_what_it_saw(patch: Patch) -> None:
    """A wake between the look and the pause is taken for seen."""
    pause = Drive.pause

    async def forgetful(self: Drive, until: Any, said: Any, *, wakes: int | None = None) -> None:
        await pause(self, until, said, wakes=None if wakes is None else self.wakes)

    patch.setattr(Drive, "pause", forgetful)


def matches_signals_twice(patch: Patch) -> None:
    """The book of used signals is not read."""
    used = "AND id NOT IN (SELECT signal_id FROM signal_uses WHERE run_id = :run_id)"
    _rewrite(patch, statements, "UNUSED_SIGNALS", used, "")
    _rewrite(patch, statements, "USE_SIGNAL", ":key)", ":key) ON CONFLICT DO NOTHING")


def deaf_while_leaving(patch: Patch) -> None:
    """A run that leaves memory is still taken for driven: nobody looks for it among the due."""

    def poke(self: Any, run_ids: Any) -> bool:
        others = False
        for run_id in run_ids:
            drive = self._drives.get(run_id)
            others |= drive is None
            if drive is not None:
                self._spawn(self._guard(drive.poke))
        return others

    patch.setattr(Worker, "poke", poke)


def parks_in_silence(patch: Patch) -> None:
    """Whoever claims what is due does not hear of a parked run's time."""

    async def park(drive: Drive, pause: Any) -> None:
        park = drive.journal.park
        await drive.insist(partial(park, drive.claim, pause.until, pause.waiting_for))

    patch.setattr(advance, "_park", park)


def parks_over_a_poke(patch: Patch) -> None:
    """A wake that came while the run was driven is overwritten by its parking."""
    _rewrite(patch, statements, "PARK", "coalesce(wake_at, :until)", ":until")


def hears_and_does_nothing(patch: Patch) -> None:
    """A poke is taken, but the waiting calls do not learn of it."""

    async def poke(self: Drive) -> None:
        await self.journal.take_poke(self.claim)

    patch.setattr(Drive, "poke", poke)


def claims_twice(patch: Patch) -> None:
    """A run that is driven and woken is claimed once more."""
    taken = "wake_at = :now, status = 'queued', claim = NULL, worker = NULL"
    _rewrite(patch, statements, "WAKE", "wake_at = :now", taken)


def counts_calls_of_all_tasks_together(patch: Patch) -> None:
    """The keys of concurrent branches depend on who is first."""
    patch.setattr(Branch, "here", lambda self: Branch(self._loop))


def leaves_calls_behind(patch: Patch) -> None:
    """The run ends while steps of it still run."""

    async def leave(self: Drive) -> None:
        self.ending = self.ending or None

    patch.setattr(Drive, "leave", leave)


def adopts_the_living(patch: Patch) -> None:
    """A worker that starts takes the runs of all others."""
    _rewrite(patch, upkeep, "RECOVER", "lease_until > :alive_at", "lease_until > :alive_at + 1e9")


def adopts_nobody(patch: Patch) -> None:
    """A lease runs out, and nobody takes the runs over."""

    async def adopt(_: Embedded) -> None:
        pass

    patch.setattr(Embedded, "_adopt", adopt)


def keeps_the_held(patch: Patch) -> None:
    """A place of a key becomes free, and who is held for it does not hear of it."""
    for module in (journal, ending):
        patch.setattr(module, "freed", lambda *_: [])


def counts_nobody(patch: Patch) -> None:
    """Each claim takes as many as may run at once."""
    _rewrite(patch, upkeep, "RUNNING", "lane = :lane", "lane = :lane AND 1 = 0")


def lets_all_start(patch: Patch) -> None:
    """The throttle forgets who has started."""
    patch.setattr(Throttle, "used", lambda _, used_until, __: used_until)


def forgets_deadlines(patch: Patch) -> None:
    """Nobody comes when a parked run's time is over."""
    _rewrite(patch, upkeep, "NEXT_DEADLINE", "deadline_at IS NOT NULL", "1 = 0")


def counts_from_one(patch: Patch) -> None:
    """Each tenure numbers the changes of its steps as if there were none before."""
    claim = claiming._claim
    patch.setattr(claiming, "_claim", lambda run, token, _: claim(run, token, ()))


def parks_unnumbered(patch: Patch) -> None:
    """Who watches a run does not see that it has parked."""
    _rewrite(patch, statements, "PARK", "change = change + 1, ", "")


_PLANTS = [
    checks_no_fence,
    forgets_what_it_saw,
    matches_signals_twice,
    deaf_while_leaving,
    parks_in_silence,
    parks_over_a_poke,
    hears_and_does_nothing,
    claims_twice,
    counts_calls_of_all_tasks_together,
    leaves_calls_behind,
    adopts_the_living,
    adopts_nobody,
    keeps_the_held,
    counts_nobody,
    lets_all_start,
    forgets_deadlines,
    counts_from_one,
    parks_unnumbered,
]


@pytest.mark.prove
@pytest.mark.parametrize("plant", _PLANTS)
async def test_a_planted_bug_is_found(
    plant: Callable[[Patch], None], rounds: Rounds, monkeypatch: Patch
) -> None:
    """The search that finds nothing finds each of these within a tenth of its histories.

    A short run proves only that it can still be planted.
    """
    plant(monkeypatch)
    budget = rounds(_BUDGET, 4)
    database = Database.in_memory()
    for seed in range(budget):
        if found := (await simulate(seed, database)).violations:
            print(f"{plant.__name__}: {len(found)} violations in history {seed}: {found[0][:100]}")  # noqa: T201 - the proof says what it did
            return
    assert budget < _BUDGET, "not found"


def _rewrite(patch: Patch, module: Any, name: str, old: str, new: str) -> None:
    """Plant a bug in a statement's text."""
    statement: Any = getattr(module, name)
    rows = isinstance(statement, RowsStatement)
    before = statement._template if rows else statement.construct.text
    after = before.replace(old, new)
    assert after != before
    if rows:
        planted = copy.copy(statement)
        planted._template, planted._sizes = after, {}
    else:
        planted = sql(after)
    patch.setattr(module, name, planted)
