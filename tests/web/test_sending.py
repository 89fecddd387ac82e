"""Parts of files, and names in headers."""

from __future__ import annotations

from email.message import Message
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.errors import OutOfRange
from understudy.web.sending import Span, disposition, span_of


@pytest.mark.parametrize(
    ("header", "span"),
    [
        (None, None),
        ("", None),
        ("bytes=0-", Span(0, 10)),
        ("bytes=0-0", Span(0, 1)),
        ("bytes=3-5", Span(3, 6)),
        ("bytes=9-9", Span(9, 10)),
        ("bytes=5-100", Span(5, 10)),
        ("bytes=-3", Span(7, 10)),
        ("bytes=-100", Span(0, 10)),
        ("Bytes = 1 - 2", Span(1, 3)),
        ("bytes=5-4", None),
        ("bytes=0-1,3-4", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("bytes=-0x1", None),
        ("bytes=\u0661-\u0662", None),
        ("items=0-1", None),
        ("bytes=" + "9" * 30 + "-", None),
    ],
)
def test_ranges(header: str | None, span: Span | None) -> None:
    """One range is honoured as RFC 9110 has it; what is not understood asks for the whole."""
    assert span_of(header, 10) == span


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=999999-"])
def test_ranges_behind_the_end(header: str) -> None:
    """A part that is not there is refused with the file's size."""
    with pytest.raises(OutOfRange, match="10 bytes") as caught:
        span_of(header, 10)
    assert caught.value.size == 10


def test_ranges_of_an_empty_file() -> None:
    """Nothing of nothing is the whole; from its first byte on there is nothing."""
    assert span_of("bytes=-5", 0) is None
    with pytest.raises(OutOfRange):
        span_of("bytes=0-", 0)


@given(start=st.integers(0, 50), length=st.integers(0, 50), size=st.integers(1, 40))
def test_a_part_lies_inside(start: int, length: int, size: int) -> None:
    """Whatever is asked for, what is sent is inside the file and not empty."""
    try:
        span = span_of(f"bytes={start}-{start + length}", size)
    except OutOfRange:
        assert start >= size
    else:
        assert span is not None
        assert 0 <= span.start == start < span.end <= size


@given(name=st.text(min_size=1, max_size=60))
def test_names_in_headers(name: str) -> None:
    """No name breaks out of its header, and those who know RFC 6266 read it as it is."""
    header = disposition(name, shown=False)
    assert header.isascii()
    assert header.isprintable()
    message = Message()
    message["Content-Disposition"] = header
    assert message.get_content_disposition() == "attachment"
    plain = header.split('"')[1]
    assert header.count('"') == 2
    _, _, encoded = header.partition("filename*=UTF-8''")
    seen = unquote(encoded) if encoded else plain
    assert seen == name.encode("utf-8", "replace").decode()


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("a b.png", 'inline; filename="a b.png"'),
        ('a"b.png', "inline; filename=\"a_b.png\"; filename*=UTF-8''a%22b.png"),
        ("ü.png", "inline; filename=\"_.png\"; filename*=UTF-8''%C3%BC.png"),
        ("a\r\nX: y", "inline; filename=\"a__X: y\"; filename*=UTF-8''a%0D%0AX%3A%20y"),
        ("50%.png", "inline; filename=\"50_.png\"; filename*=UTF-8''50%25.png"),
    ],
)
def test_names_letter_by_letter(name: str, header: str) -> None:
    """What is plain stays plain; all else is replaced there and told in UTF-8 beside it."""
    assert disposition(name, shown=True) == header
