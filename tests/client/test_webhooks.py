"""Webhooks as their receiver sees them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from understudy import signing
from understudy.client.webhooks import BadSignature, verify

NOW = 1_800_000_000


class Fixed:
    """A clock that stands."""

    def now(self) -> float:
        return NOW

    def sleep(self, _: float) -> None:
        raise AssertionError("nobody sleeps")


def body_of(run: Any) -> bytes:
    """What the server tells."""
    told = {"type": "run.succeeded", "timestamp": "2027-01-15T08:00:00.000Z", "data": run}
    return json.dumps(told).encode()


def test_a_webhook_is_checked_and_read(run: Any) -> None:
    """Signed with one of our secrets, it comes out typed, with the id that tells repetitions."""
    old, new = signing.new_secret(), signing.new_secret()
    body = body_of(run(status="succeeded", output={"total": 1}).json())
    headers = signing.signed_headers(new, "msg_1", NOW - 100, body)
    told = verify([old, new], headers, body, clock=Fixed())
    assert (told.id, told.type, told.data.output) == ("msg_1", "run.succeeded", {"total": 1})


def test_what_is_not_ours_is_refused(run: Any) -> None:
    """Changed, signed by somebody else, too old by now, or signed and no webhook of a run."""
    secret = signing.new_secret()
    body = body_of(run(status="succeeded").json())
    headers = signing.signed_headers(secret, "msg_1", NOW - 301, body)
    for given, others, sent in (
        (secret, {}, body),  # on the real clock, too
        (secret, {"clock": Fixed()}, body),
        (signing.new_secret(), {"clock": Fixed(), "tolerance": 1000}, body),
        (secret, {"clock": Fixed(), "tolerance": 1000}, body + b" "),
    ):
        with pytest.raises(BadSignature):
            verify(given, headers, sent, **others)
    other = b'{"type": "x"}'
    headers = signing.signed_headers(secret, "msg_1", NOW, other)
    with pytest.raises(BadSignature, match="no webhook of a run"):
        verify(secret, headers, other, clock=Fixed())
