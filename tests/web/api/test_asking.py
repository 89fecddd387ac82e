"""What an asking says besides its body."""

from __future__ import annotations

import re

import pytest

from understudy.web.api.asking import KEY_PATTERN, fingerprint, key_of, wait_of
from understudy.web.problem import MalformedError


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("abc", "abc"),
        (" abc ", "abc"),
        ('"abc"', "abc"),
        ('"a b"', "a b"),
        (r'"a\"b\\c"', r'a"b\c'),
        ("x" * 200, "x" * 200),
    ],
)
def test_a_key_is_quoted_or_bare(header: str, key: str) -> None:
    """Both forms of a key are the same key, and the API's description knows both."""
    assert key_of(header) == key
    assert re.match(KEY_PATTERN, header.strip())


@pytest.mark.parametrize("header", ["", '""', 'a"b', "a b", "x" * 201, '"' + "x" * 201 + '"', "é"])
def test_a_bad_key_is_refused(header: str) -> None:
    """What is no key is refused, and the description says so, too."""
    with pytest.raises(MalformedError) as caught:
        key_of(header)
    assert caught.value.place == "header:idempotency-key"
    assert not re.match(KEY_PATTERN, header)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("wait=10", 10.0),
        ("respond-async, wait=10", 10.0),
        ("Wait = 3", 3.0),
        ('wait="7"; foo=bar', 7.0),
        ("wait", 60.0),
        ("wait=3600", 60.0),
        ("wait=0", 0.0),
        ("wait=-1", None),
        ("wait=soon", None),
        ("respond-async", None),
        ("", None),
    ],
)
def test_how_long_a_header_wants_to_wait(header: str, seconds: float | None) -> None:
    """The seconds of `wait`, a minute at most; what is not understood is ignored."""
    assert wait_of(header) == seconds


def test_a_fingerprint_is_of_what_was_asked() -> None:
    """The order of fields does not count; the order of a list, a null and the path do."""
    same = fingerprint("POST", "/v1/runs", {"a": 1, "b": [1, 2]})
    assert same == fingerprint("POST", "/v1/runs", {"b": [1, 2], "a": 1})
    others = [
        ("POST", "/v1/runs", {"a": 1, "b": [2, 1]}),
        ("POST", "/v1/runs", {"a": 1, "b": [1, 2], "c": None}),
        ("POST", "/v1/other", {"a": 1, "b": [1, 2]}),
        ("POST", "/v1/runs", {"a": "\ud800"}),
    ]
    assert len({same, *(fingerprint(*asked) for asked in others)}) == 5
