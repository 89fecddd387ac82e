"""Text from strangers is made harmless, and numbers are made readable."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.cli import terminal


@given(st.text())
def test_clean_text_has_nothing_that_a_terminal_obeys(text: str) -> None:
    """Whatever a stranger wrote: one line, no control, no direction mark, always encodable."""
    shown = terminal.clean(text)
    shown.encode("utf-8")
    hidden = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert not [c for c in shown if unicodedata.category(c) in hidden and c not in "\u200c\u200d"]


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x9b31mred", "\\x9b31mred"),
        ("two\nlines\r", "two lines "),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("\udcff.jpg", "\\udcff.jpg"),
        ("[bold]not markup[/bold]", "[bold]not markup[/bold]"),
        ("Фото 1 — ночь.jpg", "Фото 1 — ночь.jpg"),
        ("👩\u200d🚀", "👩\u200d🚀"),
    ],
)
def test_clean_shows_what_it_neutralises(hostile: str, shown: str) -> None:
    """An escape sequence is seen as its code, and honest text in any script is left alone."""
    assert terminal.clean(hostile) == shown


def test_json_is_ascii_and_unchanged_in_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON on stdout cannot steer a terminal, and reads back to the same value."""
    value = {"name": "\x9b31m\u202eимя", "n": [1, None]}
    terminal.say_json(value)
    printed = capsys.readouterr().out
    assert printed.isascii()
    assert json.loads(printed) == value


def test_a_table_in_a_pipe_is_never_cut(capsys: pytest.CaptureFixture[str]) -> None:
    """Long cells keep to one line each, so that scripts can read a table."""
    terminal.say_table(("NAME", "NOTE"), [("a", "x" * 500), ("b", "\x1b[2J[red]")])
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == ["NAME", "NOTE"]
    assert first.split() == ["a", "x" * 500]
    assert second.split() == ["b", "\\x1b[2J[red]"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.123, "0.12 s"), (12.34, "12.3 s"), (245, "4 min 5 s"), (11_400, "3 h 10 min")],
)
def test_durations_are_said_as_people_say_them(seconds: float, words: str) -> None:
    """Two units at most, and no more digits than matter."""
    assert terminal.duration(seconds) == words


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (34_120, "34.1 kB"),
        (5_200_000, "5.2 MB"),
        (2 * 10**15, "2000.0 TB"),
    ],
)
def test_sizes_are_said_in_units_of_thousands(octets: int, words: str) -> None:
    """Bytes are exact below a kilobyte and rounded above."""
    assert terminal.size(octets) == words


def test_the_time_between_two_moments_needs_both() -> None:
    """A run that has not ended has taken no time that one could name."""
    start, end = "2026-11-22T14:26:46.000Z", "2026-11-22T14:26:58.500Z"
    assert terminal.between(start, end) == "12.5 s"
    assert terminal.between(start, None) == ""


def test_progress_is_said_with_its_unit() -> None:
    """Whole numbers lose their fraction; no progress is no text."""
    assert terminal.progress({"done": 3.0, "total": 12.0, "note": "pairs"}) == "3/12 pairs"
    assert terminal.progress({"done": 0.5, "total": 2, "note": ""}) == "0.5/2"
    assert terminal.progress(None) == ""
