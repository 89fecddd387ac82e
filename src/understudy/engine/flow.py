"""When an operation's runs start, wait, and end: the values that an author gives `@operation`.

    @operation(
        "portrait",
        concurrency=Concurrency(total=8, key="user", each=1),
        throttle=Throttle(limit=60, period=timedelta(minutes=1)),
        timeout=Timeout(start=600, finish=3600),
        cancel_on=[CancelOn("order.canceled", match="order")],
    )

Keys (of `Concurrency` and `Throttle`) are "tenant", "user", or a dotted path into the input; a
value that is missing counts as "". Durations are seconds or a `timedelta`. A value that makes no
sense raises `ValueError` where it is written.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from pydantic import BaseModel

from understudy.engine.dotted import ABSENT, check_path, matches, value_at

MOST_PRIORITY = 43_200.0
"""Seconds by which a run may overtake others: half a day, so that nothing waits for ever."""


@dataclasses.dataclass(frozen=True)
class Concurrency:
    """At most `total` runs are driven at once; with `key`, at most `each` for one of its values.

    A run that sleeps or waits for longer than a moment is parked and holds no slot. The limits
    hold over all processes that share the database.
    """

    total: int | None = None
    key: str | None = None
    each: int = 1

    def __post_init__(self) -> None:
        if self.total is None and self.key is None:
            raise ValueError("Concurrency limits nothing: give total=, key=, or both")
        if self.key is None and self.each != 1:
            raise ValueError(f"Concurrency(each={self.each}) counts for one value of a key=")
        if (self.total is not None and not self.total >= 1) or not self.each >= 1:
            raise ValueError(f"{self} lets nothing run: total and each are 1 or more")
        if self.key is not None:
            check_path(self.key, "Concurrency(key=)")


@dataclasses.dataclass(frozen=True)
class Throttle:
    """Evenly spread starts: `limit` in each `period`, with `key` for each of its values.

    A run counts once, when it is first taken; a retry of its steps or its waking does not. After a
    quiet time up to `burst` runs start at once. Whoever starts a run at the time `at` asks
    `earliest(used_until) <= at` and remembers `used(used_until, at)` in the same transaction.

    This is the generic cell rate algorithm (GCRA) of ITU-T I.371 in its form "virtual scheduling":
    `used_until` is its theoretical arrival time, `interval` its increment, and `interval *
    (burst - 1)` its limit. Any half-open window as long as `period` thus sees at most
    `limit + burst - 1` starts.
    """

    limit: int
    period: float | timedelta
    key: str | None = None
    burst: int = 1

    def __post_init__(self) -> None:
        if not self.limit >= 1 or not self.burst >= 1:
            raise ValueError(f"{self} lets nothing start: limit and burst are 1 or more")
        if not 0 < _seconds(self.period) < math.inf:
            raise ValueError(f"{self}: the period is more than 0 seconds")
        if self.key is not None:
            check_path(self.key, "Throttle(key=)")

    @property
    def interval(self) -> float:
        """Seconds from one start to the next when all are in use."""
        return _seconds(self.period) / self.limit

    def earliest(self, used_until: float) -> float:
        """When the next run may start; `used_until` is 0 before the first."""
        return used_until - self.interval * (self.burst - 1)

    def used(self, used_until: float, at: float) -> float:
        """The next `used_until`, once a run has started at `at`."""
        return max(used_until, at) + self.interval


@dataclasses.dataclass(frozen=True)
class Timeout:
    """How long a run may wait and work, in seconds or as a `timedelta`.

    `start`: not begun so long after it was due, it fails. `finish`: not ended so long after its
    start, it fails; what it sleeps and waits counts. Both with the category `timeout`.
    """

    start: float | timedelta | None = None
    finish: float | timedelta | None = None

    def __post_init__(self) -> None:
        if self.start is None and self.finish is None:
            raise ValueError("Timeout limits nothing: give start=, finish=, or both")
        for given in (self.start_within, self.finish_within):
            if given is not None and not 0 < given < math.inf:
                raise ValueError(f"{self}: a timeout is more than 0 seconds")

    @property
    def start_within(self) -> float | None:
        """Seconds from when the run is due."""
        return None if self.start is None else _seconds(self.start)

    @property
    def finish_within(self) -> float | None:
        """Seconds from the run's start."""
        return None if self.finish is None else _seconds(self.finish)


@dataclasses.dataclass(frozen=True)
class CancelOn:
    """A signal of this name cancels the tenant's runs whose input it matches.

    `match` is the dotted path that must lead to equal values in the signal's data and in the run's
    input, or a mapping of such paths: the signal's to the input's. Without it, every run of the
    operation is canceled.
    """

    signal: str
    match: str | Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        _check_signal(self, self.signal)
        for path in (*self.paths, *self.paths.values()):
            check_path(path, "CancelOn(match=)")

    @property
    def paths(self) -> Mapping[str, str]:
        """Paths into the signal's data, and where in the input each must find its equal."""
        if self.match is None:
            return {}
        return {self.match: self.match} if isinstance(self.match, str) else self.match

    def wanted(self, data: Any) -> dict[str, Any] | None:
        """What a signal must hold, by path, to cancel the run with the input `data` (JSON).

        None if the input lacks one of the values: then no signal cancels the run, since nothing is
        equal to what is not there.
        """
        wanted = {path: value_at(data, own) for path, own in self.paths.items()}
        return None if ABSENT in wanted.values() else wanted


@dataclasses.dataclass(frozen=True)
class Trigger:
    """A signal of this name, with equal values at the paths of `match`, starts a run.

    The signal's data is the run's input.
    """

    signal: str
    match: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_signal(self, self.signal)
        for path in self.match:
            check_path(path, "Trigger(match=)")

    def fits(self, signal: str, data: Any) -> bool:
        """Whether the signal of this name and data (JSON) starts a run."""
        return signal == self.signal and matches(data, self.match)


@dataclasses.dataclass(frozen=True, slots=True)
class Flow:
    """What whoever claims runs of a limited operation must keep to.

    `total` runs at once, `each` for one value of the concurrency key, starts by `throttle`; None
    where there is no such limit.
    """

    total: int | None
    each: int | None
    throttle: Throttle | None


class Failure(BaseModel):
    """The input of an `on_failure` operation: which run has failed for good, and how.

    `input` is the failed run's input as JSON, `error` is `{"code", "category", "message", "type",
    "step"}`, `attempt` counts the tries of the whole run.
    """

    run_id: str
    operation: str
    user: str | None
    input: Any
    error: dict[str, Any]
    attempt: int


def _seconds(duration: float | timedelta) -> float:
    return duration.total_seconds() if isinstance(duration, timedelta) else float(duration)


def _check_signal(value: object, name: str) -> None:
    if not isinstance(name, str) or not name:
        raise ValueError(f"{value} needs the name of a signal")
