"""What the journal can forget of a person: the tenant's own customer, by the tenant's id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Erased(NamedTuple):
    """How many rows are gone. `shared` signals stay: runs of others have used them, too."""

    runs: int = 0
    steps: int = 0
    signals: int = 0
    shared: int = 0
    requests: int = 0


class Erasing(Protocol):
    """Finds and forgets what was done for a user of a tenant, but for the runs of `spared`."""

    async def open_runs(self, tenant: str, user: str, *, spared: str) -> Sequence[str]:
        """The ids of the user's runs that have not ended."""
        ...

    async def erase(self, tenant: str, user: str, *, spared: str, limit: int) -> Erased:
        """Delete up to `limit` of the user's ended runs with all that belongs to them."""
        ...

    async def mask(self, run_id: str, data: str) -> None:
        """Give a run another input (JSON) and no user: what it was asked for is done."""
        ...
