"""Durations and times as people type them."""

from __future__ import annotations

from datetime import datetime

import pytest

from understudy.cli.times import moment_of, seconds_of
from understudy.errors import InputError

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("0.5m", 30), ("2h", 7200), ("1d", 86_400), ("2 w", 1_209_600)],
)
def test_a_duration_has_a_unit_or_is_seconds(text: str, seconds: float) -> None:
    """One number and one letter."""
    assert seconds_of(text, "--delay") == seconds


@pytest.mark.parametrize("text", ["", "h", "2 hours", "-1h", "1h30m", "tomorrow"])
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    """The message names the option and what would have done."""
    with pytest.raises(InputError, match=r"^--delay .*: write a duration like 90, 15m, 2h or 1d$"):
        seconds_of(text, "--delay")


def test_a_time_is_how_long_ago_or_a_date() -> None:
    """A zone is taken at its word; without one the reader's own is meant."""
    assert moment_of("2h", "--since", now=NOW) == NOW - 7200
    assert moment_of("2026-11-22T14:00:00Z", "--since", now=NOW) == 1_795_356_000.0
    local = datetime(2026, 11, 22).astimezone().timestamp()
    assert moment_of("2026-11-22", "--since", now=NOW) == local
    with pytest.raises(InputError, match=r"^--until noon: write a time like"):
        moment_of("noon", "--until", now=NOW)
