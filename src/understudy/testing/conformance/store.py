"""What every store of bytes must do, whatever it is made of.

    class TestMyStore(StoreContract):
        @pytest.fixture
        def store(self, tmp_path): return MyStore(tmp_path, ManualClock(NOW))

The store's clock must stand at `NOW`, and the store must be empty. Tests are `async def`: run them
with any plugin or hook that does.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

from understudy.artifacts.store import Store, Stored
from understudy.errors import InputError, StorageError

NOW = 1_800_000_000.0
"""The time at which the store under test believes to be, in seconds since 1970."""

_LARGE = bytes(range(256)) * 12_345  # 3 MB, and no whole number of any buffer


class Broken(Exception):
    """What a stream raises in these tests."""


class StoreContract:
    """Inherit it in a test module and give a fixture `store`."""

    async def test_bytes_come_back(self, store: Store) -> None:
        """Nothing, a byte and megabytes come back as they were, by path and by stream."""
        for data in (b"", b"x", _LARGE):
            stored = await store.put(_pieces(data, 100_000))
            assert stored[1:] == (hashlib.sha256(data).hexdigest(), len(data))
            assert await _read(store, stored) == data
            assert (await store.path(stored.location)).read_bytes() == data

    async def test_a_copy_leaves_the_source(self, store: Store, tmp_path: Path) -> None:
        """Copying takes the bytes and nothing else."""
        source = _file(tmp_path)
        stored = await store.copy(source)
        assert source.read_bytes() == _LARGE
        source.unlink()
        assert await _read(store, stored) == _LARGE
        assert stored[1:] == (hashlib.sha256(_LARGE).hexdigest(), len(_LARGE))

    async def test_an_adopted_file_is_gone(self, store: Store, tmp_path: Path) -> None:
        """Adopting takes the file itself."""
        source = _file(tmp_path)
        stored = await store.adopt(source)
        assert not source.exists()
        assert await _read(store, stored) == _LARGE
        assert stored[1:] == (hashlib.sha256(_LARGE).hexdigest(), len(_LARGE))

    async def test_what_is_no_file_is_refused(self, store: Store, tmp_path: Path) -> None:
        """A missing file and a folder are the caller's mistake, named in the message."""
        for take in (store.copy, store.adopt):
            for source in (tmp_path / "missing.jpg", tmp_path):
                message = await _refusal(take, source)
                assert str(source) in message
        assert await _locations(store, NOW + 1) == []

    async def test_a_broken_stream_leaves_nothing(self, store: Store) -> None:
        """What the stream raises is raised, and the half that came is not kept."""

        async def stream() -> AsyncIterator[bytes]:
            yield b"the first half"
            raise Broken

        try:
            await store.put(stream())
        except Broken:
            pass
        else:
            raise AssertionError("the stream's error was swallowed")
        assert await _locations(store, NOW + 1) == []
        assert await store.tidy() == 0

    async def test_a_cancelled_put_leaves_nothing(self, store: Store) -> None:
        """Cancelling in the middle of a stream ends the put and keeps nothing of it."""
        waiting = asyncio.Event()

        async def stream() -> AsyncIterator[bytes]:
            yield _LARGE
            waiting.set()
            await asyncio.Event().wait()

        task = asyncio.ensure_future(store.put(stream()))
        await waiting.wait()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert await _locations(store, NOW + 1) == []
        assert await store.tidy() == 0

    async def test_deleted_is_gone(self, store: Store) -> None:
        """Deleting twice is no error; reading afterwards is, by path and by stream."""
        stored = await store.put(_pieces(b"short-lived", 4))
        await store.delete(stored.location)
        await store.delete(stored.location)
        for use in (store.path(stored.location), _read(store, stored)):
            try:
                await use
            except StorageError:
                continue
            raise AssertionError("deleted bytes were found")

    async def test_places_are_never_shared(self, store: Store) -> None:
        """The same bytes put at once lie in as many places: who shares them is told by rows."""
        puts = [store.put(_pieces(b"the same", 3)) for _ in range(8)]
        stored = await asyncio.gather(*puts)
        assert len({one.location for one in stored}) == 8
        await store.delete(stored[0].location)
        assert await _read(store, stored[1]) == b"the same"

    async def test_places_are_listed_by_age(self, store: Store, tmp_path: Path) -> None:
        """A place is as old as its taking, however old the file that was taken."""
        source = _file(tmp_path)
        stored = [await store.put(_pieces(b"one", 1)), await store.copy(source)]
        stored.append(await store.adopt(source))
        assert await _locations(store, NOW) == []
        assert await _locations(store, NOW + 1) == sorted(one.location for one in stored)


class _Take(Protocol):
    async def __call__(self, source: Path) -> Stored: ...


async def _pieces(data: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def _file(folder: Path) -> Path:
    path = folder / "source.bin"
    path.write_bytes(_LARGE)
    return path


async def _read(store: Store, stored: Stored) -> bytes:
    return b"".join([piece async for piece in store.open(stored.location)])


async def _locations(store: Store, before: float) -> list[str]:
    return sorted([location async for location in store.locations(before)])


async def _refusal(take: _Take, source: Path) -> str:
    try:
        await take(source)
    except InputError as error:
        return str(error)
    raise AssertionError(f"{source} was taken")
