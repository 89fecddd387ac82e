"""Durations and times as a person types them: `90`, `2h`, `2026-11-22`, `2026-11-22T14:00`."""

from __future__ import annotations

import re
from datetime import datetime

from understudy.errors import InputError

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d|w)?")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}


def seconds_of(text: str, option: str) -> float:
    """A duration in seconds: `90`, `90s`, `15m`, `2h`, `1d`, `1w`. Raises `InputError`."""
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise InputError(f"{option} {text}: write a duration like 90, 15m, 2h or 1d")
    return float(found[1]) * _SECONDS[found[2] or "s"]


def moment_of(text: str, option: str, *, now: float) -> float:
    """A time as seconds since 1970: an ISO 8601 time, local without a zone, or how long ago.

    Raises `InputError`.
    """
    if _DURATION.fullmatch(text.strip()):
        return now - seconds_of(text, option)
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError) as error:
        raise InputError(
            f"{option} {text}: write a time like 2026-11-22T14:00, or how long ago, like 2h"
        ) from error
