"""Which run is meant by an abbreviation."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import pytest

from understudy.cli.naming import find_run
from understudy.engine.run import RunFilter
from understudy.errors import InputError, NotFound

FIRST = "run_01kafy0000aaaaaaaaaaaaaaaa"
SECOND = "run_01kafy0001bbbbbbbbbbbbbbbb"
FOREIGN = "run_01kafy0002cccccccccccccccc"


@dataclasses.dataclass
class Row:
    """As much of a run as naming looks at."""

    id: str
    tenant: str = "default"


class House:
    """An app with two runs of its own and one of somebody else."""

    tenant = "default"

    def __init__(self, *ids: str) -> None:
        self.engine = self
        self._runs = [*map(Row, ids), Row(FOREIGN, "stranger")]

    async def get(self, run_id: str) -> Row:
        """One run of anybody."""
        return next(run for run in self._runs if run.id == run_id)

    async def list(self, wanted: RunFilter) -> list[Row]:
        """The tenant's runs, newest first."""
        own = [run for run in self._runs if run.tenant == wanted.tenant]
        return sorted(own, key=lambda run: run.id, reverse=True)[: wanted.limit]


async def found(house: House, text: str | None) -> str:
    """The id of the run that is meant."""
    return (await find_run(cast("Any", house), text)).id


@pytest.mark.parametrize(
    ("text", "run_id"),
    [
        (FIRST, FIRST),
        ("run_01kafy0000", FIRST),
        ("01kafy0001", SECOND),
        ("aaaa", FIRST),
        (None, SECOND),
    ],
)
async def test_a_run_is_found_by_any_part_that_is_its_own(text: str | None, run_id: str) -> None:
    """A full id, its beginning with or without the prefix, its end, or nothing for the latest."""
    assert await found(House(FIRST, SECOND), text) == run_id


async def test_an_abbreviation_that_fits_two_runs_is_refused() -> None:
    """Guessing could cancel the wrong run; the message lists what fits."""
    with pytest.raises(InputError, match=f"fits 2 runs: {SECOND}, {FIRST}"):
        await found(House(FIRST, SECOND), "run_01kafy")


@pytest.mark.parametrize("text", ["zzz", FOREIGN, FOREIGN[:14], ""])
async def test_another_tenant_s_run_does_not_exist(text: str) -> None:
    """Neither a full id nor a part of it tells that there is such a run."""
    with pytest.raises(NotFound, match=f"^no run {text}$"):
        await found(House(FIRST, SECOND), text)


async def test_without_runs_there_is_no_latest() -> None:
    """The first thing that a newcomer may type answers plainly."""
    with pytest.raises(NotFound, match="there are no runs yet"):
        await found(House(), None)
