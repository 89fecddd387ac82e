"""Put a backup back, into an installation that has nothing yet."""

from __future__ import annotations

import contextlib
import hashlib
import json
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import IO, Any

from understudy.artifacts.blocking import finish
from understudy.artifacts.store import Store
from understudy.backup.manifest import Manifest, member_of_file, member_of_table, opened
from understudy.db import dump
from understudy.db.driver import Driver
from understudy.db.migrate import migrate
from understudy.db.tx import Tx
from understudy.errors import InputError

Tell = Callable[[int, int], None]
"""How far it is: things done, things in all. A thing is a row, or the bytes of a file."""

Row = dict[str, Any]

_PIECE = 1024 * 1024
_TELL_EVERY = 1000


async def restore(source: Path, driver: Driver, store: Store, tell: Tell) -> Manifest:
    """Put what a backup holds into a database and a store; its facts.

    All rows come in one transaction, after all bytes: whatever stops it, nothing half restored is
    ever worked on, and it can be done again. A backup of an older release is brought to this one's
    schema. Raises InputError when the file is damaged or none of ours, SchemaTooNew when a newer
    release wrote it, Conflict when the database is not empty, ConfigError when it cannot be used.
    """
    with _sound(source), opened(source) as (archive, manifest):
        await finish(dump.prepare, driver, manifest.revision, tuple(manifest.tables))
        restoring = _Restoring(source, archive, manifest, tell)
        try:
            await restoring.files_to(store)
            await finish(restoring.rows_to, driver)
        except BaseException:
            # Once the rows may be there, they need their bytes; else a sweep finds those later.
            if not restoring.loaded:
                for location in restoring.locations.values():
                    await store.delete(location)
            raise
        await finish(migrate, driver)
    return manifest


async def verify(source: Path, tell: Tell) -> Manifest:
    """Read a whole backup and check every hash; its facts. Raises InputError as `restore`."""
    with _sound(source), opened(source) as (archive, manifest):
        restoring = _Restoring(source, archive, manifest, tell)
        await finish(restoring.check)
    return manifest


class _Restoring:
    """One backup on its way back.

    `locations` say where bytes were put, by tenant and SHA-256; `loaded`, whether all rows were
    loaded and only their commit is left, whose end a cancelled caller does not hear of.
    """

    def __init__(
        self, source: Path, archive: zipfile.ZipFile, manifest: Manifest, tell: Tell
    ) -> None:
        self._source = source
        self._archive = archive
        self._manifest = manifest
        self._missing = frozenset(manifest.missing)
        self._tell = tell
        self._done = 0
        self.loaded = False
        self.locations: dict[tuple[str, str], str] = {}

    async def files_to(self, store: Store) -> None:
        """Store the bytes of every row that has some."""
        for row in self._rows("blobs"):
            if row["sha256"] not in self._missing:
                with self._file(row["sha256"]) as file:
                    stored = await store.put(_pieces(file))
                self.locations[row["tenant"], row["sha256"]] = stored.location
                if stored.sha256 != row["sha256"]:
                    raise self._damaged(member_of_file(row["sha256"]))
            self._step()

    def rows_to(self, driver: Driver) -> None:
        """Load all rows in one transaction. Blocks."""
        session = driver.connect()
        try:
            session.transact(lambda tx: self._load(tx, driver), alone=True)
        except Exception as error:
            told = driver.understood(error)
            if told is error:
                raise
            raise told from error
        finally:
            session.close()

    def check(self) -> None:
        """Read everything, and compare the hashes. Blocks."""
        for name in self._manifest.tables:
            for _ in self._rows(name):
                self._step()
        for row in self._rows("blobs"):
            if row["sha256"] not in self._missing:
                digest = hashlib.sha256()
                with self._file(row["sha256"]) as file:
                    while piece := file.read(_PIECE):
                        digest.update(piece)
                if digest.hexdigest() != row["sha256"]:
                    raise self._damaged(member_of_file(row["sha256"]))
            self._step()

    def _load(self, tx: Tx, driver: Driver) -> None:
        """It may be run again, if the database gave up the transaction."""
        self.loaded = False
        self._done = self._manifest.tables["blobs"].rows
        tables = [name for name in dump.TABLES if name in self._manifest.tables]
        dump.check_empty(tx, driver.place, tables)
        for name in tables:
            dump.load(tx, name, self._kept(name))
            dump.go_on_numbering(tx, driver.dialect, name)
        self.loaded = True

    def _kept(self, name: str) -> Iterator[Row]:
        """A table's rows: bytes by their new places, and no artifacts whose bytes are missing."""
        for row in self._rows(name):
            self._step()
            if name in {"artifacts", "blobs"} and row["sha256"] in self._missing:
                continue
            if name == "blobs":
                row["location"] = self.locations[row["tenant"], row["sha256"]]
            yield row

    def _rows(self, name: str) -> Iterator[Row]:
        """A table's rows. Raises InputError at the end when they are not those that were saved."""
        member = member_of_table(name)
        digest = hashlib.sha256()
        with self._archive.open(member) as lines:
            for line in lines:
                digest.update(line)
                yield json.loads(line)
        if digest.hexdigest() != self._manifest.tables[name].sha256:
            raise self._damaged(member)

    def _file(self, sha256: str) -> IO[bytes]:
        return self._archive.open(member_of_file(sha256))

    def _step(self) -> None:
        self._done += 1
        tables = self._manifest.tables
        in_all = sum(facts.rows for facts in tables.values()) + tables["blobs"].rows
        if self._done % _TELL_EVERY == 0 or self._done == in_all:
            self._tell(self._done, in_all)

    def _damaged(self, member: str) -> InputError:
        return InputError(f"{self._source}: is damaged: {member} is not what was saved")


async def _pieces(file: IO[bytes]) -> AsyncIterator[bytes]:
    while piece := await finish(file.read, _PIECE):
        yield piece


@contextlib.contextmanager
def _sound(source: Path) -> Iterator[None]:
    """What a damaged file makes of the reading."""
    try:
        yield
    except (zipfile.BadZipFile, EOFError, KeyError, ValueError) as error:
        raise InputError(f"{source}: is damaged: {error}") from error
