"""How far a run has come, and what each earlier run says of the rest of it. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from understudy.engine.run import Run, Step
from understudy.engine.sample import Sample, Stage

FEWEST = 5
"""Fewer runs than these tell nothing."""

_INSTANT = 1e-6
_MOST_PACE = 20.0
_DOUBT = 8.0
"""As many steps of its own a run must have taken before it is judged by them as by the others."""


class Ahead(NamedTuple):
    """What stands before a queued run.

    How many runs are before it and how many of its queue are driven now; `alive` is whether anybody
    drives at all.
    """

    runs: int
    driven: int
    alive: bool = True


class Moment(NamedTuple):
    """When a run is looked at, in seconds since 1970, and what stands before it in its queue.

    `since` is when it was first seen after it had been handed over to another driver or retried:
    what it did just before is not known.
    """

    at: float
    ahead: Ahead | None = None
    since: float | None = None


class Situation:
    """How far a run has come.

    `age` is how long nothing has ended, `hold` how long nothing will be tried (of which `sleeps` is
    a pause of the operation's own), `asks` whether it waits for a signal. All in seconds.
    """

    def __init__(self, run: Run, steps: Sequence[Step], now: Moment) -> None:
        began = run.started_at
        ended = [step for step in steps if step.ended_at is not None]
        self._since = max(now.since or 0.0, began or now.at)
        self._now = now.at
        self._ended = ended
        self._started: dict[tuple[str, int], list[float]] = {}
        self._done = Counter(step.name for step in ended)
        self._took: dict[str, list[float]] = {}
        for step in ended:
            took = max(0.0, (step.ended_at or 0.0) - step.started_at)
            self._took.setdefault(step.name, []).append(took)
        self._total = _total(run, self._done)
        self.elapsed = None if now.since is not None else max(0.0, now.at - (began or now.at))
        marks = [step.ended_at for step in ended if step.ended_at is not None]
        self._mark = max([self._since, *marks])
        self.age = max(0.0, now.at - self._mark)
        paused = [step for step in steps if step.state in {"waiting", "retry"}]
        self.asks = any(step.kind == "wait" for step in paused)
        held = [step for step in paused if step.state == "retry" or step.kind == "sleep"]
        last = max(held, key=lambda step: step.due_at or 0.0, default=None)
        self.hold = 0.0 if last is None else max(0.0, (last.due_at or 0.0) - now.at)
        self.sleeps = last is not None and last.kind == "sleep"

    def scenarios(self, samples: Sequence[Sample]) -> list[tuple[float, float]]:
        """What each sample says is left: of the stage in flight, and after it.

        The first is not above 0 if that run would have been through by now.
        """
        fits = [sample for sample in samples if self._fits(sample)]
        some = fits if len(fits) >= FEWEST else samples
        at_once = _at_once(some)
        varied = _varied(some)
        return [self._scenario(sample, at_once, varied) for sample in some]

    def _fits(self, sample: Sample) -> bool:
        """Whether that run once stood where this one does."""
        counts = {stage.name: stage.count for stage in sample.stages}
        return all(
            name in counts and (self._total is not None or counts[name] >= done)
            for name, done in self._done.items()
        )

    def _scenario(
        self, sample: Sample, at_once: Mapping[str, int], varied: frozenset[str]
    ) -> tuple[float, float]:
        stages = sample.stages
        reached = max((stage.first for stage in stages if self._done[stage.name]), default=-1)
        size = self._size(stages, reached, varied)
        rest = sample.rest
        flies: tuple[Stage, float] | None = None
        soonest = math.inf
        for stage in stages:
            wanted = stage.count * size if stage.name in varied else stage.count
            left = self._unfinished(stage, wanted, reached)
            if left <= 0:
                continue
            place = stage.place(self._done[stage.name])
            later = (stage, left)
            if place < soonest:
                later, flies, soonest = flies or (stage, 0.0), later, place
            rest += later[0].takes(later[1], at_once[later[0].name])
        if flies is None:
            return rest - self.age, 0.0
        return self._in_flight(*flies, at_once[flies[0].name]), rest

    def _in_flight(self, stage: Stage, left: float, at_once: int) -> float:
        """Seconds until the stage that is being worked at ends; not above 0 if it should have."""
        if self.hold:  # nothing of it works now
            return stage.takes(left - self.sleeps, at_once)
        at_once = 1 if stage.sequential else at_once
        ages = self._ages(stage, at_once)
        pace = self._pace(stage, ages)
        return pace * stage.takes(left, at_once, [age / pace for age in ages])

    def _pace(self, stage: Stage, ages: Sequence[float]) -> float:
        """How many times as long this run's steps of the stage take as those of that run.

        The quick ones end first, so those that are not through count as at most half done.
        """
        mine = self._took.get(stage.name)
        usual = stage.work / stage.count
        if not mine or usual < _INSTANT:
            return 1.0
        seen, count = sum(mine) + _DOUBT * usual, len(mine) + _DOUBT
        if len(ages) > 1:
            seen += sum(ages)
            count += sum(min(0.5, age / usual) for age in ages)
        return min(_MOST_PACE, max(1 / _MOST_PACE, seen / (count * usual)))

    def _ages(self, stage: Stage, at_once: int) -> Sequence[float]:
        """How long the steps that work have been at it, the oldest first.

        The journal knows none of them: the first few began with the stage, each other one when one
        before it ended.
        """
        if at_once == 1:
            return (self.age,)
        known = self._started.get((stage.name, at_once))
        if known is None:
            mine = [step for step in self._ended if step.name == stage.name]
            begin = min((step.started_at for step in mine), default=self._mark)
            ends = sorted(step.ended_at for step in mine if step.ended_at is not None)
            begins = [begin] * at_once + ends
            some = begins[len(mine) : len(mine) + at_once]
            known = [max(0.0, self._now - max(self._since, at)) for at in some]
            self._started[stage.name, at_once] = known
        return known

    def _unfinished(self, stage: Stage, wanted: float, reached: int) -> float:
        """How many steps of the stage are to come."""
        done = self._done[stage.name]
        if self._total is not None and self._total[0] == stage.name:
            return float(max(0, self._total[1] - done))
        if stage.last < reached:
            return 0.0
        return max(0.0 if done else 1.0, wanted - done)

    def _size(self, stages: Sequence[Stage], reached: int, varied: frozenset[str]) -> float:
        """How much bigger this run is than that one, by the biggest stage known of both."""
        most, size = 0, 1.0
        for stage in stages:
            count = self._done[stage.name] if stage.last < reached else 0
            if self._total is not None and self._total[0] == stage.name:
                count = self._total[1]
            if count > most and stage.name in varied:
                most, size = count, count / stage.count
        return size


def _total(run: Run, done: Mapping[str, int]) -> tuple[str, int] | None:
    """The name and the size of the map that the run's progress is of, if it is of one."""
    said = run.progress or {}
    name, total = said.get("note"), said.get("total")
    if not name or total is None or total != int(total) or not 0 < done.get(name, 0) <= total:
        return None
    return name, int(total)


def _at_once(samples: Sequence[Sample]) -> dict[str, int]:
    """How many steps of each stage ran side by side, at best."""
    best: dict[str, int] = {}
    for sample in samples:
        for stage in sample.stages:
            crowded = stage.span * stage.count <= stage.work
            many = stage.count if crowded else round(stage.work / stage.span)
            best[stage.name] = max(best.get(stage.name, 1), many)
    return best


def _varied(samples: Sequence[Sample]) -> frozenset[str]:
    """The stages that grow with what was asked."""
    return frozenset(stage.name for sample in samples for stage in sample.stages if stage.count > 1)
