"""Dotted paths into JSON: `order.user` is the field `user` of the object at `order`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

ABSENT: Final = object()
"""What a path that leads nowhere leads to; equal to nothing that JSON holds."""


def value_at(data: Any, path: str) -> Any:
    """The value that `path` leads to in `data`, or `ABSENT`. Lists are not entered."""
    for part in path.split("."):
        if not isinstance(data, Mapping) or part not in data:
            return ABSENT
        data = data[part]
    return data


def matches(data: Any, match: Mapping[str, Any]) -> bool:
    """Whether every path of `match` leads to an equal value in `data`."""
    return all(value_at(data, path) == expected for path, expected in match.items())


def check_path(path: str, what: str) -> None:
    """Raise `ValueError` for what is no path; `what` says in the message whose path it is."""
    if not isinstance(path, str) or not all(path.split(".")):
        raise ValueError(f"{what} is a dotted path such as 'order.user', not {path!r}")
