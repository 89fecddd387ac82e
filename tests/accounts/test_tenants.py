"""What a tenant sets for itself is kept, seen by every process, and nothing else changes."""

from __future__ import annotations

import pytest

from understudy.accounts.tenants import Days, Tenants
from understudy.clock import ManualClock
from understudy.db.database import Database
from understudy.errors import InputError

_DAY = 86_400.0


async def test_what_is_set_is_kept(any_url: str, clock: ManualClock) -> None:
    """Each number on its own; who has set nothing has the installation's."""
    async with await Database.open(any_url) as database:
        tenants = Tenants(database, clock)
        assert await tenants.get("shop") == Days()
        assert await tenants.all() == {}
        await tenants.set("shop", Days(results=90, runs=10))
        await tenants.set("shop", Days(results=60, inputs=1.5))
        assert await Tenants(database, clock).get("shop") == Days(results=60, inputs=1.5)
        assert await tenants.all() == {"shop": Days(results=60, inputs=1.5)}
        assert await tenants.lifetime("shop", result=True) == 60 * _DAY
        assert await tenants.lifetime("shop", result=False) == 1.5 * _DAY
        assert await tenants.lifetime("other", result=True) is None


@pytest.mark.parametrize("days", [0, -1, float("nan"), float("inf")])
async def test_what_is_no_time_is_refused(url: str, clock: ManualClock, days: float) -> None:
    """With the name of what it was for, and nothing is changed."""
    async with await Database.open(url) as database:
        tenants = Tenants(database, clock)
        await tenants.set("shop", Days(runs=5))
        with pytest.raises(InputError, match="failed_runs are kept for more than 0 days"):
            await tenants.set("shop", Days(failed_runs=days))
        assert await tenants.get("shop") == Days(runs=5)


async def test_other_processes_see_it_within_half_a_minute(url: str, clock: ManualClock) -> None:
    """Until then what was read before is taken, without a query for each file."""
    async with await Database.open(url) as database:
        here, there = Tenants(database, clock), Tenants(database, clock)
        assert await there.lifetime("shop", result=True) is None
        await here.set("shop", Days(results=1))
        assert await here.lifetime("shop", result=True) == _DAY
        assert await there.lifetime("shop", result=True) is None
        clock.advance(30)
        assert await there.lifetime("shop", result=True) == _DAY
