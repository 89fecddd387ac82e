"""Identifiers: a readable prefix, then Crockford base32, which sorts and survives a URL."""

from __future__ import annotations

import base64
import os
import random as chance
import secrets

# Seeded by the system, which costs as much to ask as all the rest of an id.
_unique = chance.Random()
os.register_at_fork(after_in_child=_unique.seed)

_CROCKFORD = bytes.maketrans(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"0123456789abcdefghjkmnpqrstvwxyz"
)


def _base32(number: int) -> str:
    """130 bits as 26 characters; the same order as the numbers'."""
    # The standard library writes groups of 40 bits: fill up to four of them, cut the rest off.
    padded = (number << 30).to_bytes(20, "big")
    return base64.b32encode(padded)[:26].translate(_CROCKFORD).decode()


def ordered(prefix: str, now: float) -> str:
    """An id that sorts by `now` (seconds): 48 bits of milliseconds, then 80 random bits.

    It is unique, and may be guessed.

    The layout of a ULID (github.com/ulid/spec): `run_01kafy…`, 26 characters after the prefix.
    """
    number = (int(now * 1000) & (2**48 - 1)) << 80 | _unique.getrandbits(80)
    return f"{prefix}_{_base32(number)}"


def random(prefix: str) -> str:
    """An id that nobody can guess: 130 random bits, for what a link may name."""
    return f"{prefix}_{_base32(secrets.randbits(130))}"
