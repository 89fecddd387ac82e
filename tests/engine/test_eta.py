"""When a run will end: what is known exactly is said exactly, and what nobody knows is not said."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.engine.eta import Eta, estimate
from understudy.engine.run import Run, Step
from understudy.engine.sample import Sample, Stage
from understudy.engine.situation import Ahead, Moment
from understudy.testing.conformance.rows import NOW, a_run, a_step, open_step

SECONDS = st.floats(0, 1e6)
NAMES = st.sampled_from(["draw", "film", "join"])


def sample(*spans: tuple[str, float], version: int = 1, rest: float = 0.0) -> Sample:
    """A run of one step after the other."""
    stages = [Stage(name, n, n, 1, span, span) for n, (name, span) in enumerate(spans)]
    return Sample(version, NOW, 1.0, tuple(stages), rest)


TWO = [sample(("draw", 10 + n % 3), ("film", 100 + n % 3)) for n in range(30)]
"""Draws for about 11 seconds and films for about 101."""


def running(**facts: Any) -> Run:
    """A run that was begun at `NOW`."""
    return a_run(**{"status": "running", "started_at": NOW, "wake_at": None, **facts})


def eta(
    run: Run,
    steps: Sequence[Step] = (),
    *,
    samples: Sequence[Sample] = TWO,
    after: float = 0.0,
    ahead: Ahead | None = None,
    since: float | None = None,
) -> Eta:
    """The estimate so many seconds after `NOW`."""
    told = estimate(run, steps, samples, Moment(NOW + after, ahead, since), random.Random(1))
    assert told is not None
    return told


def unknown(run: Run, samples: Sequence[Sample] = TWO, ahead: Ahead | None = None) -> bool:
    """Whether nothing is said."""
    return estimate(run, [], samples, Moment(NOW, ahead), random.Random(1)) is None


def test_what_remains_is_added_up() -> None:
    """At the start all stages remain, later those that have not ended; the age counts."""
    begun = eta(running())
    assert 111 <= begun.p50 <= 113
    assert begun == begun._replace(percent=0, confidence="high", basis="history n=30")
    drawn = [a_step("draw", started_at=NOW, ended_at=NOW + 10)]
    half = eta(running(), drawn, after=60)
    assert 50 <= half.p50 <= half.p90 <= 52
    assert half.percent == 54


def test_an_overdue_run_is_not_promised_at_once() -> None:
    """A stage that takes longer than it ever did is given a share of its age, and said so."""
    late = eta(running(), [a_step("draw", started_at=NOW, ended_at=NOW + 10)], after=310)
    assert late.basis == "history n=30, overdue"
    assert late.confidence == "low"
    assert 0 < late.p50 < late.p90 <= 300
    assert late.percent < 99


def test_without_history_nothing_is_said() -> None:
    """Four runs tell nothing; five do. Other versions serve as long as there are no five."""
    assert unknown(running(), TWO[:4])
    assert not unknown(running(), TWO[:5])
    others = [sample(("draw", 5.0), version=2) for _ in range(5)]
    told = eta(running(), samples=[*others, *TWO[:4]])
    assert told.basis == "history n=9, other versions"
    assert told.confidence == "low"


def test_what_somebody_must_do_first_has_no_time() -> None:
    """A run that has ended, is being canceled, waits for the operator or for any worker."""
    assert unknown(running(status="succeeded", ended_at=NOW))
    assert unknown(running(cancel_requested_at=NOW))
    operator = {"kind": "operator", "text": "the code has changed", "until": None}
    assert unknown(running(status="waiting", waiting_for=operator))
    assert unknown(a_run(), ahead=Ahead(0, 0, alive=False))


def test_a_sleep_ends_when_it_says() -> None:
    """The clock is known: the pause that was begun counts, and not how long others slept."""
    slept = [sample(("sleep", 5.0), ("film", 10.0)) for _ in range(10)]
    asleep = open_step("sleep", kind="sleep", due_at=NOW + 3600)
    told = eta(running(status="waiting"), [asleep], samples=slept, after=60)
    assert told.p50 == pytest.approx(3540 + 10)


def test_a_retry_begins_after_its_pause() -> None:
    """A step that failed is done again, from its start."""
    again = open_step("draw", kind="step", due_at=NOW + 100, attempt=1)
    told = eta(running(), [again._replace(state="retry")], after=40)
    assert told.p50 == pytest.approx(60 + 112, abs=2)


def test_a_wait_for_somebody_is_a_guess() -> None:
    """However regular the past was, what others do is not known well."""
    asked = [sample(("ask", 50.0)) for _ in range(50)]
    told = eta(running(status="waiting"), [open_step("ask")], samples=asked, after=10)
    assert (told.p50, told.confidence) == (40, "low")


def test_the_rest_of_a_map_counts() -> None:
    """Of a map whose size the progress tells, what is left; four at once, as in the past."""
    pairs = Stage("pair", 0, 19, 20, 80.0, 20.0)
    many = [Sample(1, NOW, 0.0, (pairs,), 0.0) for _ in range(10)]
    progress = {"done": 8.0, "total": 40.0, "note": "pair"}
    steps = [
        a_step(f"pair[{n}]", n, started_at=NOW + n // 4 * 4, ended_at=NOW + n // 4 * 4 + 4)
        for n in range(8)
    ]
    done = [step._replace(name="pair") for step in steps]
    assert eta(running(progress=progress), done, samples=many, after=8).p50 == 32
    strange = {"done": 1.0, "total": 2.0, "note": "pair"}
    assert eta(running(progress=strange), done, samples=many, after=8).p50 == 12


def test_a_bigger_run_takes_longer() -> None:
    """What grows with the size of the run is counted by the stage whose size is known."""
    stages = (Stage("photo", 0, 9, 10, 10.0, 10.0), Stage("pair", 10, 18, 9, 90.0, 90.0))
    many = [Sample(1, NOW, 0.0, stages, 0.0) for _ in range(10)]
    progress = {"done": 1.0, "total": 20.0, "note": "photo"}
    first = a_step("photo[0]", started_at=NOW, ended_at=NOW + 1)._replace(name="photo")
    told = eta(running(progress=progress), [first], samples=many, after=1)
    assert told.p50 == pytest.approx(19 + 180)


def test_what_came_after_the_last_step_counts() -> None:
    """An operation may work outside of its steps."""
    tail = [sample(("draw", 10.0), rest=20.0) for _ in range(10)]
    drawn = a_step("draw", started_at=NOW, ended_at=NOW + 10)
    assert eta(running(), [drawn], samples=tail, after=15).p50 == 15
    assert eta(running(), samples=[sample(rest=30.0)] * 5, after=10).p50 == 20


def test_a_queued_run_waits_first() -> None:
    """For its time, for those before it, or as long as others did; nothing is done meanwhile."""
    planned = eta(a_run(wake_at=NOW + 1000))
    assert planned.p50 == pytest.approx(1112, abs=2)
    third = eta(a_run(), ahead=Ahead(6, 3))
    assert third.p50 == pytest.approx(2 * 112 + 112, abs=5)
    assert eta(a_run()).p50 == pytest.approx(113, abs=2)
    assert eta(a_run(), after=8).p50 == pytest.approx(114, abs=2)
    assert {planned.percent, third.percent} == {0}
    handed_back = a_run(started_at=NOW)
    assert eta(handed_back, after=1).p50 == pytest.approx(111, abs=2)


def test_a_new_tenure_begins_the_stage_in_flight_again() -> None:
    """What a dead worker did of a step is lost: the step counts from when another one took over."""
    drawn = [a_step("draw", started_at=NOW, ended_at=NOW + 10)]
    told = eta(running(epoch=2), drawn, after=5000, since=NOW + 4990)
    assert told.p50 == pytest.approx(91, abs=2)
    assert told.percent == pytest.approx(19, abs=2)
    assert "overdue" not in told.basis


def test_confidence_is_in_numbers() -> None:
    """Many regular runs are known well, few or irregular ones are not."""
    assert eta(running(), samples=TWO[:12]).confidence == "medium"
    assert eta(running(), samples=TWO[:6]).confidence == "low"
    wild = [sample(("draw", 10.0 if n % 4 else 1000.0)) for n in range(40)]
    assert eta(running(), samples=wild).confidence == "low"


@st.composite
def stages(draw: st.DrawFn) -> Stage:
    """Any steps of one name."""
    first = draw(st.integers(0, 20))
    count = draw(st.integers(1, 30))
    last = first + draw(st.integers(count - 1, 60))
    return Stage(draw(NAMES), first, last, count, draw(SECONDS), draw(SECONDS))


@st.composite
def pasts(draw: st.DrawFn) -> Sample:
    """Any run of the past."""
    found = draw(st.lists(stages(), max_size=3, unique_by=lambda stage: stage.name))
    ordered = tuple(sorted(found, key=lambda stage: stage.first))
    return Sample(draw(st.integers(1, 2)), NOW, draw(SECONDS), ordered, draw(SECONDS))


@st.composite
def journals(draw: st.DrawFn) -> list[Step]:
    """What a run may remember."""
    steps = []
    for seq in range(draw(st.integers(0, 6))):
        name, began = draw(NAMES), NOW + draw(SECONDS)
        step = a_step(f"{name}#{seq}", seq, started_at=began, ended_at=began + draw(SECONDS))
        if draw(st.booleans()):
            step = open_step(step.key, seq, kind=draw(st.sampled_from(["sleep", "wait", "call"])))
            step = step._replace(due_at=draw(st.none() | SECONDS.map(lambda more: NOW + more)))
        steps.append(step._replace(name=name))
    return steps


@settings(max_examples=60, deadline=None)
@given(
    st.lists(pasts(), min_size=5, max_size=7),
    journals(),
    st.floats(-1e6, 1e7),
    st.sampled_from(["queued", "running", "waiting"]),
    st.none() | st.builds(Ahead, st.integers(0, 1000), st.integers(0, 50), st.just(True)),
    st.none() | SECONDS,
    st.integers(-1, 50),
)
def test_whatever_happened_it_makes_sense(
    samples: list[Sample],
    steps: list[Step],
    after: float,
    status: str,
    ahead: Ahead | None,
    since: float | None,
    total: int,
) -> None:
    """Quantiles are in order and never below 0, a percent is from 0 to 99; also if clocks lie."""
    progress = {"done": 1.0, "total": float(total), "note": "draw"}
    run = a_run(status=status, started_at=NOW if steps else None, progress=progress)
    told = estimate(
        run,
        steps,
        samples,
        Moment(NOW + after, ahead, None if since is None else NOW + since),
        random.Random(1),
    )
    assert told is not None
    assert 0 <= told.p50 <= told.p90 < float("inf")
    assert 0 <= told.percent <= 99
