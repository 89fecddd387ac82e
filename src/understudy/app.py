"""The composition root: builds everything from the settings; the only file that knows everyone."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import importlib.metadata
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import structlog

from understudy.accounts.attempts import Attempts
from understudy.accounts.audit import Audit
from understudy.accounts.keys import Keys
from understudy.accounts.limits import Limits as KeyLimits
from understudy.accounts.links import Links
from understudy.accounts.operator import OperatorKey
from understudy.accounts.sessions import Sessions
from understudy.accounts.tenants import Tenants
from understudy.accounts.webhooks import Webhooks
from understudy.artifacts.artifacts import Artifacts
from understudy.artifacts.stores.disk import Disk
from understudy.capabilities.film import Film
from understudy.clock import Clock, SystemClock
from understudy.db.database import Database, WriterStats
from understudy.db.lock import WorkerLock
from understudy.db.sqlite import SQLite
from understudy.engine.drive import Kit
from understudy.engine.engine import Engine
from understudy.engine.forecasts import Forecasts
from understudy.engine.history import History
from understudy.engine.journals.database import DatabaseJournal
from understudy.engine.journals.erasing import DatabaseErasing
from understudy.engine.journals.history import DatabaseRecords
from understudy.engine.operation import Operation
from understudy.engine.plans.embedded import Embedded, Limits
from understudy.engine.registry import Provide, Registry, load_file
from understudy.engine.run import Run
from understudy.engine.schedules import Schedules
from understudy.errors import ConfigError, Error
from understudy.media.ffmpeg import find_ffmpeg
from understudy.media.pool import MediaPool
from understudy.operations.erasure import Eraser, erase_user
from understudy.operations.morph import morph
from understudy.operations.retention import Ages, Keeper, retention
from understudy.operations.webhook import Courier, deliver_webhook, told_of
from understudy.outbound import Fetcher
from understudy.providers.local import Local
from understudy.settings import Settings

_BUILT_IN: tuple[Operation[Any, Any], ...] = (
    morph,
    retention,
    deliver_webhook,
    erase_user,
)
_ENTRY_POINTS = "understudy.operations"
_DAY = 86_400.0
_MOMENT = 0.5
"""Seconds: over less, a rate would be chance."""

_log = structlog.get_logger(__name__)


@dataclasses.dataclass(frozen=True)
class App:
    """Everything that a surface needs, built and connected."""

    settings: Settings
    clock: Clock
    database: Database
    journal: DatabaseJournal
    artifacts: Artifacts
    media: MediaPool
    registry: Registry
    engine: Engine
    keys: Keys
    sessions: Sessions
    audit: Audit
    limits: KeyLimits
    attempts: Attempts
    fetcher: Fetcher
    webhooks: Webhooks
    tenants: Tenants
    links: Links

    @property
    def tenant(self) -> str:
        """Whose runs and files this process works with."""
        return self.settings.tenant

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, settings: Settings) -> AsyncIterator[App]:
        """Build the app: the database is created or migrated, operations are loaded and checked.

        Raises `ConfigError` (also as `SchemaTooNew`, `MissingNeed`), which says what to change.
        """
        clock = SystemClock()
        operations = [*_BUILT_IN, *_loaded(settings), *_installed()]
        operator = _operator_key(settings)
        async with contextlib.AsyncExitStack() as stack:
            database = await stack.enter_async_context(await Database.open(settings.database_url))
            media = await stack.enter_async_context(MediaPool(settings.cores))
            tenants = Tenants(database, clock)
            artifacts = _artifacts(settings, database, clock, tenants)
            local = Local(media, find_ffmpeg(settings.ffmpeg))

            def files_of(run: Run) -> Artifacts:
                return artifacts.bound(tenant=run.tenant, user=run.user, run_id=run.id)

            def courier_of(run: Run) -> Courier:
                return Courier(webhooks, fetcher, clock, engine.view, run.tenant)

            def eraser_of(run: Run) -> Eraser:
                return Eraser(engine, erasing, artifacts.bound(tenant=run.tenant))

            journal = DatabaseJournal(database, told_of)
            erasing = DatabaseErasing(database)
            ages = Ages(settings.run_days, settings.failed_run_days)
            keeper = Keeper(journal, artifacts, clock, ages, tenants)
            provided: dict[type, Provide] = {
                Film: lambda _: local,
                Artifacts: files_of,
                Keeper: lambda _: keeper,
                Courier: courier_of,
                Eraser: eraser_of,
            }
            registry = Registry(operations, provided, settings.retries)
            engine = Engine(journal, registry, clock, _forecasts(database, clock))
            fetcher = Fetcher(clock, private_addresses=settings.private_addresses)
            webhooks = Webhooks(database, clock, fetcher)
            yield cls(
                settings=settings,
                clock=clock,
                database=database,
                journal=journal,
                artifacts=artifacts,
                media=media,
                registry=registry,
                engine=engine,
                keys=Keys(database, clock, operator),
                sessions=Sessions(database, clock, operator),
                audit=Audit(database, clock),
                limits=KeyLimits(clock, settings.key_per_minute, settings.key_at_once),
                attempts=Attempts(clock),
                fetcher=fetcher,
                webhooks=webhooks,
                tenants=tenants,
                links=Links(database, clock, settings.link_hours * 3600),
            )

    @contextlib.asynccontextmanager
    async def worker(self, only_root: str | None = None) -> AsyncIterator[Embedded]:
        """Drive due runs in this process until the block ends, which drains.

        With `only_root`, runs that were left unfinished before stay so: only that run, its
        children, and what is submitted from now on are driven. Raises `WorkerHeld`, which names
        the process that works on this database file; on PostgreSQL any number may work.
        """
        async with contextlib.AsyncExitStack() as stack:
            if isinstance(self.database.driver, SQLite):
                stack.enter_context(WorkerLock(self.database.driver.path, self.clock))
            since = None if only_root is None else self.clock.now()
            scope = self.registry.scope(root=only_root, since=since)
            kit = Kit(self.journal, self.registry, self.clock, woken=lambda _: None)
            limits = Limits(drain=self.settings.drain_seconds, lease=self.settings.lease_seconds)
            plan = Embedded(kit, scope, limits, self._schedules(only_root), _Word(self))
            _spare_the_collector()
            await plan.start()
            self.engine.attach(plan)
            sweep = asyncio.create_task(self._sweep())
            try:
                yield plan
            finally:
                self.engine.detach(plan)
                await plan.stop()
                sweep.cancel()
                await asyncio.gather(sweep, return_exceptions=True)

    def _schedules(self, only_root: str | None) -> Schedules | None:
        """What starts by the clock is left to workers that take on everything."""
        if only_root is not None:
            return None
        return Schedules(self.journal, self.registry, self.clock, self.tenant)

    async def _sweep(self) -> None:
        """Clear up beside the work; what is not reached now is left for the next worker."""
        try:
            swept = await self.artifacts.sweep()
        except Error as error:
            _log.warning("sweep_failed", error=error.message)
        else:
            _log.info("swept", **swept._asdict())


class _Word:
    """What the list of workers shows of this process, said anew with each beat of its lease.

    `writer` has the totals of the group commit, and its rates and means since the word before.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._before = dataclasses.replace(app.database.writer_stats)
        self._at = app.clock.now()
        self._recent = _rates(self._before, self._before, 1.0)

    def __call__(self) -> dict[str, Any]:
        stats = dataclasses.replace(self._app.database.writer_stats)
        now = self._app.clock.now()
        if now - self._at >= _MOMENT:
            self._recent = _rates(self._before, stats, now - self._at)
            self._before, self._at = stats, now
        totals = {"commits": stats.commits, "units": stats.units, "queued": stats.queued}
        return {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "release": importlib.metadata.version("understudy"),
            "writer": {**totals, **self._recent},
        }


def _forecasts(database: Database, clock: Clock) -> Forecasts:
    records = DatabaseRecords(database)
    return Forecasts(History(records, clock), records, clock)


def _rates(before: WriterStats, after: WriterStats, seconds: float) -> dict[str, float]:
    commits, units = after.commits - before.commits, after.units - before.units
    spent = after.commit_seconds - before.commit_seconds
    return {
        "commits_per_s": round(commits / seconds, 1),
        "units_per_s": round(units / seconds, 1),
        "mean_batch": round(units / commits, 1) if commits else 0.0,
        "commit_ms": round(1000 * spent / commits, 2) if commits else 0.0,
    }


def _spare_the_collector() -> None:
    """Tell Python's cyclic collector that what is loaded by now stays.

    A worker makes many small objects that die at once by reference counting; looking through all
    modules each time took a sixth of the CPU of a step.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)


def _artifacts(settings: Settings, database: Database, clock: Clock, tenants: Tenants) -> Artifacts:
    return Artifacts(
        database=database,
        store=Disk(settings.files_folder, clock),
        tmp=settings.home / "tmp",
        clock=clock,
        lifetime=settings.input_days * _DAY,
        result_lifetime=settings.result_days * _DAY,
        terms=tenants,
        tenant=settings.tenant,
    )


def _operator_key(settings: Settings) -> OperatorKey | None:
    word = "" if settings.admin_key is None else settings.admin_key.get_secret_value().strip()
    return OperatorKey(settings.tenant, word) if word else None


def _loaded(settings: Settings) -> list[Operation[Any, Any]]:
    paths = [Path(part) for part in settings.load.split(os.pathsep) if part]
    return [operation for path in paths for operation in load_file(path)]


def _installed() -> list[Operation[Any, Any]]:
    """Operations of other installed packages."""
    found = []
    for entry in importlib.metadata.entry_points(group=_ENTRY_POINTS):
        value = entry.load()
        if not isinstance(value, Operation):
            raise ConfigError(f"{entry.value} (entry point {entry.name!r}) is no operation")
        found.append(value)
    return found
