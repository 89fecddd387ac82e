"""`understudy retention`: a tenant's own times, seen and set from the command line."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from understudy.app import App
from understudy.settings import Settings


def test_a_tenant_keeps_what_it_wants(understudy: Any) -> None:
    """What is set is kept, audited, and for this tenant alone; the rest is as for all."""
    shown = understudy("retention")
    assert shown.exit_code == 0, shown.output
    assert "failed_runs" in shown.stdout
    words = ("--keep", "results=90", "--keep", "runs=1.5", "--tenant", "shop")
    usual = {"days": 7.0, "own": False}
    assert understudy.json("retention", *words) == {
        "results": {"days": 90.0, "own": True},
        "inputs": usual,
        "runs": {"days": 1.5, "own": True},
        "failed_runs": {"days": 180.0, "own": False},
    }
    again = understudy.json("retention", "--keep", "runs=usual", "--tenant", "shop")
    assert again["runs"] == {"days": 90.0, "own": False}
    assert again["results"] == {"days": 90.0, "own": True}
    assert understudy.json("retention")["results"] == {"days": 30.0, "own": False}

    async def audited() -> list[str | None]:
        async with App.open(Settings(home=understudy.home)) as app:
            return [entry.reason for entry in await app.audit.list("shop")]

    assert asyncio.run(audited()) == ["runs=usual", "results=90, runs=1.5"]


@pytest.mark.parametrize("word", ["runs", "runs=soon", "films=3", "runs=0", "runs=-1", "runs=nan"])
def test_what_is_no_time_is_refused(understudy: Any, word: str) -> None:
    """With what would be one, and nothing is changed."""
    refused = understudy.json("retention", "--keep", "results=5", "--keep", word, code=1)
    assert refused["error"]["code"] == "input"
    assert not understudy.json("retention")["results"]["own"]
