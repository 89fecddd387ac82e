"""What a backup file says of itself.

A backup is a ZIP file, which any tool can look into:

    manifest.json         this, written last
    tables/<name>.jsonl   the rows of a table, a JSON object a line
    files/<sha256>        the bytes of artifacts, equal bytes once
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ValidationError

from understudy.db.dump import TABLES
from understudy.errors import InputError

FORMAT = 1
NAME = "manifest.json"


class TableFacts(BaseModel):
    """A table's rows: how many, and the SHA-256 of their lines."""

    rows: int
    sha256: str


class Manifest(BaseModel):
    """The facts of a backup.

    `revision` is the database's schema, `missing` the SHA-256 of bytes that were gone or damaged.
    """

    format: int
    made_at: str
    release: str
    revision: str
    database: str
    tables: dict[str, TableFacts]
    files: int
    bytes: int
    missing: list[str]


def member_of_table(name: str) -> str:
    """Where a table's rows are."""
    return f"tables/{name}.jsonl"


def member_of_file(sha256: str) -> str:
    """Where bytes are."""
    return f"files/{sha256}"


@contextmanager
def opened(source: Path) -> Iterator[tuple[zipfile.ZipFile, Manifest]]:
    """A backup to read from. Blocks.

    Raises InputError when it is none, or one of a newer format.
    """
    try:
        archive = zipfile.ZipFile(source)
    except OSError as error:
        raise InputError(f"{source}: cannot be read: {error.strerror}") from error
    except zipfile.BadZipFile as error:
        raise InputError(f"{source}: is no backup of Understudy, or is cut off: {error}") from error
    with archive:
        try:
            manifest = Manifest.model_validate_json(archive.read(NAME))
        except (KeyError, ValidationError, zipfile.BadZipFile) as error:
            raise InputError(f"{source}: is no backup of Understudy") from error
        strange = sorted(manifest.tables.keys() - set(TABLES))
        if manifest.format > FORMAT or strange:
            raise InputError(f"{source}: was written by a newer Understudy; install that one")
        yield archive, manifest
