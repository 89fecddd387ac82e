"""Take a backup, beside whatever works: rows in one snapshot, then the bytes that they name."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib.metadata
import json
import os
import secrets
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from understudy.artifacts.blocking import finish
from understudy.artifacts.store import Store
from understudy.backup.manifest import (
    FORMAT,
    NAME,
    Manifest,
    TableFacts,
    member_of_file,
    member_of_table,
)
from understudy.clock import Clock, iso
from understudy.db import dump
from understudy.db.database import Database, Tx
from understudy.db.migrate import revisions
from understudy.errors import InputError, StorageError, StorageFull

Tell = Callable[[int, int], None]
"""How far it is: things done, things in all. A thing is a row, or the bytes of a file."""

_TELL_EVERY = 1000
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


async def back_up(
    database: Database, store: Store, clock: Clock, target: Path, tell: Tell
) -> Manifest:
    """Write a backup to `target`, whole or not at all; what it holds.

    Workers go on meanwhile. Raises InputError when there is a file of that name, or when it cannot
    be written; StorageFull or StorageError when the disk refuses.
    """
    _check(target)
    with _understanding(target), _beside(target) as folder:
        tables = await database.read(lambda tx: _dump(tx, folder, tell))
        manifest = Manifest(
            format=FORMAT,
            made_at=iso(clock.now()),
            release=importlib.metadata.version("understudy"),
            revision=revisions()[-1],
            database="sqlite" if database.driver is None else database.driver.dialect,
            tables=tables,
            files=0,
            bytes=0,
            missing=[],
        )
        partial = folder / "backup.zip"
        with zipfile.ZipFile(partial, "x", zipfile.ZIP_DEFLATED) as archive:
            for name in tables:
                await finish(archive.write, folder / f"{name}.jsonl", member_of_table(name))
            await _add_files(archive, store, folder / "blobs.jsonl", manifest, tell)
            archive.writestr(NAME, manifest.model_dump_json(indent=2))
        await finish(_settle, partial, target)
    return manifest


async def _add_files(
    archive: zipfile.ZipFile, store: Store, rows: Path, manifest: Manifest, tell: Tell
) -> None:
    """The bytes that the rows name, equal ones once."""
    in_all = sum(facts.rows for facts in manifest.tables.values()) + manifest.tables["blobs"].rows
    done = in_all - manifest.tables["blobs"].rows
    known: set[str] = set()
    with rows.open("rb") as lines:
        for line in lines:
            row = json.loads(line)
            if row["sha256"] not in known:
                known.add(row["sha256"])
                try:
                    manifest.bytes += await _add_file(archive, store, row)
                    manifest.files += 1
                except _Missing:
                    manifest.missing.append(row["sha256"])
            done += 1
            tell(done, in_all)


async def _add_file(archive: zipfile.ZipFile, store: Store, row: dict[str, Any]) -> int:
    """Copy the bytes of a row; how many. Raises `_Missing` when they are gone, or not its own."""
    digest = hashlib.sha256()
    size = 0
    pieces = store.open(row["location"])
    try:
        piece = await anext(pieces, b"")
    except StorageError as error:  # its time came after the rows were read
        raise _Missing from error
    # Films and pictures are compressed already.
    member = zipfile.ZipInfo(member_of_file(row["sha256"]))
    with archive.open(member, "w", force_zip64=True) as file:
        while piece:
            digest.update(piece)
            size += len(piece)
            await finish(file.write, piece)
            piece = await anext(pieces, b"")
    if digest.hexdigest() != row["sha256"]:
        raise _Missing
    return size


class _Missing(Exception):
    """The bytes cannot be had."""


def _check(target: Path) -> None:
    if target.exists():
        raise InputError(f"{target}: exists already; name a new file")
    if not target.parent.is_dir():
        raise InputError(f"{target}: there is no folder {target.parent}; create it first")


def _dump(tx: Tx, folder: Path, tell: Tell) -> dict[str, TableFacts]:
    """All rows into files of the folder. It may be run again, so it begins each file anew."""
    counts = dump.count(tx)
    in_all = sum(counts.values()) + counts["blobs"]
    done = 0
    tables = {}
    for name in dump.TABLES:
        digest, rows = hashlib.sha256(), 0
        with (folder / f"{name}.jsonl").open("wb") as file:
            for row in dump.rows_of(tx, name):
                line = json.dumps(row).encode() + b"\n"
                file.write(line)
                digest.update(line)
                rows += 1
                if (done + rows) % _TELL_EVERY == 0:
                    tell(done + rows, in_all)
        done += rows
        tables[name] = TableFacts(rows=rows, sha256=digest.hexdigest())
    return tables


@contextlib.contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A folder next to the target for what is not finished, gone at the end; only ours to read."""
    folder = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _settle(partial: Path, target: Path) -> None:
    """Make the file last, under its name, which nobody else has taken meanwhile."""
    with partial.open("rb+") as file:
        os.fchmod(file.fileno(), 0o600)
        os.fsync(file.fileno())
    os.link(partial, target)


@contextlib.contextmanager
def _understanding(target: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError as error:
        raise InputError(f"{target}: exists already; name a new file") from error
    except OSError as error:
        kind = StorageFull if error.errno in _FULL else StorageError
        raise kind(f"{target}: cannot be written: {error.strerror or error}") from error
