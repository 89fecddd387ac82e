"""How people order file names."""

from __future__ import annotations

import re

_DIGITS = re.compile(r"([0-9]+)")


def natural_key(name: str) -> tuple[object, ...]:
    """A sorting key in which img2 comes before img10, whatever the case; folders stay together."""
    parts = tuple(
        tuple(
            # A number sorts by its length and digits: no int, whose size a name could abuse.
            (0, len(digits := piece.lstrip("0")), digits)
            if piece[:1].isdecimal()
            else (1, 0, piece)
            for piece in _DIGITS.split(part.casefold())
            if piece
        )
        for part in name.split("/")
    )
    return (parts, name)
