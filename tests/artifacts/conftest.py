"""Artifacts in a fresh home, on a clock that moves when told."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from understudy.artifacts.stores.disk import Disk
from understudy.clock import ManualClock
from understudy.testing.conformance.store import NOW


@pytest.fixture
def clock() -> ManualClock:
    """It stands at `NOW`."""
    return ManualClock(NOW)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where everything of a test lies."""
    return tmp_path / "home"


@pytest.fixture
def store(home: Path, clock: ManualClock) -> Disk:
    """An empty disk store."""
    return Disk(home / "artifacts", clock)


@pytest.fixture
def megabyte() -> Iterator[None]:
    """While it lasts the kernel refuses to make a file longer than a megabyte."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024 * 1024, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
