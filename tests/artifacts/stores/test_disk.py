"""The disk store: the contract, and what is particular to files."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from understudy.artifacts.stores.disk import Disk
from understudy.errors import InputError, StorageError, StorageFull
from understudy.testing.conformance.store import NOW, StoreContract


async def pieces(*data: bytes) -> AsyncIterator[bytes]:
    """A stream of what is given."""
    for piece in data:
        yield piece


def files(folder: Path) -> list[Path]:
    """All files below a folder."""
    return [path for path in folder.rglob("*") if path.is_file()]


def put_in_the_way(path: Path) -> None:
    """Make a file where a folder should be."""
    path.touch()


class TestDisk(StoreContract):
    """The disk store keeps the contract."""


async def test_files_are_private(store: Disk, home: Path) -> None:
    """Files are the owner's alone, and every folder is too."""
    await store.put(pieces(b"one"))
    modes = {stat.S_IMODE(path.stat().st_mode) for path in files(home)}
    assert modes == {0o600}
    folders = [path for path in (home / "artifacts").rglob("*") if path.is_dir()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o700}


async def test_an_adopted_file_becomes_private(store: Disk, tmp_path: Path) -> None:
    """Whatever the mode and age of the file were, they are the store's afterwards."""
    source = tmp_path / "film.mp4"
    source.write_bytes(b"film")
    source.chmod(0o644)
    os.utime(source, (1.0, 1.0))
    facts = (await store.path((await store.adopt(source)).location)).stat()
    assert (stat.S_IMODE(facts.st_mode), facts.st_mtime) == (0o600, NOW)


@pytest.mark.usefixtures("megabyte")
async def test_a_full_disk(store: Disk, home: Path, tmp_path: Path) -> None:
    """It is told as full, by stream and by copy, and leaves nothing behind."""
    with pytest.raises(StorageFull, match="no space"):
        await store.put(pieces(bytes(700_000), bytes(700_000)))
    assert files(home) == []
    assert await store.tidy() == 0


async def test_a_full_disk_while_copying(
    store: Disk, home: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A copy that does not fit leaves its source alone and nothing behind."""
    source = tmp_path / "big.bin"
    source.write_bytes(bytes(1_500_000))
    request.getfixturevalue("megabyte")
    with pytest.raises(StorageFull):
        await store.copy(source)
    assert files(home) == []
    assert source.stat().st_size == 1_500_000


async def test_a_folder_that_cannot_be_made(tmp_path: Path, store: Disk, home: Path) -> None:
    """What is in the way is told as a storage error."""
    put_in_the_way(home)
    with pytest.raises(StorageError, match="cannot write"):
        await store.put(pieces(b"x"))


async def test_across_file_systems(
    store: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that cannot be renamed in is copied in, and then removed."""
    source = tmp_path / "film.mp4"
    source.write_bytes(b"film")
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if self == source:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    stored = await store.adopt(source)
    assert (await store.path(stored.location)).read_bytes() == b"film"
    assert not source.exists()


async def test_a_rename_that_fails(
    store: Disk, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The source is still there when it could not be taken."""
    source = tmp_path / "film.mp4"
    source.write_bytes(b"film")

    def refuse(self: Path, target: Path) -> Path:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(StorageError, match="Input/output error"):
        await store.adopt(source)
    with pytest.raises(StorageError, match="Input/output error"):
        await store.copy(source)
    assert source.read_bytes() == b"film"
    assert files(home) == []


async def test_power_cuts(
    store: Disk, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However bytes come in, the file and its new name are on the disk before the answer."""
    fsync = os.fsync
    synced: list[int] = []

    def record(file: int) -> None:
        fsync(file)
        synced.append(os.fstat(file).st_ino)

    monkeypatch.setattr(os, "fsync", record)
    source = tmp_path / "film.mp4"
    source.write_bytes(b"film")
    stored = [await store.put(pieces(b"film")), await store.copy(source), await store.adopt(source)]
    for one in stored:
        path = await store.path(one.location)
        file, folder = path.stat().st_ino, path.parent.stat().st_ino
        assert file in synced
        assert folder in synced[synced.index(file) :]


async def test_odd_sources(store: Disk, tmp_path: Path) -> None:
    """A pipe is refused at once instead of waited for; a link is followed only to copy."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="not a file"):
        await store.copy(tmp_path / "pipe")
    (tmp_path / "real").write_bytes(b"real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    stored = await store.copy(tmp_path / "link")
    assert (await store.path(stored.location)).read_bytes() == b"real"
    with pytest.raises(InputError, match="cannot be read"):
        await store.adopt(tmp_path / "link")
    assert (tmp_path / "real").exists()


async def test_what_the_dead_left(store: Disk, home: Path) -> None:
    """Tidying removes what no process holds, and not what one is still writing."""
    seen = []

    async def slow() -> AsyncIterator[bytes]:
        yield b"half"
        (home / "artifacts" / "incoming" / "left-behind").write_bytes(b"dead")
        seen.append(await store.tidy())
        yield b"more"

    stored = await store.put(slow())
    assert seen == [1]
    assert (await store.path(stored.location)).read_bytes() == b"halfmore"


async def test_tidied_before_it_is_locked(
    store: Disk, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file removed in the instant between its making and its lock is made again."""
    lock = fcntl.flock
    taken: list[Path] = []

    def late(file: int, kind: int) -> None:
        if not taken:
            taken.extend(files(home))
            taken[0].unlink()
        lock(file, kind)

    monkeypatch.setattr(fcntl, "flock", late)
    stored = await store.put(pieces(b"x"))
    assert (await store.path(stored.location)).read_bytes() == b"x"
    assert len(taken) == 1


async def test_gone_while_listing(store: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that another process removes while this one looks is passed over."""
    await store.put(pieces(b"one"))
    real = Path.stat

    def vanish(self: Path, **options: bool) -> os.stat_result:
        if len(self.name) == 32:
            raise FileNotFoundError
        return real(self, **options)

    monkeypatch.setattr(Path, "stat", vanish)
    assert [one async for one in store.locations(NOW + 1)] == []


async def test_a_reader_that_leaves_early(store: Disk) -> None:
    """Half-read streams close their file."""
    stored = await store.put(pieces(bytes(3_000_000)))
    async with contextlib.aclosing(store.open(stored.location)) as stream:
        assert len(await anext(stream)) == 1024 * 1024
