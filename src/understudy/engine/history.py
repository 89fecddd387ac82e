"""How long the runs of each operation took: what the journal remembers of those that succeeded."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from understudy.clock import Clock
from understudy.engine.run import Step
from understudy.engine.sample import MOST_SAMPLES, Sample, Stage

_LOOK_EVERY = 10.0
_MOST = 20_000
"""Ended runs looked through at first: an operation that is asked for once in so many has no
history."""

_LATE = 5.0
"""Seconds by which a run may become visible after the end that it says."""


class Ended(NamedTuple):
    """A run that succeeded at its first attempt. Times are seconds since 1970."""

    id: str
    operation: str
    version: int
    created_at: float
    started_at: float
    ended_at: float


@dataclasses.dataclass(frozen=True, slots=True)
class Group:
    """The ended steps of one name in a run: see `Stage`. `ended_at` is when the last one did."""

    name: str
    first: int
    last: int
    count: int
    work: float
    ended_at: float


class Records(Protocol):
    """What the journal can tell of the past, and the percent that was shown of each run."""

    async def ended(self, since: float, limit: int) -> Sequence[Ended]:
        """Runs that ended from `since` on, the latest first."""
        ...

    async def groups(self, run_ids: Sequence[str]) -> Mapping[str, Sequence[Group]]:
        """What these runs remember, by run."""
        ...

    async def steps(self, run_ids: Sequence[str]) -> Mapping[str, Sequence[Step]]:
        """Each step of these runs, by run, without results and errors."""
        ...

    async def percents(self, run_ids: Sequence[str]) -> Mapping[str, int]:
        """The highest percent that was ever shown, of those of which one was."""
        ...

    async def show(self, percents: Mapping[str, int]) -> Mapping[str, int]:
        """Remember what is about to be shown, durably; what is to be shown, which may be higher."""
        ...


class History:
    """Samples of each operation, the latest last; looked up again every ten seconds at most."""

    def __init__(self, records: Records, clock: Clock) -> None:
        self._records = records
        self._clock = clock
        self._lock = asyncio.Lock()
        self._looked_at: float | None = None
        self._since = 0.0
        self._ended: dict[str, deque[Ended]] = defaultdict(lambda: deque(maxlen=MOST_SAMPLES))
        self._samples: dict[str, dict[str, Sample]] = {}

    async def samples(self, operation: str) -> Sequence[Sample]:
        """How its latest runs went, at most 100."""
        async with self._lock:
            await self._look()
            ended = self._ended.get(operation)
            if ended is None:
                return ()
            known = self._samples.get(operation, {})
            missing = [run.id for run in ended if run.id not in known]
            if missing:
                groups = await self._records.groups(missing)
                known = {
                    run.id: known.get(run.id) or sample_of(run, groups.get(run.id, ()))
                    for run in ended
                }
                self._samples[operation] = known
            return tuple(known.values())

    async def _look(self) -> None:
        now = self._clock.now()
        if self._looked_at is not None and 0 <= now - self._looked_at < _LOOK_EVERY:
            return
        found = await self._records.ended(self._since - _LATE, _MOST)
        for run in reversed(found):
            ended = self._ended[run.operation]
            if run.ended_at > self._since or run not in ended:
                ended.append(run)
        self._since = max([self._since, *(run.ended_at for run in found)])
        self._looked_at = now


def sample_of(run: Ended, groups: Sequence[Group]) -> Sample:
    """What a run teaches: of each stage, the time from the end of the stage before."""
    stages = []
    mark = run.started_at
    for group in sorted(groups, key=lambda group: (group.ended_at, group.first)):
        span = max(0.0, group.ended_at - mark)
        mark = max(mark, group.ended_at)
        stages.append(
            Stage(group.name, group.first, group.last, group.count, max(0.0, group.work), span)
        )
    return Sample(
        version=run.version,
        ended_at=run.ended_at,
        queued=max(0.0, run.started_at - run.created_at),
        stages=tuple(_apart(sorted(stages, key=lambda stage: stage.first))),
        rest=max(0.0, run.ended_at - mark),
    )


def _apart(stages: Sequence[Stage]) -> list[Stage]:
    """The same, with the time of a loop divided among its steps, whichever of them ended last."""
    parted: list[Stage] = []
    loop: list[Stage] = []
    for stage in stages:
        if loop and stage.first > max(one.last for one in loop):
            parted += _shared(loop)
            loop = []
        loop.append(stage)
    return parted + _shared(loop)


def _shared(loop: list[Stage]) -> list[Stage]:
    work = sum(stage.work for stage in loop)
    if len(loop) == 1 or work <= 0:
        return loop
    span = sum(stage.span for stage in loop)
    return [dataclasses.replace(stage, span=span * stage.work / work) for stage in loop]
