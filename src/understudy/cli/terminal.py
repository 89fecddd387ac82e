"""What the terminal is shown: text made safe, times and sizes made short, tables and JSON.

File names, notes and error messages come from strangers. Nothing they contain may move the cursor,
recolour the screen or turn the direction of the text, so all of it passes through `clean`.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

# Joiners shape letters and emoji; every other invisible character is an attack or an accident.
_JOINERS = frozenset("\u200c\u200d")
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_SPACES = frozenset("\t\n\r\v\f")
_COLOURS = {"succeeded": "green", "failed": "red", "canceled": "yellow"}


def clean(text: object) -> str:
    r"""The text on one line, with each invisible character shown as its code: `\x1b[31m`."""
    return "".join(_visible(character) for character in str(text))


def _visible(character: str) -> str:
    if character in _SPACES:
        return " "
    if character in _JOINERS or unicodedata.category(character) not in _HIDDEN:
        return character
    return (
        character.encode("ascii", "backslashreplace").decode()
        if character > "\x7f"
        else (f"\\x{ord(character):02x}")
    )


def say(text: object) -> None:
    """One line of the result, on stdout."""
    _write(sys.stdout, clean(text))


def tell(text: object) -> None:
    """One line about the work, on stderr."""
    _write(sys.stderr, clean(text))


def _write(stream: TextIO, line: str) -> None:
    encoding = stream.encoding or "utf-8"
    stream.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    stream.flush()


def say_json(value: object, *, lines: bool = False) -> None:
    """A JSON document on stdout, in ASCII: valid in any locale and harmless to any terminal."""
    _write(sys.stdout, json.dumps(value, indent=None if lines else 2))


def say_table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Rows under headings; on a terminal they fit its width, in a pipe nothing is cut."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 10_000
    table = Table(*headings, box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for row in rows:
        table.add_row(*(cell(value) for value in row))
    console.print(table)


def cell(value: object) -> Text:
    """A table's cell: clean, and in its colour if it is a state."""
    text = clean("" if value is None else value)
    return Text(text, style=_COLOURS.get(text, ""), overflow="fold")


def duration(seconds: float) -> str:
    """Seconds as a person says them: 0.42 s, 12.3 s, 4 min 5 s, 3 h 10 min."""
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def size(octets: int) -> str:
    """Bytes as a person says them: 512 B, 34.1 kB, 5.2 MB."""
    amount = float(octets)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def between(start: str | None, end: str | None) -> str:
    """How long it took from one RFC 3339 time to another; nothing if either is missing."""
    if start is None or end is None:
        return ""
    passed = datetime.fromisoformat(end) - datetime.fromisoformat(start)
    return duration(passed.total_seconds())


def moment(seconds: float) -> str:
    """A time in the reader's own zone, to the second."""
    return datetime.fromtimestamp(seconds).astimezone().isoformat(" ", "seconds")


def progress(value: Mapping[str, Any] | None) -> str:
    """`{"done", "total", "note"}` in a few words: `3/12 pairs`."""
    if not value:
        return ""
    return f"{value['done']:g}/{value['total']:g} {value.get('note') or ''}".strip()
