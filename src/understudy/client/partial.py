"""A download on its way: bytes beside the goal, and in one move the whole file, or nothing."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from understudy.errors import StorageError, StorageFull

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Partial:
    """What has come of a file so far. Its methods block, and raise `StorageError`."""

    def __init__(self, target: Path, name: str) -> None:
        self._target = target
        self._name = name
        self._goal = target
        self._path: Path | None = None
        self._file: BinaryIO | None = None
        self._hash = hashlib.sha256()
        self.size = 0

    def open(self) -> None:
        """Begin beside the goal, which in a folder gets the file's own name."""
        if self._target.is_dir():
            self._goal = self._target / _plain(self._name)
        self._path = self._goal.with_name(f".{secrets.token_hex(8)}.part")
        with self._failing():
            self._file = self._path.open("xb")

    def add(self, piece: bytes) -> None:
        """Keep the next bytes."""
        assert self._file is not None
        with self._failing():
            self._file.write(piece)
        self._hash.update(piece)
        self.size += len(piece)

    def restart(self) -> None:
        """Forget what has come, as the server sends it from the beginning."""
        assert self._file is not None
        with self._failing():
            self._file.seek(0)
            self._file.truncate()
        self._hash = hashlib.sha256()
        self.size = 0

    @property
    def sha256(self) -> str:
        """Of what has come, in hexadecimal digits."""
        return self._hash.hexdigest()

    def finish(self) -> Path:
        """Make it the goal, in place of a file of that name; the path written."""
        assert self._file is not None
        assert self._path is not None
        with self._failing():
            self._file.flush()
            os.fsync(self._file.fileno())
            self._path.replace(self._goal)
        return self._goal

    def close(self) -> None:
        """Leave nothing behind that is not whole."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # of what could not be written, and is not wanted
                self._file.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            kind = StorageFull if error.errno in _FULL else StorageError
            raise kind(f"{self._goal}: {error.strerror or error}") from error


def _plain(name: str) -> str:
    """A stored name is somebody's text; only its last part may become a file here."""
    last = Path(name.replace("\\", "/").replace("\0", "")).name
    return "file" if last in {"", ".."} else last
