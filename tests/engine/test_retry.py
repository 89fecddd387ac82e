"""When a failed attempt is tried again."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy import Permanent, Retry, Transient

CHANCE = random.Random(1)


@given(
    attempt=st.integers(1, 500),
    first=st.just(0.0) | st.floats(1e-3, 1e6),
    factor=st.floats(1, 1e6),
    maximum=st.floats(0, 1e6),
)
def test_a_delay_is_within_its_bounds(
    attempt: int, first: float, factor: float, maximum: float
) -> None:
    """The upper half of the exponential, never above the maximum, whatever the numbers."""
    retry = Retry(attempts=1000, first=first, factor=factor, maximum=maximum)
    delay = retry.delay(attempt, ValueError(), CHANCE)
    assert delay is not None
    exact = Fraction(first) * Fraction(factor) ** (attempt - 1)
    full = float(min(Fraction(maximum), exact))
    assert full / 2 * 0.999 <= delay <= full * 1.001


def test_retry_after_beats_the_policy() -> None:
    """Also above the maximum; never below zero."""
    retry = Retry(maximum=1)
    assert retry.delay(1, Transient("", retry_after=90), CHANCE) == 90
    assert retry.delay(1, Transient("", retry_after=-1), CHANCE) == 0


def test_the_last_attempt_has_no_delay() -> None:
    """Attempts run out, and permanent errors have none; any error may say that it is permanent."""

    class Final(Exception):
        retriable = False

    assert Retry(attempts=3).delay(2, ValueError(), CHANCE) is not None
    assert Retry(attempts=3).delay(3, ValueError(), CHANCE) is None
    assert Retry().delay(1, Permanent(""), CHANCE) is None
    assert Retry().delay(1, Final(), CHANCE) is None


@pytest.mark.parametrize(
    "values", [{"attempts": 0}, {"first": -1}, {"factor": 0.5}, {"maximum": -1}]
)
def test_a_policy_that_makes_no_sense_is_refused(values: dict[str, float]) -> None:
    """At once, not at the first failure."""
    with pytest.raises(ValueError, match="attempts >= 1"):
        Retry(**values)  # type: ignore[arg-type]
