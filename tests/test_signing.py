"""Webhooks and links: who has the secret is believed, for a while, and nobody else."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.signing import (
    BadSignature,
    check_link,
    new_secret,
    sign,
    sign_link,
    signed_headers,
    verify,
)

NOW = 1_800_000_000
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"test": 2432232314}'


def test_the_standard_s_own_example() -> None:
    """What Standard Webhooks gives as its example comes out to the letter."""
    signature = sign(SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, BODY)
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_what_was_signed_is_believed() -> None:
    """A webhook as it was sent gives its id, whatever the case of its headers."""
    headers = signed_headers(SECRET, "msg_1", NOW, BODY)
    assert verify(SECRET, headers, BODY, NOW + 299) == "msg_1"
    shouted = {name.upper(): value for name, value in headers.items()}
    assert verify([SECRET], shouted, BODY, NOW - 299) == "msg_1"


@given(at=st.integers(0, len(BODY) - 1), bit=st.integers(0, 7))
def test_no_bit_may_change(at: int, bit: int) -> None:
    """A body that differs in one bit is refused."""
    headers = signed_headers(SECRET, "msg_1", NOW, BODY)
    changed = bytearray(BODY)
    changed[at] ^= 1 << bit
    with pytest.raises(BadSignature, match="no signature fits"):
        verify(SECRET, headers, bytes(changed), NOW)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"webhook-id": "msg_2"}, "no signature fits"),
        ({"webhook-id": "msg_1.1"}, "no signature fits"),
        ({"webhook-id": ""}, "webhook-id is missing"),
        ({"webhook-timestamp": str(NOW + 1)}, "no signature fits"),
        ({"webhook-timestamp": f" {NOW}"}, "not a number"),
        ({"webhook-timestamp": "١٢"}, "not a number"),
        ({"webhook-timestamp": "9" * 400}, "not a number"),
        ({"webhook-timestamp": str(NOW - 301)}, "more than 300 seconds"),
        ({"webhook-timestamp": str(NOW + 301)}, "more than 300 seconds"),
        ({"webhook-signature": "v1,"}, "no signature fits"),
        ({"webhook-signature": "v1,é"}, "no signature fits"),
        ({"webhook-signature": " "}, "no signature fits"),
    ],
)
def test_headers_that_were_changed(changed: dict[str, str], said: str) -> None:
    """Whatever is changed or left out is refused, and the message says which rule."""
    headers = signed_headers(SECRET, "msg_1", NOW, BODY) | changed
    with pytest.raises(BadSignature, match=said):
        verify(SECRET, headers, BODY, NOW)


def test_another_version_of_signature_is_no_signature() -> None:
    """`v1a` is another scheme: the same bytes under its name do not count."""
    headers = signed_headers(SECRET, "msg_1", NOW, BODY)
    headers["webhook-signature"] = headers["webhook-signature"].replace("v1,", "v1a,")
    with pytest.raises(BadSignature):
        verify(SECRET, headers, BODY, NOW)


def test_while_a_secret_is_replaced_both_work() -> None:
    """Signed with two secrets, a receiver with either one believes it, and with a third not."""
    old, new, other = new_secret(), new_secret(), new_secret()
    headers = signed_headers([new, old], "msg_1", NOW, BODY)
    assert len(headers["webhook-signature"].split()) == 2
    assert verify(old, headers, BODY, NOW) == verify(new, headers, BODY, NOW) == "msg_1"
    assert verify([other, old], headers, BODY, NOW) == "msg_1"
    with pytest.raises(BadSignature):
        verify(other, headers, BODY, NOW)


def test_a_flood_of_signatures_is_not_tried() -> None:
    """A stranger cannot make a receiver compare without end."""
    headers = signed_headers(SECRET, "msg_1", NOW, BODY)
    headers["webhook-signature"] = " ".join(["v1,x"] * 16 + [headers["webhook-signature"]])
    with pytest.raises(BadSignature):
        verify(SECRET, headers, BODY, NOW)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_c2hvcnQ=", "whsec_%%%", "é"])
def test_a_secret_that_is_none(secret: str) -> None:
    """An empty, short or garbled secret is refused by both sides instead of signing with it."""
    with pytest.raises(ValueError, match="16 bytes"):
        sign(secret, "msg_1", NOW, BODY)
    with pytest.raises(ValueError, match="16 bytes"):
        verify(secret, {}, BODY, NOW)


def test_an_id_cannot_pretend_to_be_a_timestamp() -> None:
    """An id with a dot could make two messages look the same, so none is signed."""
    for bad in ("", "msg.1"):
        with pytest.raises(ValueError, match="dot"):
            sign(SECRET, bad, NOW, BODY)


def test_secrets_are_long_and_new() -> None:
    """A secret has 256 bits and is never the same."""
    one, two = new_secret(), new_secret()
    assert one != two
    assert len(base64.b64decode(one.removeprefix("whsec_"))) == 32
    known = base64.b64decode(SECRET.removeprefix("whsec_"))
    mac = hmac.new(known, b"msg_1.1.", hashlib.sha256).digest()
    assert sign(SECRET, "msg_1", 1, b"") == f"v1,{base64.b64encode(mac).decode()}"


def link(path: str = "/v1/a", expires: int = NOW) -> dict[str, str]:
    """The parts of a signed link's query."""
    return dict(part.split("=", 1) for part in sign_link("secret", path, expires).split("&"))


def test_a_link_works_until_it_expires() -> None:
    """The link that was made works, up to its second and not in it."""
    check_link("secret", "/v1/a", **link(), now=NOW - 1)
    with pytest.raises(BadSignature, match="expired"):
        check_link("secret", "/v1/a", **link(), now=NOW)


@pytest.mark.parametrize(
    ("path", "changed"),
    [
        ("/v1/b", {}),
        ("/v1/a/", {}),
        ("/v1/a", {"expires": str(NOW + 1)}),
        ("/v1/a", {"signature": ""}),
        ("/v1/a", {"signature": "\ud800"}),
        ("/v1/a", {"expires": ""}),
        ("/v1/a", {"expires": "-1"}),
        ("/v1/a", {"expires": "1e9"}),
        ("/v1/a", {"expires": "9" * 30}),
        ("/v1/a", {"expires": f"{NOW} "}),
    ],
)
def test_a_link_that_was_changed(path: str, changed: dict[str, str]) -> None:
    """Another path, another time or another signature is refused."""
    with pytest.raises(BadSignature):
        check_link("secret", path, **(link() | changed), now=NOW - 1)


def test_a_link_of_another_installation() -> None:
    """The secret decides."""
    with pytest.raises(BadSignature):
        check_link("other", "/v1/a", **link(), now=NOW - 1)
