"""Empty databases of both kinds, and a clock that moves when told."""

from __future__ import annotations

from pathlib import Path

import pytest

from understudy.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    """It stands still."""
    return ManualClock()


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A database file that is not there yet."""
    return f"sqlite:///{tmp_path / 'understudy.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def any_url(request: pytest.FixtureRequest) -> str:
    """A database that is not there yet, of either kind. For what holds for both."""
    name = "url" if request.param == "sqlite" else "postgres_url"
    value: str = request.getfixturevalue(name)
    return value
