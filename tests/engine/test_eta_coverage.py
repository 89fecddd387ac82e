"""Forecasts over replayed histories: what is promised is kept as often as it says."""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import pytest
from tests.conftest import Rounds

from understudy.engine.eta import estimate
from understudy.engine.history import Ended, Group, sample_of
from understudy.engine.run import Run, Step
from understudy.engine.sample import Sample
from understudy.engine.situation import Moment
from understudy.testing.conformance.rows import NOW, a_run, a_step

SAMPLES = 60
LIVES = 40


class Life(NamedTuple):
    """A run from its start to its end, in seconds since its start, with all its steps."""

    steps: Sequence[Step]
    ends: float


def log_normal(chance: random.Random, median: float, sigma: float) -> float:
    """A duration as they come: never below 0, with a long tail."""
    return median * math.exp(chance.gauss(0.0, sigma))


class Maker:
    """Makes the steps of one run, whose `now` is in seconds since its start."""

    def __init__(self) -> None:
        self.now = 0.0
        self.steps: list[Step] = []

    def step(self, name: str, seconds: float) -> None:
        """One step, now."""
        self._ended(name, name, self.now, self.now + seconds)
        self.now += seconds

    def map(self, name: str, durations: Sequence[float], limit: int) -> None:
        """Steps side by side, so many at once."""
        free = [self.now] * limit
        ends = self.now
        for index, seconds in enumerate(durations):
            began = heapq.heappop(free)
            heapq.heappush(free, began + seconds)
            self._ended(f"{name}[{index}]", name, began, began + seconds)
            ends = max(ends, began + seconds)
        self.now = ends

    def _ended(self, key: str, name: str, began: float, ended: float) -> None:
        step = a_step(key, len(self.steps), started_at=NOW + began, ended_at=NOW + ended)
        self.steps.append(step._replace(name=name))


def chain(chance: random.Random) -> Life:
    """A prompt, a picture, a video: one after the other, each with its own spread."""
    maker = Maker()
    maker.step("prompt", log_normal(chance, 2, 0.4))
    maker.step("image", log_normal(chance, 12, 0.5))
    maker.step("video", log_normal(chance, 180, 0.4))
    return Life(maker.steps, maker.now)


def film(chance: random.Random) -> Life:
    """Two to thirty photos, four at once, on a machine that is now slow, now fast."""
    maker = Maker()
    photos = chance.randint(2, 30)
    speed = log_normal(chance, 1, 0.2)
    maker.step("photos", 0.1 * speed)
    maker.map("photo", [log_normal(chance, 0.5 * speed, 0.3) for _ in range(photos)], 4)
    maker.map("pair", [log_normal(chance, 4 * speed, 0.3) for _ in range(photos - 1)], 4)
    maker.step("join", 0.05 * photos * speed)
    return Life(maker.steps, maker.now)


def scenes(chance: random.Random) -> Life:
    """A loop of two steps, of which nobody knows how often it goes round."""
    maker = Maker()
    for _ in range(chance.randint(3, 9)):
        maker.step("write", log_normal(chance, 3, 0.3))
        maker.step("speak", log_normal(chance, 8, 0.3))
    return Life(maker.steps, maker.now)


def as_sample(life: Life) -> Sample:
    """What the journal would tell of it."""
    groups = []
    for name in dict.fromkeys(step.name for step in life.steps):
        mine = [step for step in life.steps if step.name == name]
        groups.append(
            Group(
                name,
                mine[0].seq,
                mine[-1].seq,
                len(mine),
                sum((step.ended_at or 0) - step.started_at for step in mine),
                max(step.ended_at or 0 for step in mine),
            )
        )
    return sample_of(Ended("run", "film", 1, NOW, NOW, NOW + life.ends), groups)


def looked_at(life: Life, at: float) -> tuple[Run, list[Step]]:
    """The run and its steps as the journal had them then."""
    steps = [step for step in life.steps if (step.ended_at or 0) <= NOW + at]
    progress = None
    if steps:
        last = max(steps, key=lambda step: step.ended_at or 0)
        if "[" in last.key:
            done = sum(step.name == last.name for step in steps)
            total = sum(step.name == last.name for step in life.steps)
            progress = {"done": float(done), "total": float(total), "note": last.name}
    run = a_run(status="running", started_at=NOW, progress=progress, wake_at=None)
    return run, steps


class Kept(NamedTuple):
    """Of all forecasts, the share of runs that ended before p50 and before p90, and how far off
    p50 was, as a share of the run's whole time.
    """

    p50: float
    p90: float
    error: float


def replayed(make: Callable[[random.Random], Life], at: float, histories: int) -> Kept:
    """Forecasts of 40 runs that go on after `at` seconds, after each of so many histories."""
    within50 = within90 = 0
    error = 0.0
    for seed in range(histories):
        chance = random.Random(seed)
        samples = [as_sample(make(chance)) for _ in range(SAMPLES)]
        for life in alive(make, at, chance):
            run, steps = looked_at(life, at)
            eta = estimate(run, steps, samples, Moment(NOW + at), chance)
            assert eta is not None
            within50 += life.ends - at <= eta.p50
            within90 += life.ends - at <= eta.p90
            error += abs(eta.p50 - (life.ends - at)) / life.ends
    count = histories * LIVES
    return Kept(within50 / count, within90 / count, error / count)


def alive(
    make: Callable[[random.Random], Life], at: float, chance: random.Random
) -> Iterator[Life]:
    """Runs that have not ended by then."""
    lives = (make(chance) for _ in itertools.count())
    return itertools.islice((life for life in lives if life.ends > at), LIVES)


@pytest.mark.parametrize(
    ("make", "at"),
    [(chain, 10), (chain, 150), (film, 2), (film, 16), (scenes, 5), (scenes, 40)],
)
def test_nine_of_ten_end_before_p90(
    make: Callable[[random.Random], Life], at: float, rounds: Rounds
) -> None:
    """Soon after the start and half way, half of the runs end before p50, nine of ten before p90.

    Runs of one step after the other, of maps whose size differs on machines whose speed does, and
    of loops that nobody knows the length of.
    """
    kept = replayed(make, at, rounds(50, 8))
    assert 0.85 <= kept.p90 <= 0.95, kept
    assert 0.40 <= kept.p50 <= 0.63, kept


@pytest.mark.parametrize(("make", "at"), [(chain, 250), (film, 30), (scenes, 70)])
def test_a_long_run_is_not_promised_too_soon(
    make: Callable[[random.Random], Life], at: float, rounds: Rounds
) -> None:
    """When most others have ended, nine of ten of the rest still end before p90."""
    assert replayed(make, at, rounds(50, 8)).p90 >= 0.85


@pytest.mark.parametrize(("make", "at", "error"), [(film, 16, 0.2), (scenes, 40, 0.33)])
def test_half_way_the_end_is_known_roughly(
    make: Callable[[random.Random], Life], at: float, error: float, rounds: Rounds
) -> None:
    """Half way through, p50 is off by less than a third of the whole run, on average."""
    assert replayed(make, at, rounds(50, 4)).error < error
