"""Concurrency, throttle, timeouts, cancelling and triggering signals, as values."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.engine.flow import CancelOn, Concurrency, Throttle, Timeout, Trigger

ANY: Any = 5


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (Concurrency, "give total=, key=, or both"),
        (lambda: Concurrency(total=0), "1 or more"),
        (lambda: Concurrency(key="user", each=0), "1 or more"),
        (lambda: Concurrency(total=4, each=2), "one value of a key="),
        (lambda: Concurrency(key="order..id"), "dotted path such as 'order.user'"),
        (lambda: Concurrency(key=""), "dotted path"),
        (lambda: Throttle(0, 60), "1 or more"),
        (lambda: Throttle(1, 60, burst=0), "1 or more"),
        (lambda: Throttle(1, 0), "more than 0 seconds"),
        (lambda: Throttle(1, timedelta(0)), "more than 0 seconds"),
        (lambda: Throttle(1, math.inf), "more than 0 seconds"),
        (lambda: Throttle(1, math.nan), "more than 0 seconds"),
        (lambda: Throttle(1, 60, key="."), "dotted path"),
        (Timeout, "give start=, finish=, or both"),
        (lambda: Timeout(start=0), "more than 0 seconds"),
        (lambda: Timeout(finish=timedelta(seconds=-1)), "more than 0 seconds"),
        (lambda: Timeout(start=5, finish=math.nan), "more than 0 seconds"),
        (lambda: CancelOn(""), "name of a signal"),
        (lambda: CancelOn("gone", match="a."), "dotted path"),
        (lambda: CancelOn("gone", match={"": "a"}), "dotted path"),
        (lambda: CancelOn("gone", match={"a": ".a"}), "dotted path"),
        (lambda: CancelOn("gone", match={"a": ANY}), "dotted path"),
        (lambda: Trigger(""), "name of a signal"),
        (lambda: Trigger("came", {"a..b": 1}), "dotted path"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(make: Callable[[], object], said: str) -> None:
    """Where it is written, with what would be right."""
    with pytest.raises(ValueError, match=said):
        make()


def test_durations_are_seconds_or_a_timedelta() -> None:
    """The same either way, and None where nothing is limited."""
    assert Throttle(4, 60).interval == Throttle(4, timedelta(minutes=1)).interval == 15
    both = Timeout(start=90, finish=timedelta(hours=1))
    assert (both.start_within, both.finish_within) == (90, 3600)
    assert Timeout(start=1).finish_within is None
    assert Timeout(finish=1).start_within is None


def starts(throttle: Throttle, arrivals: list[float]) -> list[float]:
    """When runs start that come at these times, in order, each as soon as it may."""
    found: list[float] = []
    used_until, last = 0.0, 0.0
    for arrival in sorted(arrivals):
        last = max(arrival, last, throttle.earliest(used_until))
        used_until = throttle.used(used_until, last)
        found.append(last)
    return found


def test_starts_are_spread_evenly_after_a_burst() -> None:
    """Six runs come at once: two start, the others each a quarter of the period after the last."""
    throttle = Throttle(4, 60, burst=2)
    assert starts(throttle, [1000] * 6) == [1000, 1000, 1015, 1030, 1045, 1060]
    assert starts(Throttle(4, 60), [1000, 1000, 1100]) == [1000, 1015, 1100]


@given(
    limit=st.integers(1, 20),
    burst=st.integers(1, 8),
    interval=st.integers(1, 1000),
    arrivals=st.lists(st.integers(1, 20_000), max_size=80),
)
def test_a_window_holds_no_more_than_the_limit_and_the_burst(
    limit: int, burst: int, interval: int, arrivals: list[float]
) -> None:
    """Wherever a window as long as the period begins; and nobody waits longer than the rate asks.

    A start must come after enough intervals to pay for all starts since any other, but the burst.
    """
    throttle = Throttle(limit, limit * interval, burst=burst)
    found = starts(throttle, arrivals)
    for index, start in enumerate(found):
        inside = bisect.bisect_left(found, start + limit * interval) - index
        assert inside <= limit + burst - 1
    for index, arrival in enumerate(sorted(arrivals)):
        crowded = (
            found[first] + (index - first - burst + 1) * interval
            for first in range(index - burst + 1)
        )
        assert found[index] == max([arrival, *found[:index][-1:], *crowded])


INPUT = {"order": {"id": 7, "note": None}, "user": "ann"}


@pytest.mark.parametrize(
    ("match", "wanted"),
    [
        (None, {}),
        ("order.id", {"order.id": 7}),
        ({"id": "order.id", "who": "user"}, {"id": 7, "who": "ann"}),
        ("order.note", {"order.note": None}),
        ("order.other", None),
        ({"id": "order.id", "who": "user.name"}, None),
    ],
)
def test_a_cancelling_signal_must_equal_the_input(match: Any, wanted: object) -> None:
    """At each path; an input that lacks the value is canceled by no signal."""
    assert CancelOn("gone", match).wanted(INPUT) == wanted


def test_a_trigger_fits_signals_of_its_name_with_equal_fields() -> None:
    """The name alone will do if nothing is to match."""
    trigger = Trigger("file.stored", {"file.kind": "photo", "size": 1})
    assert trigger.fits("file.stored", {"file": {"kind": "photo", "name": "x"}, "size": 1})
    assert not trigger.fits("file.gone", {"file": {"kind": "photo"}, "size": 1})
    assert not trigger.fits("file.stored", {"file": {"kind": "photo"}})
    assert not trigger.fits("file.stored", None)
    assert Trigger("file.stored").fits("file.stored", None)
