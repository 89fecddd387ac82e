"""Values of the engine and how they are shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy import StepFailed, ids
from understudy.clock import ManualClock, SystemClock, iso
from understudy.engine.run import describe_error
from understudy.engine.view import run_view
from understudy.errors import Error, MediaError, Transient, WaitTimeout
from understudy.testing.conformance.rows import FAULT, NOW, a_run, a_step, failed_step
from understudy.wire import WaitingView


@pytest.mark.parametrize(
    ("error", "facts"),
    [
        (MediaError("no"), ("media", "media", "no", "MediaError", "draw")),
        (Transient("no", category="vendor"), ("transient", "vendor", "no", "Transient", "draw")),
        (TimeoutError(), ("error", "timeout", "TimeoutError", "TimeoutError", "draw")),
        (
            BrokenPipeError("gone"),
            ("error", "network", "gone", "BrokenPipeError", "draw"),
        ),
        (KeyError("k"), ("error", "internal", "'k'", "KeyError", "draw")),
        (
            StepFailed("no", step="inner", type="E", category="vendor"),
            ("step_failed", "vendor", "no", "E", "inner"),
        ),
        (WaitTimeout("late", step="w"), ("wait_timeout", "timeout", "late", "WaitTimeout", "w")),
    ],
)
def test_an_error_is_described(error: Exception, facts: tuple[str, ...]) -> None:
    """Code, category, message, type and step, in the journal's form."""
    assert tuple(describe_error(error, step="draw").values()) == facts


def test_a_foreign_errors_own_fields_are_its_own() -> None:
    """Somebody's exception with a `type` or `step` of any kind is described all the same."""

    class Odd(Error):
        type = object()
        step = object()

    assert describe_error(Odd("x")) == {
        "code": "error",
        "category": "internal",
        "message": "x",
        "type": "Odd",
        "step": None,
    }


def test_a_run_is_shown_as_json() -> None:
    """Times in RFC 3339, input and output as JSON, what it waits for."""
    waiting = {"kind": "timer", "text": "the clock", "until": NOW + 1}
    run = a_run(
        status="waiting",
        waiting_for=waiting,
        progress={"done": 1, "total": 2, "note": "x"},
        started_at=NOW,
        user="ann",
    )
    view = run_view(run, [a_step(), failed_step("b", 1)]).model_dump()
    assert view["input"] == {"n": 1}
    assert (view["done"], view["output"], view["ended_at"]) == (False, None, None)
    assert view["waiting_for"] == {
        **dict.fromkeys(WaitingView.model_fields),
        **waiting,
        "until": "2027-01-15T08:00:01.000Z",
    }
    assert view["started_at"] == view["created_at"] == "2027-01-15T08:00:00.000Z"
    assert view["steps"][1]["error"] == {**FAULT, "step": "b"}
    ended = a_run(status="failed", error=FAULT, output=None, ended_at=NOW)
    assert run_view(ended, []).error is not None
    assert run_view(a_run(status="succeeded", output="[1]"), []).output == [1]


def test_a_run_that_is_to_be_canceled_says_so() -> None:
    """Until its running steps have ended, `canceling` is what it waits for."""
    asked = a_run(status="running", cancel_requested_at=NOW)
    view = run_view(asked, []).waiting_for
    assert view is not None
    assert view.kind == "canceling"
    gone = a_run(status="canceled", cancel_requested_at=NOW, ended_at=NOW)
    assert run_view(gone, []).waiting_for is None


@given(st.lists(st.floats(0, 2**47 / 1000), min_size=2, max_size=2))
def test_ids_sort_by_time(times: list[float]) -> None:
    """An id made in a later millisecond is greater, in plain text order."""
    early, late = sorted(times)
    if int(early * 1000) < int(late * 1000):
        assert ids.ordered("run", early) < ids.ordered("run", late)
    assert len(ids.ordered("run", early)) == len("run_") + 26


def test_random_ids_are_all_different() -> None:
    """Nobody guesses one."""
    assert len({ids.random("art") for _ in range(1000)}) == 1000
    assert len(ids.random("art")) == 30


async def test_a_manual_clock_wakes_in_order() -> None:
    """Sleepers wake when their time has come, counted from when they were asked to sleep."""
    import asyncio

    clock = ManualClock(100.0)
    log: list[int] = []

    async def sleeper(seconds: int) -> None:
        await clock.sleep(seconds)
        log.append(seconds)

    tasks = [asyncio.ensure_future(sleeper(n)) for n in (3, 1, 2, 0)]
    for _ in range(3):
        await asyncio.sleep(0)
    assert log == [0]
    canceled = tasks[2]
    canceled.cancel()
    clock.advance(2)
    await asyncio.sleep(0)
    assert log == [0, 1]
    clock.advance(1)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert log == [0, 1, 3]
    assert clock.now() == 103.0


async def test_the_systems_clock() -> None:
    """It goes forward, and takes a negative sleep for none."""
    clock = SystemClock()
    before = clock.now()
    await clock.sleep(-1)
    assert clock.now() >= before > 1_700_000_000
    assert iso(0.0625) == "1970-01-01T00:00:00.062Z"
