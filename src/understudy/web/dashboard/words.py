"""Values as people read them: durations, sizes, times, and the tone that a status is shown in."""

from __future__ import annotations

import json
from typing import Any

from markupsafe import Markup

from understudy.clock import iso

_TONES = {
    "succeeded": "good",
    "failed": "bad",
    "running": "busy",
    "waiting": "wait",
    "retry": "wait",
    "active": "good",
    "expired": "wait",
    "revoked": "idle",
}
NOTHING = "\N{EN DASH}"
"""What stands where there is no value."""

_UNITS = ("kB", "MB", "GB", "TB")
_LONGEST = 20_000
"""Characters of a JSON value that a page shows; the rest can be downloaded."""


def tone(status: str) -> str:
    """The colour that a status has: good, bad, busy, wait or idle."""
    return _TONES.get(status, "idle")


def duration(seconds: float | None) -> str:
    """`340 ms`, `2.4 s`, `3 min 05 s`, `2 h 10 min`, `4 d 3 h`; a dash for None."""
    if seconds is None:
        return NOTHING
    if seconds < 0.9995:
        return f"{max(0.0, seconds) * 1000:.0f} ms"
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def size(count: float) -> str:
    """`812 B`, `3.1 MB`."""
    if count < 1000:
        return f"{count:.0f} B"
    for unit in _UNITS:
        count /= 1000
        if count < 999.5 or unit == _UNITS[-1]:
            break
    return f"{count:.1f} {unit}" if count < 99.5 else f"{count:.0f} {unit}"


def share(part: float, whole: float) -> str:
    """`98.5 %`; a dash of nothing."""
    if not whole:
        return NOTHING
    percent = 100 * part / whole
    return f"{percent:.0f} %" if percent in {0.0, 100.0} else f"{percent:.1f} %"


def count(number: float) -> str:
    """`1,234`."""
    return f"{number:,.0f}"


def plural(number: int, word: str) -> str:
    """`1 run`, `3 runs`."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def when(seconds: float | None) -> Markup | str:
    """A time that scripts turn into `3 min ago`; without them it is in UTC."""
    return NOTHING if seconds is None else _time(seconds, "data-ago", f"{_minute(seconds)} UTC")


def clock(seconds: float) -> Markup:
    """A time of the day, in UTC until a script knows better."""
    return _time(seconds, "data-clock", iso(seconds)[11:19])


def pretty(value: Any) -> str:
    """JSON over several lines, cut where it is very long."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}\n… cut; the API has the whole"


def plain(value: Any) -> str:
    """JSON on one line."""
    return json.dumps(value, ensure_ascii=False)


def pretty_text(text: str) -> str:
    """The same of JSON text."""
    return pretty(json.loads(text))


def _time(seconds: float, how: str, text: str) -> Markup:
    return Markup('<time datetime="{0}" {1}="" title="{2} UTC">{3}</time>').format(
        iso(seconds), how, _minute(seconds), text
    )


def _minute(seconds: float) -> str:
    return iso(seconds)[:19].replace("T", " ")
