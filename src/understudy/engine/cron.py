"""Runs by the clock on the wall: five fields, a time zone, and what to do about missed slots. Pure.

The fields are those of cron (minute, hour, day of the month, month, day of the week), with names,
ranges, steps, `L` for the last day and `#` for the n-th weekday; cronsim reads them. Where clocks
are put forward or back, Debian's cron(8) is followed ("Local time changes"):

- A slot at a fixed time (neither minute nor hour begins with `*`) happens once a day. If clocks
  skip it, it happens as soon as they have; if they show its time twice, it happens the first time.
- Every other slot happens whenever the clock on the wall shows it: not at all in the skipped hour,
  and twice in the doubled one.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

Missed = Literal["skip", "latest", "all"]

MOST_MISSED = 1_000
"""Slots that `missed="all"` makes up for at once."""

_ON_TIME = 60.0
_EXAMPLE = "right is, for example, '30 7 * * MON-FRI': half past seven on working days"
_LOOK_EVERY = 5 * 86_400


@dataclasses.dataclass(frozen=True)
class Cron:
    """Start a run with `input` whenever `expression` says, by the clocks of `timezone` (IANA name).

    `missed` says what becomes of slots that passed while nobody worked: see `due_slots`. Raises
    `ValueError` for an expression, zone or policy that is none, and for a time that never comes.
    """

    expression: str
    timezone: str = "UTC"
    missed: Missed = "latest"
    input: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.missed not in get_args(Missed):
            known = ", ".join(get_args(Missed))
            raise ValueError(f"Cron(missed={self.missed!r}): it is one of {known}")
        try:
            ZoneInfo(self.timezone)
        except (KeyError, OSError, ValueError) as error:
            raise ValueError(
                f"no time zone is named {self.timezone!r} here; right is, for example, "
                "'Europe/Berlin'"
            ) from error
        if len(self.expression.split()) != 5:
            raise ValueError(f"{self.expression!r} does not have cron's five fields; {_EXAMPLE}")
        try:
            next(copy.copy(self._fields))
        except CronSimError as error:
            raise ValueError(f"{self.expression!r}: {str(error).lower()}; {_EXAMPLE}") from error
        except StopIteration:
            raise ValueError(f"{self.expression!r} is a time that never comes") from None

    def next_after(self, t: float) -> float:
        """The first slot later than `t`, in seconds since 1970."""
        second = math.floor(t)
        return float(self._once(second) if self._fixed else self._as_shown(second))

    def slots(self, after: float, until: float, limit: int) -> list[float]:
        """The first `limit` slots later than `after` and not later than `until`."""
        found: list[float] = []
        while len(found) < limit and (after := self.next_after(after)) <= until:
            found.append(after)
        return found

    # cronsim is asked for seconds "on the wall", as if the local time were UTC, and not for time
    # zones: where clocks are put back at a quarter to four (Pacific/Chatham), its version 2.8 looks
    # for the next `* 3 * * *` for ever.

    @functools.cached_property
    def _fields(self) -> CronSim:
        return CronSim(self.expression, datetime(2000, 1, 1, tzinfo=UTC))

    @functools.cached_property
    def _zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    @property
    def _fixed(self) -> bool:
        minute, hour, *_ = self.expression.split()
        return not minute.startswith("*") and not hour.startswith("*")

    def _walls(self, wall: int) -> Iterator[int]:
        """The slots later than `wall`, both on the wall."""
        fields = copy.copy(self._fields)  # as a new one, but the expression is read once
        fields.dt = datetime.fromtimestamp(wall, UTC)
        return (int(slot.timestamp()) for slot in fields)

    def _once(self, second: int) -> int:
        """The next slot of a job that happens once for each time on the wall."""
        walls = self._walls(second + self._offset(second))
        return next(slot for slot in map(self._instant, walls) if slot > second)

    def _instant(self, wall: int) -> int:
        """When the wall shows `wall` for the first time, or jumps over it."""
        shown = datetime.fromtimestamp(wall, UTC).replace(tzinfo=self._zone)
        # Python reads a time that is skipped by the clocks before the change, and with fold=1 by
        # those after it (PEP 495): the change lies between the two.
        before, after = int(shown.timestamp()), int(shown.replace(fold=1).timestamp())
        if before <= after:
            return before
        change = self._change(after, before)
        assert change is not None, "a time is skipped by a change"
        return change

    def _as_shown(self, second: int) -> int:
        """The next slot of a job that follows the wall, change by change."""
        offset = self._offset(second)
        wall = second + offset
        while True:
            slot = next(self._walls(wall)) - offset
            change = self._change(second, slot)
            if change is None:
                return slot
            second, offset = change, self._offset(change)
            wall = change + offset - 1  # the moment of the change may be a slot itself

    def _offset(self, second: int) -> int:
        """How far the wall is ahead of UTC."""
        offset = datetime.fromtimestamp(second, self._zone).utcoffset()
        assert offset is not None
        return int(offset.total_seconds())

    def _change(self, after: int, until: int) -> int | None:
        """The first second later than `after`, up to `until`, with another offset than `after`.

        Looks every five days: since 1970 no zone has changed twice within six.
        """
        offset = self._offset(after)
        looks = (*range(after + _LOOK_EVERY, until, _LOOK_EVERY), until)
        for look in looks:
            if self._offset(look) != offset:
                return self._last_with(offset, max(after, look - _LOOK_EVERY), look) + 1
        return None

    def _last_with(self, offset: int, low: int, high: int) -> int:
        """The last second with `offset`, which holds at `low` and not at `high`."""
        while high - low > 1:
            middle = (low + high) // 2
            if self._offset(middle) == offset:
                low = middle
            else:
                high = middle
        return low


def due_slots(cron: Cron, last: float, now: float) -> list[float]:
    """The slots to start runs for: later than `last`, up to `now`, as `cron.missed` says.

    `last` is the time up to which slots have been looked at. None twice, then, whatever is missed:

    - "skip": only a slot of the last minute, which is on time.
    - "latest": only the newest, however late.
    - "all": every one, oldest first; of more than `MOST_MISSED` the newest, so that a server that
      was down for a year comes back to work and not to a flood.
    """
    if cron.missed == "skip":
        return _newest(cron, max(last, now - _ON_TIME), now, 1)
    return _newest(cron, last, now, MOST_MISSED if cron.missed == "all" else 1)


def _newest(cron: Cron, after: float, until: float, limit: int) -> list[float]:
    """The last `limit` slots later than `after` and not later than `until`."""
    if len(cron.slots(after, until, limit + 1)) <= limit:
        return cron.slots(after, until, limit)
    low, high = math.floor(after), math.floor(until)  # after `low` are too many, after `high` not
    while high - low > 1:
        middle = (low + high) // 2
        crowded = len(cron.slots(middle, until, limit + 1)) > limit
        low, high = (middle, high) if crowded else (low, middle)
    return cron.slots(high, until, limit)
