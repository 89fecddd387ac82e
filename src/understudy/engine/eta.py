"""When a run will end, told from how others went. Pure: no clock, no database.

Each earlier run is a scenario of what remains: the stages (steps of one name) that this run has not
been through, in that run's times. The stage in flight is judged by those that took longer than it
has taken already, so that a late run is never promised to end in the past. Half of the scenarios
end before p50, nine of ten before p90.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal, NamedTuple

from understudy.engine.run import Run, Step
from understudy.engine.sample import Sample
from understudy.engine.situation import FEWEST, Ahead, Moment, Situation

_DRAWS = 100
_JOINT = 20
"""So many scenarios are spread well enough to be taken whole; of fewer, the stage in flight and
what follows are drawn apart."""

_OVERTIME = (0.05, 0.15, 0.25, 0.5, 1.0)
"""What outlived all others goes on for such a share of its age."""

Confidence = Literal["low", "medium", "high"]


class Eta(NamedTuple):
    """Seconds from now until half, and nine of ten, of such runs have ended; see `EtaView`."""

    p50: float
    p90: float
    percent: int
    confidence: Confidence
    basis: str


def estimate(
    run: Run,
    steps: Sequence[Step],
    samples: Sequence[Sample],
    now: Moment,
    chance: random.Random,
) -> Eta | None:
    """When a run that has not ended will end; None where nobody can tell.

    That is before enough runs of its operation have succeeded, and while it waits for the operator,
    for a worker, or is being canceled.
    """
    if run.done or run.cancel_requested_at is not None or _stuck(run, now):
        return None
    known = [sample for sample in samples if sample.version == run.version]
    others = len(known) < FEWEST
    if others:
        known = list(samples)
    if len(known) < FEWEST:
        return None
    here = Situation(run, steps, now)
    scenarios = here.scenarios(known)
    late = not any(first > 0 for first, _ in scenarios) and not here.hold
    left = _left(here, scenarios, chance)
    wait = _wait(run, known, now, chance)
    p50, p90 = _quantiles([later + left[n % len(left)] for n, later in enumerate(wait)])
    run_p50, run_p90 = _quantiles(left)
    elapsed = here.elapsed
    if elapsed is None:
        elapsed = max(0.0, _quantiles([sample.seconds for sample in known])[0] - run_p50)
    whole = elapsed + run_p50
    unsure = others or late or here.asks
    return Eta(
        p50=p50,
        p90=p90,
        percent=min(99, int(100 * elapsed / whole)) if whole > 0 else 0,
        confidence="low" if unsure else _confidence(len(known), (run_p90 - run_p50) / (whole or 1)),
        basis=_basis(len(known), others=others, late=late),
    )


def _stuck(run: Run, now: Moment) -> bool:
    """Whether it goes on only when somebody does something about it."""
    if (run.waiting_for or {}).get("kind") == "operator":
        return True
    return now.ahead is not None and not now.ahead.alive


def _left(
    here: Situation, scenarios: Sequence[tuple[float, float]], chance: random.Random
) -> list[float]:
    """Seconds of work that may be left, each as likely as the others."""
    if here.hold:
        return [here.hold + first + rest for first, rest in scenarios]
    alive = [pair for pair in scenarios if pair[0] > 0]
    if len(alive) >= _JOINT:
        return [first + rest for first, rest in alive]
    firsts = [first for first, _ in alive]
    if len(alive) < len(scenarios):
        firsts += [share * here.age for share in (_OVERTIME if not alive else (0.25,))]
    rests = [rest for _, rest in scenarios]
    return [
        firsts[chance.randrange(len(firsts))] + rests[chance.randrange(len(rests))]
        for _ in range(_DRAWS)
    ]


def _wait(run: Run, samples: Sequence[Sample], now: Moment, chance: random.Random) -> list[float]:
    """Seconds until somebody drives the run, in so many draws."""
    if run.status == "running" or (run.status == "waiting" and run.held == 0):
        return [0.0] * _DRAWS
    due = run.created_at if run.wake_at is None else run.wake_at
    if due > now.at:
        return [due - now.at] * _DRAWS
    if now.ahead is not None and now.ahead.runs:
        return [_queue(now.ahead, samples, chance) for _ in range(_DRAWS)]
    if run.started_at is not None:
        return [0.0] * _DRAWS
    age = now.at - max(due, run.created_at)
    waits = [sample.queued - age for sample in samples if sample.queued > age] or [0.25 * age]
    return [waits[chance.randrange(len(waits))] for _ in range(_DRAWS)]


def _queue(ahead: Ahead, samples: Sequence[Sample], chance: random.Random) -> float:
    """As long as the runs before it take, so many of them at once as now."""
    looked_at = min(ahead.runs, 4)
    picked = [samples[chance.randrange(len(samples))].seconds for _ in range(looked_at)]
    return ahead.runs * sum(picked) / looked_at / max(1, ahead.driven)


def _quantiles(values: Sequence[float]) -> tuple[float, float]:
    """The median and the ninth decile."""
    ranked = sorted(values)
    return ranked[len(ranked) // 2], ranked[min(len(ranked) - 1, len(ranked) * 9 // 10)]


def _confidence(count: int, spread: float) -> Confidence:
    """`spread` is from p50 to p90, in whole runs."""
    if count >= 30 and spread <= 0.5:
        return "high"
    return "medium" if count >= 10 and spread <= 1.5 else "low"


def _basis(count: int, *, others: bool, late: bool) -> str:
    said = [f"history n={count}"]
    if others:
        said.append("other versions")
    if late:
        said.append("overdue")
    return ", ".join(said)
