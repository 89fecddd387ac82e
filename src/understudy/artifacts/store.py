"""Where bytes lie, under names of the store's own making. One contract, many stores.

A store knows nothing of artifacts, tenants or user's file names: it takes bytes, says how many and
which (SHA-256), and gives a location, which is unguessable and never used twice. What it has
answered for survives a power cut. `testing/conformance/store.py` is the contract as tests.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple, Protocol


class Stored(NamedTuple):
    """Bytes now lying in a store: where, their SHA-256 in hex, how many."""

    location: str
    sha256: str
    size: int


class Store(Protocol):
    """A place for bytes. Every method may raise StorageError, and StorageFull when it is full."""

    async def put(self, data: AsyncIterator[bytes]) -> Stored:
        """Take a stream. When the stream raises, that is raised and nothing is kept."""
        ...

    async def copy(self, source: Path) -> Stored:
        """Take a copy of a file. Raises InputError when it is no readable file."""
        ...

    async def adopt(self, source: Path) -> Stored:
        """Take a finished file itself, which is gone afterwards. Raises InputError as `copy`."""
        ...

    async def path(self, location: str) -> Path:
        """A local file with the bytes, to be read and not changed.

        Raises StorageError when they are gone.
        """
        ...

    def open(self, location: str) -> AsyncIterator[bytes]:
        """The bytes, in pieces. Raises StorageError at the first piece when they are gone."""
        ...

    async def delete(self, location: str) -> None:
        """Forget the bytes; nothing happens when they are gone already."""
        ...

    def locations(self, before: float) -> AsyncIterator[str]:
        """What was taken before a time (seconds since 1970)."""
        ...

    async def tidy(self) -> int:
        """Remove what killed processes left unfinished; how many pieces."""
        ...
