"""A run that succeeded, as what it teaches about others: its stages, and how long each took."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

MOST_SAMPLES = 100
"""More tell no more, and cost time; older ones tell of another time."""


@dataclasses.dataclass(frozen=True, slots=True)
class Stage:
    """All steps of one name in a run that succeeded.

    `first` and `last` are the lowest and highest place in the order of calls, `count` how many
    there were. `work` is the sum of their durations, `span` the time that passed from the end of
    the stage before to the end of this one; both in seconds.
    """

    name: str
    first: int
    last: int
    count: int
    work: float
    span: float

    @property
    def item(self) -> float:
        """How long one step took, with the pause before it where they came one by one."""
        return max(self.work, self.span) / self.count if self.sequential else self.work / self.count

    @property
    def sequential(self) -> bool:
        """Whether its steps came one after the other."""
        return self.work <= 1.001 * self.span

    def place(self, done: int) -> float:
        """Where the next of its steps stands in the order of calls."""
        return self.first + done * (self.last - self.first) / max(1, self.count - 1)

    def takes(self, left: float, at_once: int, ages: Sequence[float] = ()) -> float:
        """Seconds for so many of its steps, `at_once` side by side, some of which work already.

        `ages` is how long these have been at it.
        """
        if left <= 0:
            return 0.0
        at_once = 1 if self.sequential else at_once
        model = _fresh(self.count, at_once, self.item)
        begun = _begun(left, at_once, self.item, ages)
        if at_once > 1 and self.span > model:
            return begun + self.span - model  # one of the last took longer than the others
        return self.span * begun / model if model > 0 else 0.0


def _fresh(count: float, at_once: int, item: float) -> float:
    """How long so many steps take of `item` seconds each."""
    return item * (1.0 if count <= at_once else max(2.0, count / at_once))


def _begun(left: float, at_once: int, item: float, ages: Sequence[float]) -> float:
    """The same when some of them work already."""
    if not ages:
        return _fresh(left, at_once, item)
    remains = [max(0.0, item - age) for age in ages[: max(1, int(left))]]
    queued = max(0.0, left - len(remains))
    shared = (sum(remains) + queued * item) / len(remains)
    return max(shared, *remains, min(remains) + item if queued >= 1 else 0.0)


@dataclasses.dataclass(frozen=True, slots=True)
class Sample:
    """A run that succeeded at once: how long it waited for its start, how long each stage took.

    `stages` are in the order in which they began; `rest` is what was left after the last one.
    Times are seconds; `ended_at` is since 1970.
    """

    version: int
    ended_at: float
    queued: float
    stages: tuple[Stage, ...]
    rest: float

    @property
    def seconds(self) -> float:
        """From its start to its end."""
        return sum(stage.span for stage in self.stages) + self.rest
