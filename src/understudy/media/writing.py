"""Files that are whole or not there, and errors that say which disk trouble it was."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from understudy.errors import StorageError, StorageFull

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def storage_error(error: OSError, doing: str) -> StorageError:
    """What an operating system error means to the caller: `StorageFull`, or `StorageError`."""
    if error.errno in _FULL:
        return StorageFull(f"no space left on the disk while {doing}")
    return StorageError(f"{error.strerror or error} while {doing}")


@contextmanager
def writing(target: Path, doing: str) -> Iterator[None]:
    """Remove `target` if the block fails; a disk's refusal is raised as `StorageError`."""
    try:
        yield
    except BaseException as error:
        target.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise storage_error(error, doing) from error
        raise
