"""How often a key may ask."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.accounts.limits import KEPT, Limits
from understudy.accounts.principal import Principal, implied
from understudy.clock import ManualClock
from understudy.errors import TooMany


def caller(
    name: str = "key_1", per_minute: int | None = None, at_once: int | None = None
) -> Principal:
    """Somebody with a key."""
    return Principal("acme", name, "ci", implied(["read"]), per_minute, at_once)


def refused(limits: Limits) -> float | None:
    """The seconds that a request is told to wait; None when it is let in."""
    try:
        limits.enter(caller()).leave()
    except TooMany as error:
        return error.retry_after
    return None


def test_a_caller_that_asks_too_often_is_told_when_to_come(clock: ManualClock) -> None:
    """And is let in then; others are not kept waiting by him."""
    limits = Limits(clock, per_minute=6, at_once=100)
    for _ in range(6):
        limits.enter(caller()).leave()
    with pytest.raises(TooMany, match="6 times a minute") as caught:
        limits.enter(caller())
    assert caught.value.retry_after == 10
    limits.enter(caller("key_2")).leave()
    clock.advance(9.9)
    with pytest.raises(TooMany):
        limits.enter(caller())
    clock.advance(0.1)
    limits.enter(caller()).leave()
    clock.advance(3600)  # who stays away saves nothing up
    assert [refused(limits) for _ in range(7)] == [None] * 6 + [10]


def test_a_caller_has_so_many_requests_at_once(clock: ManualClock) -> None:
    """One more is let in when one of them has ended; those refused count for nothing."""
    limits = Limits(clock, per_minute=100, at_once=2)
    first, _ = limits.enter(caller()), limits.enter(caller())
    for _ in range(3):
        with pytest.raises(TooMany, match="2 times at once") as caught:
            limits.enter(caller())
    assert caught.value.retry_after == 1
    assert '"requests";r=98' in limits.of(caller()).headers["RateLimit"]
    first.leave()
    limits.enter(caller())


def test_a_key_s_own_limits_go_before(clock: ManualClock) -> None:
    """Also when they are changed while it is used."""
    limits = Limits(clock, per_minute=1, at_once=1)
    for _ in range(3):
        limits.enter(caller(per_minute=3, at_once=3))
    with pytest.raises(TooMany):
        limits.enter(caller(per_minute=2, at_once=100))


def test_the_headers_say_what_is_left(clock: ManualClock) -> None:
    """As the draft writes them: quota and window, what is left, and when there is more."""
    limits = Limits(clock, per_minute=60, at_once=5)
    assert limits.of(caller()).headers == {
        "RateLimit-Policy": '"requests";q=60;w=60, "at-once";q=5;qu="concurrent-requests"',
        "RateLimit": '"requests";r=60;t=0, "at-once";r=5',
    }
    allowance = limits.enter(caller())
    assert allowance.headers["RateLimit"] == '"requests";r=59;t=1, "at-once";r=4'
    allowance.leave()
    for _ in range(59):
        limits.enter(caller()).leave()
    assert allowance.headers["RateLimit"] == '"requests";r=0;t=1, "at-once";r=5'


@given(
    st.integers(1, 1000),
    st.lists(st.floats(-5, 90, allow_nan=False), min_size=1, max_size=200),
)
def test_nobody_gets_more_than_a_bucket_and_its_refill(rate: int, pauses: list[float]) -> None:
    """Whatever the pauses, and if the clock is set back; and who comes when told is let in."""
    clock = ManualClock()
    limits = Limits(clock, per_minute=rate, at_once=10)
    forward, granted = 0.0, 0
    for pause in pauses:
        clock.advance(pause)
        forward += max(0.0, pause)
        wait = refused(limits)
        if wait:
            assert 1 <= wait <= 60
            clock.advance(wait)
            forward += wait
            assert not refused(limits)
        granted += 1
    assert granted <= rate + forward * rate / 60 + 1e-6


def test_a_clock_that_is_set_back_takes_nothing_away(clock: ManualClock) -> None:
    """Nobody waits for it to come to where it was."""
    limits = Limits(clock, per_minute=60, at_once=5)
    limits.enter(caller()).leave()
    clock.advance(-3600)
    assert not refused(limits)
    assert limits.of(caller()).left == 58


def test_the_memory_of_callers_is_bounded(clock: ManualClock) -> None:
    """Those who ask for nothing now are forgotten, those inside are not."""
    limits = Limits(clock, per_minute=60, at_once=5)
    inside = limits.enter(caller("key_0"))
    for number in range(1, KEPT):
        limits.enter(caller(f"key_{number}")).leave()
    clock.advance(60)
    limits.enter(caller("key_new"))
    assert len(limits._of) == 2
    assert limits.of(caller("key_0")) is inside
