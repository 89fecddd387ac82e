"""A form with files (`multipart/form-data`) read as it comes: a file goes straight into the store.

Nothing of a file is kept in memory or in a temporary place, and a body is stopped as soon as it is
over its limit. When anything fails, nothing of the form is left behind.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Literal, NamedTuple

from fastapi.requests import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from understudy.artifacts.artifact import Artifact
from understudy.artifacts.artifacts import Artifacts
from understudy.errors import Error, TooLarge
from understudy.web.problem import MalformedError

MOST_FIELDS = 1000
"""Parts of one form, files and others."""

_MEDIA_TYPE = b"multipart/form-data"
_BODY = "body"
# As browsers write these in the names of fields and files.
_ESCAPED = {"%22": '"', "%0D": "\r", "%0A": "\n"}


class Limits(NamedTuple):
    """Bytes: of the whole body, and of the text in all fields. `files`: how many there may be."""

    body: int
    field: int
    files: int = MOST_FIELDS


class Form(NamedTuple):
    """What came, in its order: names with texts, and names with what was stored."""

    fields: list[tuple[str, str]]
    files: list[tuple[str, Artifact]]


class Part(NamedTuple):
    """One part on its way; its `pieces` are to be read before the next part is asked for.

    `filename` is None for a field, and "" where a form has no file chosen.
    """

    name: str
    filename: str | None
    pieces: AsyncIterator[bytes]


async def store_form(request: Request, files: Artifacts, limits: Limits) -> Form:
    """Read a form, storing its files. Raises `MalformedError`, `TooLarge`, and as `files.put`."""
    form = Form([], [])
    try:
        async with contextlib.aclosing(parts(request, limits.body)) as found:
            async for part in found:
                await _take(form, part, files, limits)
    except BaseException:
        await discard(form, files)
        raise
    return form


async def discard(form: Form, files: Artifacts) -> None:
    """Delete what was stored of a form."""
    for _, artifact in form.files:
        with contextlib.suppress(Error):  # what stays expires
            await files.delete(artifact.id)


async def _take(form: Form, part: Part, files: Artifacts, limits: Limits) -> None:
    if len(form.fields) + len(form.files) >= MOST_FIELDS:
        raise TooLarge(f"a form has at most {MOST_FIELDS} fields")
    if part.filename is None:
        text, kept = bytearray(), sum(len(before) for _, before in form.fields)
        async for piece in part.pieces:
            text += piece
            if kept + len(text) > limits.field:  # they are in memory, all at once
                raise TooLarge(f"the fields up to {part.name!r} have over {limits.field} bytes")
        form.fields.append((part.name, text.decode("utf-8", "replace")))
    elif part.filename:
        if len(form.files) >= limits.files:
            raise MalformedError(f"there may be {limits.files} file in this form", _BODY)
        form.files.append((part.name, await files.put(part.pieces, name=part.filename)))


async def parts(request: Request, most: int) -> AsyncGenerator[Part]:
    """The parts of a request's body, one after the other.

    Raises `TooLarge` over `most` bytes in all, and `MalformedError` for what is no such form, or
    ends before its end.
    """
    boundary = _boundary(request)
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdecimal() and int(length[:18]) > most:
        raise _too_large(most)
    over = False
    async with contextlib.aclosing(_events(limited(request, most), boundary)) as events:
        async for event in events:
            if event.kind == "head":
                pieces = _pieces(events)
                yield _part(event.value, pieces)
                async for _ in pieces:  # what its reader left
                    pass
            over = over or event.kind == "over"
    if not over:
        raise MalformedError("the form ends before its last boundary", _BODY)


class _Event(NamedTuple):
    kind: Literal["head", "data", "end", "over"]
    value: bytes = b""


class _Heard:
    """What the parser says of one piece of the body; of a part's head only what we want."""

    def __init__(self) -> None:
        self.events: list[_Event] = []
        self._name = b""
        self._value = b""
        self._disposition = b""

    def on_part_begin(self) -> None:
        self._disposition = b""

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = self._value
        self._name = self._value = b""

    def on_headers_finished(self) -> None:
        self.events.append(_Event("head", self._disposition))

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self.events.append(_Event("data", data[start:end]))

    def on_part_end(self) -> None:
        self.events.append(_Event("end"))

    def on_end(self) -> None:
        self.events.append(_Event("over"))


async def _events(body: AsyncIterator[bytes], boundary: bytes) -> AsyncGenerator[_Event]:
    heard = _Heard()
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": heard.on_part_begin,
                "on_header_field": heard.on_header_field,
                "on_header_value": heard.on_header_value,
                "on_header_end": heard.on_header_end,
                "on_headers_finished": heard.on_headers_finished,
                "on_part_data": heard.on_part_data,
                "on_part_end": heard.on_part_end,
                "on_end": heard.on_end,
            },
        )
        async for piece in body:
            parser.write(piece)
            for event in heard.events:
                yield event
            heard.events.clear()
    except FormParserError as error:
        raise MalformedError(f"the form is not well made: {error}", _BODY) from error


async def _pieces(events: AsyncGenerator[_Event]) -> AsyncGenerator[bytes]:
    """The bytes of the part whose head came last."""
    async for event in events:
        if event.kind == "end":
            return
        yield event.value
    raise MalformedError("the form ends in the middle of a part", _BODY)


async def limited(request: Request, most: int) -> AsyncIterator[bytes]:
    """A body as it comes.

    Raises `TooLarge` over `most` bytes, and `MalformedError` if it breaks off.
    """
    taken = 0
    try:
        async for piece in request.stream():
            taken += len(piece)
            if taken > most:
                raise _too_large(most)
            if piece:
                yield piece
    except ClientDisconnect as error:  # nobody reads the answer, but nothing is broken here
        raise MalformedError("its sender went away before its end", _BODY) from error


def _part(disposition: bytes, pieces: AsyncIterator[bytes]) -> Part:
    _, options = parse_options_header(disposition.decode("latin-1"))
    name = options.get(b"name")
    if name is None:
        raise MalformedError("a part of the form has no name", _BODY)
    filename = options.get(b"filename")
    return Part(_text(name), None if filename is None else _text(filename), pieces)


def _text(given: bytes) -> str:
    text = given.decode("utf-8", "replace")
    for escaped, character in _ESCAPED.items():
        text = text.replace(escaped, character)
    return text


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary", b"")
    if kind != _MEDIA_TYPE or not boundary:
        raise MalformedError("send multipart/form-data, with its boundary", "header:content-type")
    return boundary


def _too_large(most: int) -> TooLarge:
    return TooLarge(f"this body may have {most / 1e6:,.6g} MB")
