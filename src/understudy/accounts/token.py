"""The form of a bearer key: `us_`, 30 random characters, and 6 that check them.

About 178 random bits; the check finds a typing error without asking anybody, and lets scanners for
leaked secrets be sure of what they found. The underscore lets a double click select the whole.
"""

from __future__ import annotations

import hashlib
import secrets
import zlib

PREFIX = "us_"

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_KNOWN = frozenset(_ALPHABET)
_RANDOM = 30
_CHECK = 6
_LENGTH = len(PREFIX) + _RANDOM + _CHECK


def fresh() -> str:
    """A new token, which nobody can guess."""
    body = "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM))
    return f"{PREFIX}{body}{_check_of(body)}"


def is_whole(token: str) -> bool:
    """Whether it has the form of a token, and its check fits: no typing error, nothing cut off."""
    if len(token) != _LENGTH or not token.startswith(PREFIX) or not _KNOWN.issuperset(token[3:]):
        return False
    body = token[len(PREFIX) : -_CHECK]
    return token[-_CHECK:] == _check_of(body)


def hash_of(token: str) -> str:
    """What is stored of it: SHA-256 in hexadecimal digits.

    A plain hash will do: so many random bits cannot be tried out.
    """
    return hashlib.sha256(token.encode()).hexdigest()


def hint_of(token: str) -> str:
    """Its last four characters, by which its owner knows it again."""
    return token[-4:]


def _check_of(body: str) -> str:
    number = zlib.crc32(body.encode())
    digits = ""
    for _ in range(_CHECK):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
