"""Temporary folders that are gone when their owner is, however it ended."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

from understudy.artifacts.blocking import finish
from understudy.errors import StorageError


@contextlib.asynccontextmanager
async def workspace(tmp: Path) -> AsyncIterator[Path]:
    """A fresh folder (0700) inside `tmp`, removed with all its content at the end of the block.

    Its name begins with this process's id, for the reader; that its owner lives is told by a lock,
    which the operating system takes away with the process (ids are soon used again).
    """
    folder, lock = await finish(_make, tmp)
    try:
        yield folder
    finally:
        await finish(_remove, folder, lock)


async def sweep_workspaces(tmp: Path) -> int:
    """Remove the folders of dead processes; how many."""
    return await finish(_sweep, tmp)


def _make(tmp: Path) -> tuple[Path, int]:
    try:
        tmp.mkdir(mode=0o700, parents=True, exist_ok=True)
        while True:
            folder = tmp / f"{os.getpid()}-{secrets.token_hex(8)}"
            folder.mkdir(mode=0o700)
            with contextlib.suppress(FileNotFoundError):  # swept in the instant before the lock
                lock = _open(folder)
                fcntl.flock(lock, fcntl.LOCK_EX)
                if folder.exists():
                    return folder, lock
                os.close(lock)
    except OSError as error:
        raise StorageError(f"cannot make a temporary folder in {tmp}: {error.strerror}") from error


def _remove(folder: Path, lock: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    os.close(lock)


def _sweep(tmp: Path) -> int:
    removed = 0
    for folder in sorted(tmp.iterdir()) if tmp.is_dir() else []:
        with contextlib.suppress(OSError):  # removed meanwhile, or alive
            lock = _open(folder)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
                removed += 1
            finally:
                os.close(lock)
    return removed


def _open(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
