"""Signatures with shared secrets: of webhooks, and of links that expire.

Webhooks follow Standard Webhooks 1.0.0: the headers `webhook-id` (the same for every try, so that
a receiver can tell what it has seen), `webhook-timestamp` (of this try) and `webhook-signature`
(`v1,BASE64`, several while a secret is replaced) over `{id}.{timestamp}.{body}`, with HMAC-SHA256
under the bytes of `whsec_BASE64`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence

_PREFIX = "whsec_"
_VERSION = "v1"
_BYTES = 32
_SHORTEST = 16  # bytes of a secret; fewer could be guessed
_MOST_SIGNATURES = 16
_MOST_DIGITS = 15

ID = "webhook-id"
TIMESTAMP = "webhook-timestamp"
SIGNATURE = "webhook-signature"


class BadSignature(ValueError):
    """What was signed is not what came, or not by whom, or not now. The message may be shown."""


def new_secret() -> str:
    """A webhook secret of 256 random bits: `whsec_…`."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_BYTES)).decode()


def sign(secret: str, id: str, timestamp: int, body: bytes) -> str:  # noqa: A002 - the header's name
    """One signature, `v1,BASE64`. `timestamp` is in seconds since 1970.

    Raises ValueError for an id with a dot, which would let two messages look the same, and for a
    secret that is none.
    """
    if not id or "." in id:
        raise ValueError(f"a webhook's id has no dot and is not empty: {id!r}")
    return _signature(_key(secret), _signed(id, timestamp, body))


def signed_headers(
    given: str | Sequence[str],
    id: str,  # noqa: A002 - the header's name
    timestamp: int,
    body: bytes,
) -> dict[str, str]:
    """The three headers of a webhook, with a signature for each secret given."""
    signatures = [sign(secret, id, timestamp, body) for secret in _several(given)]
    return {ID: id, TIMESTAMP: str(timestamp), SIGNATURE: " ".join(signatures)}


def verify(
    secret: str | Sequence[str],
    headers: Mapping[str, str],
    body: bytes,
    now: float,
    tolerance: float = 300.0,
) -> str:
    """The id of a webhook that was signed with a secret of ours, at most `tolerance` seconds ago.

    `body` is what came, byte for byte, before any parsing; `headers` may be in any case; `now` is
    in seconds since 1970. With several secrets, one that fits is enough. An id that was seen before
    is the same webhook again. Raises BadSignature, and ValueError for a secret that is none.
    """
    keys = [_key(one) for one in _several(secret)]
    found = {name.lower(): value for name, value in headers.items()}
    missing = [name for name in (ID, TIMESTAMP, SIGNATURE) if not found.get(name)]
    if missing:
        raise BadSignature(f"the header {missing[0]} is missing")
    timestamp = _seconds(found[TIMESTAMP])
    if timestamp is None:
        raise BadSignature(f"the header {TIMESTAMP} is not a number of seconds")
    if abs(now - timestamp) > tolerance:
        raise BadSignature(f"it was signed more than {tolerance:g} seconds before or after now")
    signed = _signed(found[ID], timestamp, body)
    wanted = [_signature(key, signed) for key in keys]
    given = found[SIGNATURE].split()[:_MOST_SIGNATURES]
    # All are compared, so that the time taken does not tell which one came near.
    if not sum(hmac.compare_digest(a.encode(), b.encode()) for a in wanted for b in given):
        raise BadSignature("no signature fits the body and the secret")
    return found[ID]


def sign_link(secret: str, path: str, expires: int) -> str:
    """The query that lets whoever has it read `path` until `expires` (seconds since 1970).

    `expires=…&signature=…`; all else that the answer depends on belongs into `path`.
    """
    return f"expires={expires}&signature={_link_signature(secret, path, expires)}"


def check_link(secret: str, path: str, expires: str, signature: str, now: float) -> None:
    """Raise BadSignature unless `sign_link` made this for `path`, and its time is not over."""
    until = _seconds(expires)
    if until is None:
        raise BadSignature("the link does not say when it expires")
    wanted = _link_signature(secret, path, until)
    if not hmac.compare_digest(wanted.encode(), signature.encode("utf-8", "replace")):
        raise BadSignature("the link was not made here, or was changed")
    if now >= until:
        raise BadSignature("the link has expired")


def _link_signature(secret: str, path: str, expires: int) -> str:
    mac = _mac(secret.encode(), f"link\n{expires}\n{path}".encode())
    return base64.urlsafe_b64encode(mac).decode().rstrip("=")


def _signed(id: str, timestamp: int, body: bytes) -> bytes:  # noqa: A002
    return f"{id}.{timestamp}.".encode("utf-8", "replace") + body


def _signature(key: bytes, signed: bytes) -> str:
    return f"{_VERSION},{base64.b64encode(_mac(key, signed)).decode()}"


def _seconds(text: str) -> int | None:
    """A whole number of seconds as we write it, and no other way of writing one."""
    plain = text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS
    return int(text) if plain else None


def _several(given: str | Sequence[str]) -> Sequence[str]:
    return [given] if isinstance(given, str) else given


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) < _SHORTEST:
        raise ValueError("a webhook's secret is whsec_ and at least 16 bytes in base64")
    return key


def _mac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()
