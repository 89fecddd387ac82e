"""The engine in a random world, and the same search finding bugs that were planted for it."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from understudy.db.database import Database
from understudy.engine import advance
from understudy.engine.branch import Branch
from understudy.engine.drive import Drive
from understudy.engine.journals.database import DatabaseJournal
from understudy.engine.journals.memory import MemoryJournal
from understudy.engine.run import Claimed, Run
from understudy.engine.worker import Worker
from understudy.testing.simulation import simulate

Rounds = Callable[[int, int], int]
Patch = pytest.MonkeyPatch


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Thousands of recoveries are not worth a line each."""
    quiet = structlog.make_filtering_bound_logger(logging.CRITICAL)
    with structlog.testing.capture_logs():
        structlog.configure(wrapper_class=quiet)
        yield
    structlog.reset_defaults()


@pytest.mark.prove
async def test_promises_hold_in_memory(rounds: Rounds) -> None:
    """Nothing lost, nothing run twice, no wake-up missed, in any order of events."""
    count = rounds(4000, 40)
    for seed in range(count):
        assert await simulate(seed, MemoryJournal()) == [], f"seed {seed}"
    print(f"{count} worlds in memory, seeds 0 to {count - 1}")  # noqa: T201 - the proof says what it did


@pytest.mark.prove
async def test_promises_hold_in_sqlite(rounds: Rounds, migrated: Path, tmp_path: Path) -> None:
    """The same over the real database."""
    count = rounds(1000, 10)
    for seed in range(count):
        path = tmp_path / f"{seed}.db"
        shutil.copyfile(migrated, path)
        async with await Database.open(f"sqlite:///{path}") as database:
            assert await simulate(seed, DatabaseJournal(database)) == [], f"seed {seed}"
        path.unlink()
    print(f"{count} worlds in SQLite, seeds 0 to {count - 1}")  # noqa: T201 - the proof says what it did


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
        await drive.journal.park(drive.claim, pause.until, pause.waiting_for)

    patch.setattr(advance, "_park", park)


def forgets_what_it_saw(patch: Patch) -> None:
    """A wake between the look and the pause is taken for seen."""
    pause = Drive.pause

    async def forgetful(self: Drive, until: Any, said: Any, *, wakes: int | None = None) -> None:
        await pause(self, until, said, wakes=None if wakes is None else self.wakes)

    patch.setattr(Drive, "pause", forgetful)


def parks_over_a_poke(patch: Patch) -> None:
    """A wake that came while the run was driven is overwritten by its parking."""

    async def park(self: Any, claim: Any, until: float | None, said: Any) -> bool:
        self._free(self._held(claim), status="waiting", wake_at=until, waiting_for=said)
        return False

    patch.setattr(MemoryJournal, "park", park)


def hears_and_does_nothing(patch: Patch) -> None:
    """A poke is taken, but the waiting calls do not learn of it."""

    async def poke(self: Drive) -> None:
        await self.journal.take_poke(self.claim)

    patch.setattr(Drive, "poke", poke)


def uses_signals_again(patch: Patch) -> None:
    """The book of used signals is not read."""

    def answers(self: Any, run: Run, wait: Any) -> Iterator[int]:
        return (
            number
            for number, signal in enumerate(self._signals)
            if signal.name == wait.name and signal.created_at >= run.created_at
        )

    patch.setattr(MemoryJournal, "_answers", answers)


def claims_twice(patch: Patch) -> None:
    """A run that is driven and woken is claimed once more."""
    claim = MemoryJournal._claim

    def careless(self: Any, run: Run, worker: str, now: float) -> Claimed:
        claimed = claim(self, run, worker, now)
        self._change(run.id, wake_at=now + 1, claim=None)
        return claimed

    patch.setattr(MemoryJournal, "_claim", careless)


def counts_calls_of_all_tasks_together(patch: Patch) -> None:
    """The keys of concurrent branches depend on who is first."""
    patch.setattr(Branch, "here", lambda _: Branch())


def leaves_calls_behind(patch: Patch) -> None:
    """The run ends while steps of it still run."""

    async def leave(self: Drive) -> None:
        self.ending = self.ending or None

    patch.setattr(Drive, "leave", leave)


@pytest.mark.parametrize(
    "plant",
    [
        deaf_while_leaving,
        parks_in_silence,
        forgets_what_it_saw,
        parks_over_a_poke,
        hears_and_does_nothing,
        uses_signals_again,
        claims_twice,
        counts_calls_of_all_tasks_together,
        leaves_calls_behind,
    ],
)
async def test_a_planted_bug_is_found(plant: Callable[[Patch], None], monkeypatch: Patch) -> None:
    """The search that finds nothing finds each of these within a few hundred worlds."""
    plant(monkeypatch)
    for seed in range(400):
        if faults := await simulate(seed, MemoryJournal()):
            print(f"{plant.__name__}: {len(faults)} faults in world {seed}: {faults[0][:100]}")  # noqa: T201 - the proof says what it did
            return
    pytest.fail("not found")
