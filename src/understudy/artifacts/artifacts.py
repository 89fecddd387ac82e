"""Files, as operations and surfaces see them: in, out, and gone when nobody needs them."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from understudy import ids
from understudy.artifacts import records
from understudy.artifacts.artifact import Artifact, clean_name
from understudy.artifacts.blocking import finish
from understudy.artifacts.store import Store, Stored
from understudy.artifacts.workspace import sweep_workspaces, workspace
from understudy.clock import Clock
from understudy.db.database import Database
from understudy.errors import NotFound
from understudy.media.probe import probe

_ORPHAN_SECONDS = 3600.0


class Swept(NamedTuple):
    """What a sweep removed."""

    expired: int
    """References past their time."""
    bytes: int
    """Contents that nothing referred to any more."""
    orphans: int
    """Files that no row knew, left by a killed process."""
    workspaces: int
    """Temporary folders of dead processes."""


class Terms(Protocol):
    """For how long tenants want their files kept."""

    async def lifetime(self, tenant: str, *, result: bool) -> float | None:
        """Seconds, for results or for other files; None leaves it to the installation."""
        ...


@dataclasses.dataclass(frozen=True)
class Artifacts:
    """The files of one tenant (and, when bound, of one user and run).

    `tmp` holds workspaces and should lie on the store's file system, so that a finished file is
    moved in and not copied. `lifetime` (seconds) is how long a file is kept that names no time of
    its own, `result_lifetime` how long what customers asked for is; None is for ever. A tenant may
    have other `terms`.
    """

    database: Database
    store: Store
    tmp: Path
    clock: Clock
    lifetime: float | None = None
    result_lifetime: float | None = None
    terms: Terms | None = None
    keeps_results: bool = False
    tenant: str = "default"
    user: str | None = None
    run_id: str | None = None

    def bound(
        self, *, tenant: str, user: str | None = None, run_id: str | None = None
    ) -> Artifacts:
        """The same files' door for somebody: what is put through it is theirs."""
        return dataclasses.replace(self, tenant=tenant, user=user, run_id=run_id)

    @property
    def results(self) -> Artifacts:
        """The same door for what a customer asked for, which is kept longer."""
        return dataclasses.replace(self, lifetime=self.result_lifetime, keeps_results=True)

    async def door_of(self, artifact_id: str) -> Artifacts:
        """The door of the artifact's own tenant, for whoever has proven that he may have it.

        Raises NotFound for an id that never was or was deleted.
        """
        tenant = await self.database.read(partial(records.tenant_of, artifact_id=artifact_id))
        if tenant is None:
            raise self._unknown(artifact_id)
        return self.bound(tenant=tenant)

    async def put(
        self, data: bytes | AsyncIterator[bytes], *, name: str, expires_in: float | None = None
    ) -> Artifact:
        """Store bytes or a stream of them. `expires_in` is in seconds.

        Raises StorageFull or StorageError, with nothing kept; what the stream raises is raised.
        """
        stream = _once(data) if isinstance(data, bytes) else data
        return await self._record(await self.store.put(stream), name, expires_in)

    async def adopt(self, path: Path, *, name: str, expires_in: float | None = None) -> Artifact:
        """Move a finished file in; it is gone from `path` afterwards.

        Raises as `put` does, and InputError when `path` is no regular file.
        """
        return await self._record(await self.store.adopt(path), name, expires_in)

    async def copy_in(
        self, path: Path, *, name: str | None = None, expires_in: float | None = None
    ) -> Artifact:
        """Store a copy of a user's file, by default under its own name. Raises as `adopt` does."""
        return await self._record(await self.store.copy(path), name or path.name, expires_in)

    async def get(self, artifact_id: str) -> Artifact:
        """The facts. Raises NotFound for an unknown, expired or another tenant's id."""
        artifact, _ = await self._find(artifact_id)
        return artifact

    async def path(self, artifact_id: str) -> Path:
        """A local file with the bytes, to be read only. Raises NotFound as `get` does."""
        _, location = await self._find(artifact_id)
        return await self.store.path(location)

    async def open(self, artifact_id: str) -> AsyncIterator[bytes]:
        """The bytes, in pieces: `async for piece in await files.open(id)`. Raises as `get`."""
        _, location = await self._find(artifact_id)
        return self.store.open(location)

    async def keep(self, artifact_id: str, *, expires_in: float | None) -> None:
        """Let it expire that many seconds from now, or never. Raises NotFound as `get` does."""
        now = self.clock.now()
        expires_at = None if expires_in is None else now + expires_in
        unit = partial(records.keep, key=self._key(artifact_id), now=now, expires_at=expires_at)
        if not await self.database.write(unit):
            raise self._unknown(artifact_id)

    async def delete(self, artifact_id: str) -> None:
        """Remove the reference, and the bytes when it was the last. Raises NotFound as `get`."""
        found, location = await self.database.write(
            partial(records.remove, key=self._key(artifact_id))
        )
        if not found:
            raise self._unknown(artifact_id)
        if location is not None:
            await self.store.delete(location)

    def workspace(self) -> AbstractAsyncContextManager[Path]:
        """A fresh temporary folder, removed at the end of the block whatever happens."""
        return workspace(self.tmp)

    async def sweep(self) -> Swept:
        """Clear up after everybody: all tenants, all processes. It may run beside anything."""
        workspaces = await sweep_workspaces(self.tmp)
        expired = await self._sweep_expired()
        freed = await self._sweep_bytes()
        orphans = await self.store.tidy() + await self._sweep_orphans()
        return Swept(expired, freed, orphans, workspaces)

    async def _record(self, stored: Stored, name: str, expires_in: float | None) -> Artifact:
        try:
            artifact = await self._describe(stored, name, expires_in)
            row = artifact.model_dump(exclude={"size"})
            row |= {"tenant": self.tenant, "user_id": self.user, "run_id": self.run_id}
            blob = {**stored._asdict(), "tenant": self.tenant, "created_at": artifact.created_at}
            spare = await self.database.write(partial(records.add, row=row, blob=blob))
        except Exception:  # a cancel is none: then the unit may yet be stored, and needs the bytes
            await self.store.delete(stored.location)
            raise
        if spare is not None:
            await self.store.delete(spare)
        return artifact

    async def _describe(self, stored: Stored, name: str, expires_in: float | None) -> Artifact:
        facts = await finish(probe, await self.store.path(stored.location))
        now = self.clock.now()
        kept = await self._usual_lifetime() if expires_in is None else expires_in
        return Artifact(
            id=ids.random("art"),
            name=clean_name(name),
            media_type=facts.media_type,
            size=stored.size,
            sha256=stored.sha256,
            width=facts.width,
            height=facts.height,
            duration=facts.duration,
            created_at=now,
            expires_at=None if kept is None else now + kept,
        )

    async def _usual_lifetime(self) -> float | None:
        own = None
        if self.terms is not None:
            own = await self.terms.lifetime(self.tenant, result=self.keeps_results)
        return self.lifetime if own is None else own

    async def _find(self, artifact_id: str) -> tuple[Artifact, str]:
        found = await self.database.read(
            partial(records.find, tenant=self.tenant, artifact_id=artifact_id, now=self.clock.now())
        )
        if found is None:
            raise self._unknown(artifact_id)
        return found

    def _key(self, artifact_id: str) -> dict[str, Any]:
        return {"tenant": self.tenant, "id": artifact_id}

    def _unknown(self, artifact_id: str) -> NotFound:
        return NotFound(f"no artifact {artifact_id}: it has expired, was deleted, or never was")

    async def _sweep_expired(self) -> int:
        count = 0
        while found := await self.database.read(partial(records.expired, now=self.clock.now())):
            for tenant, artifact_id in found:
                unit = partial(records.remove, key={"tenant": tenant, "id": artifact_id})
                there, location = await self.database.write(unit)
                count += there
                if location is not None:
                    await self.store.delete(location)
        return count

    async def _sweep_bytes(self) -> int:
        count = 0
        while found := await self.database.read(records.unused):
            for location in await self.database.write(partial(records.free, found=found)):
                await self.store.delete(location)
                count += 1
        return count

    async def _sweep_orphans(self) -> int:
        count = 0
        page: list[str] = []
        async for location in self.store.locations(self.clock.now() - _ORPHAN_SECONDS):
            page.append(location)
            if len(page) == records.PAGE:
                count += await self._drop_strangers(page)
                page = []
        return count + await self._drop_strangers(page)

    async def _drop_strangers(self, page: list[str]) -> int:
        found = await self.database.read(partial(records.strangers, locations=page))
        for location in found:
            await self.store.delete(location)
        return len(found)


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
