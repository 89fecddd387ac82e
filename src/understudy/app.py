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

from understudy.artifacts.artifacts import Artifacts
from understudy.artifacts.stores.disk import Disk
from understudy.capabilities.film import Film
from understudy.clock import Clock, SystemClock
from understudy.db.database import Database
from understudy.db.lock import WorkerLock
from understudy.engine.drive import Kit
from understudy.engine.engine import Engine
from understudy.engine.journals.database import DatabaseJournal
from understudy.engine.operation import Operation
from understudy.engine.plans.embedded import Embedded, Limits
from understudy.engine.registry import Registry, load_file
from understudy.engine.run import Run, Scope
from understudy.errors import ConfigError, Error
from understudy.media.ffmpeg import find_ffmpeg
from understudy.media.pool import MediaPool
from understudy.operations.morph import morph
from understudy.providers.local import Local
from understudy.settings import Settings

_BUILT_IN: tuple[Operation[Any, Any], ...] = (morph,)
_ENTRY_POINTS = "understudy.operations"
_DAY = 86_400.0
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
        async with contextlib.AsyncExitStack() as stack:
            database = await stack.enter_async_context(await Database.open(settings.database_url))
            media = await stack.enter_async_context(MediaPool(settings.cores))
            artifacts = Artifacts(
                database=database,
                store=Disk(settings.home / "artifacts", clock),
                tmp=settings.home / "tmp",
                clock=clock,
                lifetime=settings.input_days * _DAY,
                result_lifetime=settings.result_days * _DAY,
                tenant=settings.tenant,
            )
            local = Local(media, find_ffmpeg(settings.ffmpeg))

            def files_of(run: Run) -> Artifacts:
                return artifacts.bound(tenant=run.tenant, user=run.user, run_id=run.id)

            registry = Registry(operations, {Film: lambda _: local, Artifacts: files_of})
            journal = DatabaseJournal(database)
            yield cls(
                settings=settings,
                clock=clock,
                database=database,
                journal=journal,
                artifacts=artifacts,
                media=media,
                registry=registry,
                engine=Engine(journal, registry, clock),
            )

    @contextlib.asynccontextmanager
    async def worker(self, only_root: str | None = None) -> AsyncIterator[Embedded]:
        """Drive due runs in this process until the block ends, which drains.

        With `only_root`, runs that were left unfinished before stay so: only that run, its
        children, and what is submitted from now on are driven. Raises `WorkerHeld`, which names
        the process that works on this database.
        """
        with WorkerLock(self.database.path, self.clock):
            since = None if only_root is None else self.clock.now()
            scope = Scope(self.registry.names, root=only_root, since=since)
            kit = Kit(self.journal, self.registry, self.clock, woken=lambda _: None)
            name = f"{socket.gethostname()}:{os.getpid()}"
            plan = Embedded(kit, scope, name, Limits(drain=self.settings.drain_seconds))
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

    async def _sweep(self) -> None:
        """Clear up beside the work; what is not reached now is left for the next worker."""
        try:
            swept = await self.artifacts.sweep()
        except Error as error:
            _log.warning("sweep_failed", error=error.message)
        else:
            _log.info("swept", **swept._asdict())


def _spare_the_collector() -> None:
    """Tell Python's cyclic collector that what is loaded by now stays.

    A worker makes many small objects that die at once by reference counting; looking through all
    modules each time took a sixth of the CPU of a step.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


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
