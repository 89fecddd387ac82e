"""Server-sent events from bytes, as the HTML standard reads them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.client.events import Decoder, Message

STREAM = (
    b"\xef\xbb\xbfretry: 2000\n\n: still here\n\n"
    b"id: 1.1.1\r\nevent: snapshot\r\ndata: {\r\ndata:  \xc3\xbc}\r\n\r\n"
    b"id: 1.1.2\revent: change\rdata: two\r\r"
    b"data\n\nevent: lost, as it has no data\n\ndata: three\n\ndata: never ended\n"
)
MESSAGES = [
    Message("1.1.1", "snapshot", "{\n ü}"),
    Message("1.1.2", "change", "two"),
    Message("1.1.2", "message", ""),
    Message("1.1.2", "message", "three"),
]


def test_a_stream_in_one_piece() -> None:
    """Every kind of line end, comments, several data lines, an id that stays, and no half event."""
    decoder = Decoder()
    assert decoder.feed(STREAM) == MESSAGES
    assert decoder.retry == 2.0


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_it_does_not_matter_where_the_pieces_are_cut(cuts: list[int]) -> None:
    """Cut anywhere, also inside a character, a line end or the byte order mark: the same events."""
    decoder = Decoder()
    edges = [0, *sorted(cuts), len(STREAM)]
    found = []
    for start, end in itertools.pairwise(edges):
        found += decoder.feed(STREAM[start:end])
    assert found == MESSAGES


@pytest.mark.parametrize(
    ("lines", "last"),
    [(b"id\n", ""), (b"id: a\0b\n", "before"), (b"", "before"), (b"id:x\n", "x")],
)
def test_which_id_resumes(lines: bytes, last: str) -> None:
    """An id with a NUL is none; an empty one says to forget the last."""
    assert Decoder("before").feed(lines + b"data: x\n\n") == [Message(last, "message", "x")]


@pytest.mark.parametrize(
    "line", [b"retry: soon\n", b"retry: -5\n", b"retry:\n", "retry: ٣\n".encode()]
)
def test_a_pause_that_is_no_number_is_ignored(line: bytes) -> None:
    """And so are fields that nobody knows."""
    decoder = Decoder()
    decoder.feed(line + b"unknown: 1\n")
    assert decoder.retry is None
