"""The rows of artifacts, on a file and on a server."""

from __future__ import annotations

from typing import Any

import pytest

from understudy.artifacts import records
from understudy.db.database import Database


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Any) -> str:
    """A database of either kind that is not there yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'understudy.db'}"
    value: str = request.getfixturevalue("postgres_url")
    return value


def rows(name: str, location: str, **changes: object) -> dict[str, Any]:
    """A reference to bytes, and the row of the bytes."""
    row = {
        "id": f"art_{name}",
        "tenant": "t",
        "user_id": None,
        "run_id": None,
        "sha256": "same",
        "name": name,
        "media_type": "image/png",
        "width": 4,
        "height": 3,
        "duration": None,
        "created_at": 1.0,
        "expires_at": None,
    }
    blob = {"tenant": "t", "sha256": "same", "size": 5, "location": location, "created_at": 1.0}
    return {"row": row | changes, "blob": blob}


async def test_bytes_are_shared_and_freed(url: str) -> None:
    """The second reference needs no bytes of its own; the last that goes frees them."""
    async with await Database.open(url) as database:
        assert await database.write(lambda tx: records.add(tx, **rows("a", "one"))) is None
        assert await database.write(lambda tx: records.add(tx, **rows("b", "two"))) == "two"
        found = await database.read(lambda tx: records.find(tx, "t", "art_b", 5.0))
        assert found is not None
        assert (found[0].name, found[0].size, found[1]) == ("b", 5, "one")
        assert await database.read(lambda tx: records.find(tx, "other", "art_b", 5.0)) is None
        key = {"tenant": "t", "id": "art_a"}
        assert await database.write(lambda tx: records.remove(tx, key)) == (True, None)
        assert await database.write(lambda tx: records.remove(tx, key)) == (False, None)
        last = {"tenant": "t", "id": "art_b"}
        assert await database.write(lambda tx: records.remove(tx, last)) == (True, "one")


async def test_times_of_their_own(url: str) -> None:
    """A reference can be kept longer, and forever, and is found to have expired otherwise."""
    async with await Database.open(url) as database:
        await database.write(lambda tx: records.add(tx, **rows("a", "one", expires_at=10.0)))
        assert await database.read(lambda tx: records.expired(tx, 9.0)) == []
        assert await database.read(lambda tx: records.expired(tx, 10.0)) == [("t", "art_a")]
        key = {"tenant": "t", "id": "art_a"}
        assert await database.write(lambda tx: records.keep(tx, key, 9.0, None))
        assert await database.read(lambda tx: records.expired(tx, 10.0)) == []
        assert await database.read(lambda tx: records.find(tx, "t", "art_a", 1e9)) is not None
        assert await database.write(lambda tx: records.keep(tx, key, 9.0, 20.0))
        assert not await database.write(lambda tx: records.keep(tx, key, 20.0, None))


async def test_what_is_left_over(url: str) -> None:
    """Bytes that nothing refers to are found and freed; files that no row knows are told."""
    async with await Database.open(url) as database:
        await database.write(lambda tx: records.add(tx, **rows("a", "one")))
        assert await database.read(records.unused) == []
        assert await database.read(lambda tx: records.strangers(tx, ["one", "two"])) == ["two"]
        found = [("t", "same")]
        assert await database.write(lambda tx: records.free(tx, found)) == []
