"""How often somebody may fail to sign in."""

from __future__ import annotations

import pytest

from understudy.accounts.attempts import KEPT, WINDOW, Attempts
from understudy.clock import ManualClock
from understudy.errors import TooMany


def test_an_address_that_fails_too_often_must_wait(clock: ManualClock) -> None:
    """To the end of the window, which the error says; others need not."""
    attempts = Attempts(clock, from_one=3, from_all=100)
    assert all(attempts.failed("192.0.2.1") for _ in range(3))
    clock.advance(100)
    with pytest.raises(TooMany) as caught:
        attempts.check("192.0.2.1")
    assert caught.value.retry_after == WINDOW - 100
    assert not attempts.failed("192.0.2.1")  # not worth a line any more
    attempts.check("192.0.2.2")
    clock.advance(WINDOW - 100)
    attempts.check("192.0.2.1")
    assert attempts.failed("192.0.2.1")


def test_many_addresses_together_must_wait(clock: ManualClock) -> None:
    """Somebody with a thousand addresses gets no thousand times as far."""
    attempts = Attempts(clock, from_one=3, from_all=5)
    assert all(attempts.failed(f"192.0.2.{n}") for n in range(5))
    with pytest.raises(TooMany):
        attempts.check("198.51.100.1")
    assert not attempts.failed("198.51.100.1")
    clock.advance(WINDOW)
    attempts.check("198.51.100.1")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2", True),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("unknown", "unknown", True),
    ],
)
def test_who_counts_as_one_address(one: str, other: str, same: bool, clock: ManualClock) -> None:
    """A customer of an IPv6 network has 2^64 of them, and the same machine two ways to write it."""
    attempts = Attempts(clock, from_one=1, from_all=100)
    attempts.failed(one)
    if same:
        with pytest.raises(TooMany):
            attempts.check(other)
    else:
        attempts.check(other)


def test_the_memory_of_addresses_is_bounded(clock: ManualClock) -> None:
    """The oldest are forgotten first."""
    attempts = Attempts(clock, from_one=1, from_all=10 * KEPT)
    for number in range(KEPT + 1):
        attempts.failed(f"address {number}")
    attempts.check("address 0")
    with pytest.raises(TooMany):
        attempts.check(f"address {KEPT}")
