"""`-o PATH`: what a run made, copied out whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from understudy.errors import InputError, StorageError, StorageFull

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def check_target(target: Path) -> None:
    """Make sure, before hours of work, that `target` can be written. Raises `InputError`."""
    folder = target if target.is_dir() else target.parent
    if not folder.is_dir():
        raise InputError(f"-o {target}: there is no folder {folder}; create it first")
    if target.exists() and not target.is_dir() and not target.is_file():
        raise InputError(f"-o {target}: not a file or a folder")
    try:
        with _beside(folder / "probe") as probe:
            probe.touch()
    except OSError as error:
        raise InputError(f"-o {target}: cannot write there: {error.strerror}") from error


def save_file(source: Path, name: str, target: Path) -> Path:
    """Copy `source` to `target`, or into it under `name` if it is a folder; the path written.

    A file of that name is replaced at the end, in one move. Raises `StorageError`.
    """
    goal = target / _plain(name) if target.is_dir() else target
    try:
        with _beside(goal) as partial:
            shutil.copyfile(source, partial)
            _finish(partial, goal)
    except OSError as error:
        raise _failure(goal, error) from error
    return goal


def save_text(text: str, target: Path) -> Path:
    """Write `text` to the file `target`, in one move; the path written. Raises `StorageError`."""
    try:
        with _beside(target) as partial:
            partial.write_text(text, encoding="utf-8")
            _finish(partial, target)
    except OSError as error:
        raise _failure(target, error) from error
    return target


@contextlib.contextmanager
def _beside(goal: Path) -> Iterator[Path]:
    """A name in the same folder, whose file is gone at the end if it was not moved away."""
    partial = goal.with_name(f".{secrets.token_hex(8)}.part")
    try:
        yield partial
    finally:
        partial.unlink(missing_ok=True)


def _finish(partial: Path, goal: Path) -> None:
    with partial.open("rb+") as written:
        os.fsync(written.fileno())
    partial.replace(goal)


def _plain(name: str) -> str:
    """A stored name is a user's text; only its last part may become a file here."""
    last = Path(name.replace("\\", "/")).name
    return "result" if last in {"", ".."} else last


def _failure(goal: Path, error: OSError) -> StorageError:
    kind = StorageFull if error.errno in _FULL else StorageError
    return kind(f"-o {goal}: {error.strerror or error}")
