"""Every failpoint in every scenario: the process dies there, and the next one finishes the work."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from understudy.db.database import Database
from understudy.db.driver import Driver
from understudy.db.postgres import PostgreSQL
from understudy.db.sqlite import SQLite
from understudy.engine.journal import Journal
from understudy.errors import StorageError
from understudy.testing.failpoints import POINTS, READS, WRITES, Crash, Delay, Fail, Failpoints
from understudy.testing.lives import Ends, ends, live
from understudy.testing.scenarios import SCENARIOS, Scenario, World

if TYPE_CHECKING:
    from understudy.testing.postgres import PostgresServer

SEED = 20_261_122


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """What thousands of crashes say is not of interest."""
    with capture_logs(), caplog.at_level(logging.CRITICAL, "understudy.db.writer"):
        yield


Make = Callable[[], AbstractContextManager[Driver]]
"""A new database, each time."""

Pair = tuple[Scenario, str, int]
"""A scenario, a point, and at which of its passes."""


@pytest.fixture
def files(tmp_path: Path, migrated: Path) -> Make:
    """Databases in files."""

    @contextlib.contextmanager
    def make() -> Iterator[Driver]:
        path = tmp_path / "understudy.db"
        shutil.copyfile(migrated, path)
        yield SQLite(f"sqlite:///{path}")
        for left in tmp_path.glob("understudy.db*"):
            left.unlink()

    return make


@pytest.fixture
def served(postgres: PostgresServer) -> Iterator[Make]:
    """Databases in a server, whose clock is the test's."""
    names = (f"failpoints_{number}" for number in itertools.count())

    async def migrate() -> None:
        async with await Database.open(postgres.create("failpoints")):
            pass

    @contextlib.contextmanager
    def make() -> Iterator[Driver]:
        name = next(names)
        yield PostgreSQL(postgres.create(name, template="failpoints"), own_clock=False)
        postgres.drop(name)

    asyncio.run(migrate())
    yield make
    postgres.drop("failpoints")


class Ledger:
    """How the scenarios go undisturbed, and what has been tried on them."""

    def __init__(self, make: Make) -> None:
        self._make = make
        self._began = time.monotonic()
        self.expected: dict[Scenario, Ends] = {}
        self.passes: dict[Scenario, Counter[str]] = {}
        self.crashes = 0
        self.missed = 0
        self.bodies = 0

    async def look(self) -> None:
        """Play every scenario once with nothing armed."""
        for scenario in SCENARIOS:
            with self._make() as driver:
                world = World()
                self.passes[scenario] = (await live(world, driver, scenario)).passes
                self.expected[scenario] = await ends(world, driver)

    @property
    def pairs(self) -> list[Pair]:
        """Each point with each scenario that reaches it, at the first pass."""
        every = itertools.product(SCENARIOS, POINTS)
        return [(one, point, 1) for one, point in every if self.passes[one][point]]

    @property
    def later(self) -> list[Pair]:
        """The same at every other pass."""
        return [
            (scenario, point, nth)
            for scenario, point, _ in self.pairs
            for nth in range(2, self.passes[scenario][point] + 1)
        ]

    async def crash(self, pair: Pair) -> None:
        """Let the process die there: the next one comes to the same end."""
        scenario, point, nth = pair
        with self._make() as driver:
            world = World()
            points = await live(world, driver, scenario, (point, nth, Crash()))
            if points.dead:
                self.crashes += 1
                await live(world, driver, scenario)
            else:  # how many writes share a commit is chance
                assert points.passes[point] < nth
                self.missed += 1
            found = await ends(world, driver)
        assert found == self.expected[scenario], f"{scenario.__name__}, {point}, pass {nth}"
        self.bodies += sum(world.executions.values())

    def report(self, database: str) -> None:
        """Print what was done; fails if a point was reached by no scenario."""
        reached = sum(self.passes.values(), Counter[str]())
        missing = [point for point in POINTS if not reached[point]]
        print(  # noqa: T201
            f"{database}: {len(POINTS)} failpoints, {len(SCENARIOS)} scenarios,"
            f" {len(self.pairs)} pairs reached at {reached.total()} passes,"
            f" {len(POINTS) * len(SCENARIOS) - len(self.pairs)} pairs not reached,"
            f" points that no scenario reaches: {', '.join(missing) or 'none'};"
            f" {self.crashes} crashes, {self.missed} passes that did not come up again,"
            f" {self.bodies} bodies begun,"
            f" 0 runs lost, 0 finished steps repeated; seed {SEED},"
            f" {time.monotonic() - self._began:.0f} s"
        )
        # A thread renews the leases on a server, by the real time.
        assert set(missing) <= ({"beats.before", "beats.after"} if "Postgre" in database else set())


def sampled(pairs: list[Pair], count: int) -> list[Pair]:
    """So many of the pairs: each point, then each scenario, then by chance."""
    shuffled = random.Random(SEED).sample(pairs, len(pairs))
    seen: set[object] = set()
    new: dict[Pair, int] = {}
    for pair in shuffled:
        new[pair] = len({pair[0], pair[1]} - seen)
        seen |= {pair[0], pair[1]}
    return sorted(shuffled, key=lambda pair: -new[pair])[:count]


@pytest.mark.prove
async def test_a_crash_at_any_point_of_any_scenario_loses_and_repeats_nothing(
    files: Make, rounds: Callable[[int, int], int]
) -> None:
    """SQLite: engine, connections and queue are gone; another engine opens the file and goes on.

    No accepted run is lost, all end as if undisturbed, no body runs after its result was stored.
    """
    ledger = Ledger(files)
    await ledger.look()
    pairs, later = ledger.pairs, ledger.later
    count = rounds(len(pairs) + len(later), 80)
    for pair in sampled(pairs, count) + sampled(later, max(0, count - len(pairs))):
        await ledger.crash(pair)
    ledger.report("SQLite")


@pytest.mark.prove
async def test_a_crash_loses_and_repeats_nothing_on_a_server(
    served: Make, rounds: Callable[[int, int], int]
) -> None:
    """PostgreSQL: the same for a sample in which each point and each scenario comes up."""
    ledger = Ledger(served)
    await ledger.look()
    for pair in sampled(ledger.pairs, rounds(200, 12)):
        await ledger.crash(pair)
    ledger.report("PostgreSQL")


@pytest.mark.prove
async def test_a_refused_write_loses_and_repeats_nothing(
    files: Make, rounds: Callable[[int, int], int]
) -> None:
    """An error before a write, or in place of its answer: what was asked for comes to its end."""
    ledger = Ledger(files)
    await ledger.look()
    pairs = [pair for pair in ledger.pairs if not pair[1].startswith("body")]
    refused = 0
    for scenario, point, nth in sampled(pairs, rounds(len(pairs), 12)):
        with files() as driver:
            world = World()
            fail = Fail(StorageError("refused"))
            try:
                await live(world, driver, scenario, (point, nth, fail))
            except StorageError:  # the person was told, or the worker gave up
                await live(world, driver, scenario)
            assert await ends(world, driver) == ledger.expected[scenario], (scenario, point)
        refused += 1
    print(f"{refused} refused writes")  # noqa: T201


async def test_a_delay_changes_nothing(files: Make) -> None:
    """What takes a minute longer ends the same."""
    ledger = Ledger(files)
    await ledger.look()
    scenario = SCENARIOS[0]
    for point in ("record.before", "record.after", "body.before", "commit.after"):
        with files() as driver:
            world = World()
            points = await live(world, driver, scenario, (point, 1, Delay(60)))
            assert points.passes[point] >= 1
            assert await ends(world, driver) == ledger.expected[scenario]


def test_every_write_of_a_journal_has_its_points() -> None:
    """A method that is added to the contract is a write until somebody says that it only reads."""
    methods = {name for name in dir(Journal) if callable(getattr(Journal, name)) and name[0] != "_"}
    assert methods == READS | set(WRITES)
    assert not READS & set(WRITES)
    assert len(POINTS) == len(set(POINTS)) == 2 * (len(methods) - len(READS) + 2)


async def test_an_unknown_point_is_refused() -> None:
    """With the names of those there are."""
    with pytest.raises(ValueError, match=r"no failpoint 'recrod.before'; known: submit.before"):
        Failpoints(World()).arm("recrod.before", Crash())
