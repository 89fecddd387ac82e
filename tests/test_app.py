"""The composition root: everything built from the settings, and one worker for each database."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest

from understudy.app import App
from understudy.errors import ConfigError, WorkerHeld
from understudy.settings import Settings

MINE = """
from understudy import Context, operation
from understudy.testing.harness import Answer, Given

@operation("mine")
async def mine(ctx: Context, input: Given) -> Answer:
    return Answer(value=await ctx.step("add", add, 1, 2))

async def add(a: int, b: int) -> int:
    return a + b
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A home in a new folder, with an operation of one's own."""
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    return Settings(home=tmp_path / "home", load=str(file), cores=1)


async def test_a_run_survives_its_app(settings: Settings) -> None:
    """Accepted by one app, driven by the next, read by a third."""
    async with App.open(settings) as app:
        run = await app.engine.submit("mine", {}, tenant=app.tenant)
        assert {"mine", "morph"} <= set(app.registry.names)
    async with App.open(settings) as app, app.worker():
        done = await app.engine.result(run.id)
        assert done.output == '{"value":3}'
    async with App.open(settings) as app:
        assert (await app.engine.view(run.id)).status == "succeeded"


async def test_one_worker_at_a_time(settings: Settings) -> None:
    """A second worker is told who holds the database; once it is free, it may."""
    async with App.open(settings) as one, App.open(settings) as two:
        async with one.worker():
            with pytest.raises(WorkerHeld):
                async with two.worker():
                    pass
        async with two.worker():
            run = await two.engine.submit("mine", {}, tenant=two.tenant)
            assert (await two.engine.result(run.id)).status == "succeeded"


async def test_a_worker_for_one_run_leaves_the_others(settings: Settings) -> None:
    """With `only_root`, what was left unfinished before stays queued."""
    async with App.open(settings) as app:
        old = await app.engine.submit("mine", {}, tenant=app.tenant)
        wanted = await app.engine.submit("mine", {}, tenant=app.tenant)
        async with app.worker(only_root=wanted.id):
            new = await app.engine.submit("mine", {}, tenant=app.tenant)
            for run in (wanted, new):
                assert (await app.engine.result(run.id)).status == "succeeded"
            assert (await app.engine.get(old.id)).status == "queued"


async def test_a_broken_operation_is_told_at_the_start(settings: Settings) -> None:
    """A file that cannot be loaded opens no app."""
    broken = settings.model_copy(update={"load": str(settings.home / "none.py")})
    with pytest.raises(ConfigError, match="cannot load"):
        async with App.open(broken):
            pass


async def test_installed_operations_are_found(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another package's entry point brings its operation; what is none is refused by name."""
    group = "understudy.operations"
    entry = importlib.metadata.EntryPoint("x", "understudy.operations.morph:morph", group)
    found = {group: [entry]}
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda *, group: found.get(group, []))
    async with App.open(settings) as app:
        assert "morph" in app.registry.names
    found[group] = [importlib.metadata.EntryPoint("x", "understudy.app:App", group)]
    with pytest.raises(ConfigError, match="is no operation"):
        async with App.open(settings):
            pass
