"""Values in words."""

from __future__ import annotations

import pytest

from understudy.web.dashboard import words


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "\N{EN DASH}"),
        (-3, "0 ms"),
        (0.34, "340 ms"),
        (0.9996, "1.0 s"),
        (2.44, "2.4 s"),
        (9.96, "10 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (7800, "2 h 10 min"),
        (86_400 * 4 + 3 * 3600, "4 d 3 h"),
    ],
)
def test_durations_are_read_at_a_glance(seconds: float | None, text: str) -> None:
    """Two units at most, the finer one only where it matters."""
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (3_100_000, "3.1 MB"), (512e6, "512 MB"), (2e12, "2.0 TB")],
)
def test_sizes_are_read_at_a_glance(count: float, text: str) -> None:
    """Decimal units, as disks and browsers count."""
    assert words.size(count) == text


def test_shares_are_honest() -> None:
    """100 % is said of all only, and nothing of nothing."""
    assert words.share(1999, 2000) == "100.0 %"
    assert words.share(2, 2) == "100 %"
    assert words.share(0, 4) == "0 %"
    assert words.share(0, 0) == "\N{EN DASH}"


def test_numbers_agree_with_their_word() -> None:
    """One run, two runs, thousands apart."""
    assert words.plural(1, "run") == "1 run"
    assert words.plural(1200, "run") == "1,200 runs"
    assert words.count(1234567) == "1,234,567"


def test_times_are_readable_without_scripts() -> None:
    """The text is a time in UTC; the attribute is what scripts read."""
    assert words.when(None) == "\N{EN DASH}"
    assert 'datetime="1970-01-01T00:00:01.500Z"' in words.when(1.5)
    assert "1970-01-01 00:00:01 UTC</time>" in words.when(1.5)
    assert ">00:00:01</time>" in words.clock(1.5)


def test_long_json_is_cut() -> None:
    """A page stays readable whatever a step returned."""
    assert words.pretty({"a": "ä"}) == '{\n  "a": "ä"\n}'
    assert words.plain([1, "ä"]) == '[1, "ä"]'
    long = words.pretty_text('"' + "x" * 50_000 + '"')
    assert len(long) < 21_000
    assert long.endswith("the API has the whole")
