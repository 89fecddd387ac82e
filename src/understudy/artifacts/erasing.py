"""Deleting a person's files: what was uploaded for them, and what their runs made or were given."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Text, bindparam, or_, select

from understudy.artifacts import records
from understudy.artifacts.artifacts import Artifacts
from understudy.db.schema import artifacts, blobs, runs
from understudy.db.statement import Statement
from understudy.db.tx import Tx

_user = bindparam("user", type_=Text)
_of_run = select(runs.c.id).where(
    runs.c.tenant == bindparam("tenant"), runs.c.user_id == _user, runs.c.user_id.is_not(None)
)
_THEIRS = Statement(
    select(artifacts.c.id, blobs.c.size)
    .join_from(artifacts, blobs)
    .where(
        artifacts.c.tenant == bindparam("tenant"),
        or_(artifacts.c.user_id == _user, artifacts.c.run_id.in_(_of_run)),
    )
    .limit(100)
)


class ErasedFiles(NamedTuple):
    """How many files are gone, and how many bytes that nobody else of the tenant has."""

    files: int
    bytes: int


async def erase_files(files: Artifacts, user: str) -> ErasedFiles:
    """Delete up to 100 files of a user of the tenant whose door `files` is."""
    said = {"tenant": files.tenant, "user": user}
    found = await files.database.read(lambda tx: tx.rows(_THEIRS, said))

    def unit(tx: Tx) -> tuple[int, int, list[str]]:
        count = size = 0
        free = []
        for artifact_id, length in found:
            key = {"tenant": files.tenant, "id": artifact_id}
            there, location = records.remove(tx, key)
            count += there
            if location is not None:
                size += length
                free.append(location)
        return count, size, free

    count, size, free = await files.database.write(unit)
    for location in free:
        await files.store.delete(location)
    return ErasedFiles(count, size)
