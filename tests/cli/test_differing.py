"""Where the code and the journal differ, whatever the difference."""

from __future__ import annotations

from typing import Any

import pytest

from understudy.cli.differing import difference, ways_on
from understudy.cli.session import Session


def remembered(*keys: str) -> list[dict[str, Any]]:
    """Steps of these keys."""
    return [{"key": key, "kind": "step"} for key in keys]


@pytest.mark.parametrize(
    ("expected", "found", "lines"),
    [
        ("b", "x", ["  a", "- b", "+ x", "  c"]),
        ("c", None, ["  a", "  b", "- c", "+ the operation ends"]),
        ("step b", "wait b", ["  a", "- step b", "+ wait b", "  c"]),
        (None, "x", ["  a", "  b", "  c", "- nothing more", "+ x"]),
    ],
)
def test_the_difference_stands_where_it_is(
    expected: str | None, found: str | None, lines: list[str]
) -> None:
    """Another step, none, another kind of step, or one more."""
    waits = {"expected": expected, "found": found}
    assert list(difference(remembered("a", "b", "c"), waits))[1:] == lines


def test_a_long_journal_is_shown_around_the_difference() -> None:
    """Five steps before and after it, and how many others."""
    steps = remembered(*map(str, range(100)))
    lines = list(difference(steps, {"expected": "50", "found": "x"}))[1:]
    assert lines[0] == "  … 45 steps before"
    assert lines[1:6] == [f"  {n}" for n in range(45, 50)]
    assert lines[6:8] == ["- 50", "+ x"]
    assert lines[-1] == "  … 44 steps after"


def test_without_a_step_there_is_nothing_to_fork_from() -> None:
    """The other ways are still named."""
    waits = {"expected": None, "found": "x"}
    told = "\n".join(ways_on(Session(), {"id": "run_1", "steps": [], "waiting_for": waits}))
    assert "runs resume run_1" in told
    assert "runs cancel run_1" in told
    assert "fork" not in told
