"""Installations to save and to restore, and the two ways between."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from understudy.app import App
from understudy.artifacts.stores.disk import Disk
from understudy.backup.manifest import Manifest
from understudy.backup.restoring import restore
from understudy.backup.taking import back_up
from understudy.clock import SystemClock
from understudy.db.drivers import driver_of
from understudy.settings import Settings

OPERATIONS = '''
from pathlib import Path
from pydantic import BaseModel
from understudy import Context, operation

class Log(BaseModel):
    log: Path

class Done(BaseModel):
    steps: int
    answer: str

@operation("ask")
async def ask(ctx: Context, input: Log) -> Done:
    """One step, then a wait, then another step."""
    def write() -> int:
        with input.log.open("a") as log:
            log.write("step\\n")
        return len(input.log.read_text().split())
    await ctx.step("write", write)
    answer = await ctx.wait("answer")
    return Done(steps=await ctx.step("write", write), answer=answer["text"])
'''


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., Settings]:
    """Settings of a home of that name, perhaps with another database; it has one operation."""
    (tmp_path / "ops.py").write_text(OPERATIONS)
    return lambda name, url="": Settings(
        home=tmp_path / name, database_url=url, load=str(tmp_path / "ops.py")
    )


@pytest.fixture
def save() -> Callable[[App, Path], Awaitable[Manifest]]:
    """Saves an app to a file."""
    return lambda app, target: back_up(
        app.database, app.artifacts.store, app.clock, target, lambda *_: None
    )


@pytest.fixture
def put_back() -> Callable[[Path, Settings], Awaitable[Manifest]]:
    """Restores a file into an installation."""

    def restored(source: Path, settings: Settings) -> Awaitable[Manifest]:
        store = Disk(settings.files_folder, SystemClock())
        return restore(source, driver_of(settings.database_url), store, lambda *_: None)

    return restored


@pytest.fixture(params=["sqlite", "postgresql"])
def any_target(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database; "" is the home's own."""
    return "" if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))
