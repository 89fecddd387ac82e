"""The contract of a plan: who drives runs, and where.

A plan never holds the truth about a run; it only calls `advance` on it. It may be told about a run
twice, late, or not at all: the journal decides what there is to do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Protocol

from understudy.errors import StorageError


class Plan(Protocol):
    """Drives runs from `start` to `stop`."""

    name: str

    @property
    def failure(self) -> asyncio.Future[StorageError]:
        """Resolves when the plan had to give up because the journal cannot be written."""
        ...

    async def start(self) -> None:
        """Recover what a dead worker left and begin to drive what is due."""
        ...

    def wake(self, run_ids: Iterable[str]) -> None:
        """These runs may have something to do now."""
        ...

    async def stop(self) -> None:
        """Drain: let running steps finish for a while, then hand every run back."""
        ...
