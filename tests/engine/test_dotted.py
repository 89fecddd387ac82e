"""Dotted paths into JSON."""

from __future__ import annotations

from typing import Any

import pytest

from understudy.engine.dotted import ABSENT, check_path, matches, value_at


@pytest.mark.parametrize(
    ("data", "match", "expected"),
    [
        ({"a": 1}, {}, True),
        (None, {}, True),
        ({"a": {"b": [1]}}, {"a.b": [1]}, True),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, False),
        ({"a": None}, {"a": None}, True),
        ({}, {"a": None}, False),
        ({"a": 1}, {"a.b": 1}, False),
        ("text", {"a": 1}, False),
    ],
)
def test_a_match_needs_every_field(data: Any, match: dict[str, Any], *, expected: bool) -> None:
    """Dotted paths lead into objects; what is absent equals nothing."""
    assert matches(data, match) is expected


def test_a_path_leads_to_a_value_or_nowhere() -> None:
    """None is a value; lists and texts are not entered."""
    data = {"a": {"b": None, "c": [1]}, "a.b": 1}
    assert value_at(data, "a.b") is None
    assert value_at(data, "a.c") == [1]
    for path in ("a.c.0", "a.d", "b", "a.b.c"):
        assert value_at(data, path) is ABSENT


@pytest.mark.parametrize("path", ["", ".", "a.", ".a", "a..b", None, 5])
def test_what_is_no_path_is_refused(path: Any) -> None:
    """The message says whose it is."""
    with pytest.raises(ValueError, match=r"the key is a dotted path such as 'order.user', not"):
        check_path(path, "the key")
    check_path("a.b", "the key")
