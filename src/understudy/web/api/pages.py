"""Pages of a list: keyset, with tokens that say where the next one begins and for what question."""

from __future__ import annotations

import base64
import binascii
import hashlib

from understudy.web.problem import MalformedError

_TAG = 6


def token_for(last_id: str, question: str) -> str:
    """The token of the page after `last_id`, good for this question alone."""
    return base64.urlsafe_b64encode(_tag(last_id, question) + last_id.encode()).decode().rstrip("=")


def place_of(token: str, question: str) -> str:
    """The id after which the page begins. Raises `MalformedError`.

    A token does not keep a stranger out, and need not: the tenant is always the asker's own.
    """
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), b"-_", validate=True)
        last_id = raw[_TAG:].decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        last_id, raw = "", b""
    if not last_id or _tag(last_id, question) != raw[:_TAG]:
        raise MalformedError(
            "the page token is none of this list: take `next` of an answer, and ask for the same",
            "query:page",
        )
    return last_id


def _tag(last_id: str, question: str) -> bytes:
    return hashlib.sha256(f"{question}\0{last_id}".encode()).digest()[:_TAG]
