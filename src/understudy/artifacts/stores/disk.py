"""Bytes in a folder: random names, written aside, synced, renamed into place.

    <root>/incoming/<name>   being written; its writer holds a lock on it, so that what a killed
                             process left is told from what a slow one still writes
    <root>/3f/3f9c…          finished; the first two letters keep folders small

Files are 0600, folders 0700.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from pathlib import Path

from understudy.artifacts.blocking import finish
from understudy.artifacts.store import Stored
from understudy.clock import Clock
from understudy.errors import InputError, StorageError, StorageFull

_PIECE = 1024 * 1024
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Disk:
    """A store in the folder `root`, which is made when first needed."""

    def __init__(self, root: Path, clock: Clock) -> None:
        self._root = root
        self._clock = clock

    async def put(self, data: AsyncIterator[bytes]) -> Stored:
        """Take a stream, hashing while writing."""
        incoming = await finish(_Incoming, self._root)
        try:
            async for piece in data:
                await finish(incoming.write, piece)
            return await finish(incoming.keep, self._clock.now())
        finally:
            await finish(incoming.close)

    async def copy(self, source: Path) -> Stored:
        """Take a copy; the source stays as it is."""
        return await finish(self._copy, source)

    async def adopt(self, source: Path) -> Stored:
        """Take the file itself by renaming it; across file systems, by a copy."""
        return await finish(self._adopt, source)

    async def path(self, location: str) -> Path:
        """The file itself."""
        path = _place(self._root, location)
        if not await asyncio.to_thread(path.is_file):
            raise _gone(path)
        return path

    async def open(self, location: str) -> AsyncGenerator[bytes]:
        """The bytes in pieces of up to a mebibyte."""
        path = _place(self._root, location)
        try:
            file = await finish(path.open, "rb")
        except FileNotFoundError as error:
            raise _gone(path) from error
        try:
            while piece := await finish(file.read, _PIECE):
                yield piece
        finally:
            file.close()

    async def delete(self, location: str) -> None:
        """Remove the file."""
        with _writing(self._root):
            await finish(_place(self._root, location).unlink, missing_ok=True)

    async def locations(self, before: float) -> AsyncIterator[str]:
        """Files taken before a time, folder by folder."""
        for folder in await finish(_folders, self._root):
            for location in await finish(_older, folder, before):
                yield location

    async def tidy(self) -> int:
        """Remove the incoming files that no process holds."""
        return await finish(_tidy, self._root)

    def _copy(self, source: Path) -> Stored:
        with _reading(source, os.O_RDONLY) as original:
            incoming = _Incoming(self._root)
            try:
                while piece := os.read(original, _PIECE):
                    incoming.write(piece)
                return incoming.keep(self._clock.now())
            finally:
                incoming.close()

    def _adopt(self, source: Path) -> Stored:
        with _reading(source, os.O_RDONLY | os.O_NOFOLLOW) as original, _writing(self._root):
            digest = hashlib.sha256()
            while piece := os.read(original, _PIECE):
                digest.update(piece)
            stored = Stored(_name(), digest.hexdigest(), os.fstat(original).st_size)
            try:
                _settle(original, source, _place(self._root, stored.location), self._clock.now())
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                stored = self._copy(source)
                source.unlink()
            return stored


class _Incoming:
    """A file on its way in. `close` removes what `keep` has not moved to its place."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._digest = hashlib.sha256()
        self._size = 0
        with _writing(root):
            self._path, self._file = _locked(_folder(root, "incoming"))

    def write(self, piece: bytes) -> None:
        with _writing(self._root):
            rest = memoryview(piece)
            while rest:
                rest = rest[os.write(self._file, rest) :]
        self._digest.update(piece)
        self._size += len(piece)

    def keep(self, now: float) -> Stored:
        stored = Stored(self._path.name, self._digest.hexdigest(), self._size)
        with _writing(self._root):
            _settle(self._file, self._path, _place(self._root, stored.location), now)
        return stored

    def close(self) -> None:
        self._path.unlink(missing_ok=True)
        os.close(self._file)


def _locked(folder: Path) -> tuple[Path, int]:
    """A new file that `_tidy` leaves alone for as long as its descriptor is open."""
    while True:
        path = folder / _name()
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file).st_nlink:
            return path, file
        os.close(file)  # tidied away in the instant before the lock


def _settle(file: int, path: Path, place: Path, now: float) -> None:
    """Make a written file last, under its final name, dated `now` whenever it was written."""
    os.fchmod(file, 0o600)
    os.utime(file, (now, now))
    os.fsync(file)
    folder = _folder(place.parent.parent, place.parent.name)
    path.rename(place)
    _sync(folder)


def _folder(root: Path, name: str) -> Path:
    folder = root / name
    if not folder.is_dir():
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        _sync(root)
    return folder


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _tidy(root: Path) -> int:
    removed = 0
    for path in _files(root / "incoming"):
        with contextlib.suppress(OSError):  # finished or removed meanwhile, or alive
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
                removed += 1
            finally:
                os.close(file)
    return removed


def _files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _folders(root: Path) -> list[Path]:
    return [folder for folder in _files(root) if len(folder.name) == 2]


def _older(folder: Path, before: float) -> list[str]:
    found = []
    for path in _files(folder):
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime < before:
                found.append(path.name)
    return found


def _name() -> str:
    return secrets.token_hex(16)


def _place(root: Path, location: str) -> Path:
    return root / location[:2] / location


def _gone(path: Path) -> StorageError:
    return StorageError(f"the stored file {path} is gone")


@contextlib.contextmanager
def _writing(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull(f"no space is left for files in {root}") from error
        raise StorageError(f"cannot write files in {root}: {error.strerror}") from error


@contextlib.contextmanager
def _reading(source: Path, flags: int) -> Iterator[int]:
    """A descriptor of a regular file; a pipe or device would never end."""
    try:
        file = os.open(source, flags | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise InputError(f"{source}: cannot be read: {error.strerror}") from error
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise InputError(f"{source}: is not a file")
        yield file
    finally:
        os.close(file)
