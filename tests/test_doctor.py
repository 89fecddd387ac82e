"""What the doctor says of a database on a server; `tests/cli` looks at the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from understudy.app import App
from understudy.doctor import diagnose
from understudy.settings import Settings


@pytest.fixture
def settings(tmp_path: Path, postgres_url: str) -> Settings:
    """A home whose database is on a server."""
    return Settings(home=tmp_path / "home", database_url=postgres_url)


async def test_a_server_and_its_workers(settings: Settings) -> None:
    """Where the database is, and every process that works on it."""
    found = {check.name: check for check in await diagnose(settings)}
    assert found["database"].ok
    assert found["database"].detail.startswith("postgresql:///")
    assert "schema 0003" in found["database"].detail
    assert found["worker"].detail == "nobody works; 0 runs unfinished"
    assert "GB free" in found["space"].detail  # though there is no home yet
    async with App.open(settings) as app, app.worker():
        (worker,) = await app.engine.workers()
        found = {check.name: check for check in await diagnose(settings)}
        assert found["worker"].detail == f"{worker.name}; 0 runs unfinished"


async def test_a_server_that_is_not_there(settings: Settings, tmp_path: Path) -> None:
    """What needs it is not ok, says why, and shows no password."""
    url = f"postgresql://me:s3cret@/shop?host={tmp_path}"
    found = {
        check.name: check
        for check in await diagnose(Settings(**{**settings.model_dump(), "database_url": url}))
    }
    assert not found["database"].ok
    assert "cannot be opened" in found["database"].fix
    assert found["ffmpeg"].ok
    assert "s3cret" not in str(found)
