"""A process of a history: a worker with its own view of the database, and of the time.

It may be stopped: then neither its timers nor its calls of the journal go on. It may die without a
word, and be started again.
"""

from __future__ import annotations

import functools
import random
from typing import Any, cast

from understudy.db.database import Database, Tx
from understudy.engine.drive import Kit
from understudy.engine.engine import Engine
from understudy.engine.journal import Claims, Journal
from understudy.engine.journals.claiming import Claiming
from understudy.engine.journals.database import DatabaseJournal
from understudy.engine.plans.embedded import Embedded, Limits
from understudy.engine.registry import Registry
from understudy.engine.run import Run
from understudy.engine.schedules import Schedules
from understudy.errors import StorageError
from understudy.testing.peers import View
from understudy.testing.simulation import audit
from understudy.testing.simulation.books import Books
from understudy.testing.simulation.clock import WorldClock
from understudy.testing.simulation.operations import OPERATIONS, Here, Place
from understudy.testing.simulation.unreliable import Life, Unreliable, Weather

TENANT = "tenant"

LEASE = 90.0
"""Seconds; it is renewed three times in them."""

POLL = 22.0
"""Seconds after which a process hears what it was not told."""

_LIMITS = Limits(poll_every=POLL, lease=LEASE, drain=3.0)


class Process:
    """One worker; `hear` is called by the others' changes."""

    def __init__(self, weather: Weather, database: Database) -> None:
        self._weather = weather
        self._shared = _Shared(database, weather)
        self._journal = cast("Journal", _Journal(cast("Database", self._shared), weather.books))
        self.life = Life()
        self.life.gone = True
        weather.listeners.append((self._shared, self.hear))
        self.plan: Embedded | None = None

    @property
    def up(self) -> bool:
        """Whether it is there and goes on."""
        return not self.life.gone and not self.life.stopped

    def connect(self) -> Kit:
        """Begin a new life, without a worker."""
        self.life = Life()
        weather = self._weather
        self.journal = cast("Journal", Unreliable(self._journal, self.life, weather))
        clock = _OwnClock(weather.clock, self.life)
        place = Place(self.life, weather.books, clock)
        registry = Registry(OPERATIONS, {Here: place.of})
        self.engine = Engine(self.journal, registry, clock)
        chance = random.Random(weather.dice())
        return Kit(self.journal, registry, clock, woken=lambda _: None, chance=chance)

    async def start(self) -> None:
        """Begin a new life, and work."""
        kit = self.connect()
        schedules = Schedules(kit.journal, kit.registry, kit.clock, TENANT)
        self.plan = Embedded(kit, _claiming().scope, _LIMITS, schedules)
        try:
            await self.plan.start()
        except StorageError:
            await self.die()
            raise
        self.engine.attach(self.plan)

    async def stop(self) -> None:
        """Drain, then be gone."""
        assert self.plan is not None
        self.life.drained = True
        self.engine.detach(self.plan)
        await self.plan.stop()
        self.life.gone = True

    async def die(self) -> None:
        """Be gone, in the middle of whatever it is."""
        assert self.plan is not None
        self.life.gone = True
        await self.plan.kill()

    def hear(self) -> None:
        """Another process has left work."""
        self._shared.told = True
        self._shared.tell()


class _Journal(DatabaseJournal):
    """Watches the order of the claims."""

    def __init__(self, database: Database, books: Books) -> None:
        super().__init__(database)
        self._claiming = cast("Claiming", _Watched(books))


class _Watched:
    """The claims of all processes: writing their SQL takes longer than many a history."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self.scope = _claiming().scope
        self.alone = _claiming().alone

    def claim(self, tx: Tx, worker: str, limit: int, now: float) -> Claims:
        claims = _claiming().claim(tx, worker, limit, now)
        self._books.violations += audit.overtaken(tx, claims.runs, now)
        return claims


@functools.cache
def _claiming() -> Claiming:
    registry = Registry(OPERATIONS, {Here: _nowhere})
    return Claiming(registry.scope())


class _Shared(View):
    """The database as one process sees it: words from the others come late, or not at all."""

    def __init__(self, database: Database, weather: Weather) -> None:
        super().__init__(database)
        self._weather = weather
        self.asked = 0

    async def changed(self) -> bool:
        self.asked += 1
        told = self.told or self.asked % 2 == 0  # a word may have been lost
        self.told = False
        return told

    def announce(self) -> None:
        self._weather.announce(self)


class _OwnClock:
    """The world's clock, as one sees it who may be stopped."""

    def __init__(self, clock: WorldClock, life: Life) -> None:
        self._clock = clock
        self._life = life
        self.now = clock.now

    def sleep(self, seconds: float) -> Any:
        return self._wake(self._clock.sleep(seconds))

    async def _wake(self, sleep: Any) -> None:
        await sleep
        await self._life.gate()


def _nowhere(_: Run) -> object:
    """Nothing is called here."""
    return None
