"""Cron operations: each slot starts one run, however many processes look at the clock."""

from __future__ import annotations

from typing import Any

from understudy.clock import Clock, iso
from understudy.engine.consequences import submission_of
from understudy.engine.cron import due_slots
from understudy.engine.journal import Journal, Slot
from understudy.engine.operation import Operation
from understudy.engine.registry import Registry
from understudy.engine.run import Submission
from understudy.engine.submission import Asking, new_run

_LOOK_AGAIN = 600.0
"""Seconds after which the slots are read again at the latest: another process may have set them."""


class Schedules:
    """The cron operations of one tenant. The journal says when each starts next."""

    def __init__(self, journal: Journal, registry: Registry, clock: Clock, tenant: str) -> None:
        self._journal = journal
        self._registry = registry
        self._clock = clock
        self._tenant = tenant
        self.next_at: float | None = clock.now() if registry.crons else None

    async def fire(self) -> list[str]:
        """Start what is due; the ids of the runs. `next_at` is then when to come again."""
        now = self._clock.now()
        if self.next_at is None or self.next_at > now:
            return []
        slots = await self._journal.slots(self._tenant)
        started: list[str] = []
        for operation in self._registry.crons:
            known = slots.get(operation.name)
            started += await self._look(operation, known, now)
        slots = await self._journal.slots(self._tenant)
        times = [slots[one.name].next_at for one in self._registry.crons if one.name in slots]
        self.next_at = min([now + _LOOK_AGAIN, *times])
        return started

    async def _look(
        self, operation: Operation[Any, Any], known: Slot | None, now: float
    ) -> list[str]:
        """Start the runs of one operation's slots that have passed, unless somebody else did."""
        cron = operation.cron
        assert cron is not None
        said = f"{cron.expression} {cron.timezone}"
        fresh = known is None or known.cron != said  # new here: nothing was missed
        if known is not None and not fresh and known.next_at > now:
            return []
        passed = [] if known is None or fresh else due_slots(cron, known.next_at - 1, now)
        starts = [self._submission(operation, slot, now) for slot in passed]
        slot = Slot(said, cron.next_after(now))
        done = await self._journal.schedule(
            self._tenant, operation.name, slot, expected=known, starts=starts
        )
        return [start.run.id for start in starts] if done else []

    def _submission(self, operation: Operation[Any, Any], slot: float, now: float) -> Submission:
        assert operation.cron is not None
        asking = Asking(self._tenant, idempotency_key=f"cron:{iso(slot)}")
        run = new_run(operation, operation.cron.input, asking, now=now)
        return submission_of(operation, run)
