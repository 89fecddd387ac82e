"""A stored file as an answer: whole or in part, under a name that is safe in a header.

What is sent was made by strangers. So a browser is told to believe our media type, to give the
file no rights of this site, and to save what it might run.
"""

from __future__ import annotations

import http
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO, NamedTuple
from urllib.parse import quote

from fastapi.requests import Request
from fastapi.responses import Response, StreamingResponse

from understudy.artifacts.artifact import Artifact
from understudy.artifacts.blocking import finish
from understudy.errors import OutOfRange, StorageError

_PIECE = 256 * 1024
_RANGE = re.compile(r"bytes\s*=\s*([0-9]{0,18})\s*-\s*([0-9]{0,18})", re.IGNORECASE)
_SHOWN = ("image/", "video/", "audio/")
_NEVER_SHOWN = frozenset({"image/svg+xml"})  # it may carry scripts
_POLICY = "sandbox; default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'"


class Span(NamedTuple):
    """Bytes from `start` up to and without `end`."""

    start: int
    end: int


def span_of(header: str | None, size: int) -> Span | None:
    """The part that a `Range` header asks for; None for the whole.

    What is not understood counts for nothing, as RFC 9110 has it; so do several ranges at once.
    Raises `OutOfRange`.
    """
    found = _RANGE.fullmatch((header or "").strip())
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:  # the last so many bytes
        length = int(found[2])
        if not length:
            raise _out_of_range(size)
        return Span(max(0, size - length), size) if size else None
    start, end = int(found[1]), int(found[2]) + 1 if found[2] else size
    if end <= start and found[2]:
        return None
    if start >= size:
        raise _out_of_range(size)
    return Span(start, min(end, size))


def disposition(name: str, *, shown: bool) -> str:
    """`Content-Disposition` for a name in any script (RFC 6266): plain, and as UTF-8 beside it."""
    kept = "".join(c if " " <= c <= "~" and c not in '"\\%' else "_" for c in name)
    kind = "inline" if shown else "attachment"
    if kept == name:
        return f'{kind}; filename="{kept}"'
    encoded = quote(name.encode("utf-8", "replace"), safe="!#$&+-.^_`|~")
    return f"{kind}; filename=\"{kept}\"; filename*=UTF-8''{encoded}"


async def send(request: Request, artifact: Artifact, path: Path, *, save: bool) -> Response:
    """The file at `path`, or what the request wants of it; with `save`, to be saved in any case.

    Raises `OutOfRange`, and `StorageError` when it is gone.
    """
    headers = _headers(artifact, save=save)
    if _has(request.headers.get("if-none-match"), headers["ETag"]):
        return Response(status_code=http.HTTPStatus.NOT_MODIFIED, headers=headers)
    if_range = request.headers.get("if-range")
    wanted = request.headers.get("range") if if_range in {None, headers["ETag"]} else None
    span = span_of(wanted, artifact.size)
    status = http.HTTPStatus.OK
    if span is None:
        span = Span(0, artifact.size)
    else:
        status = http.HTTPStatus.PARTIAL_CONTENT
        headers["Content-Range"] = f"bytes {span.start}-{span.end - 1}/{artifact.size}"
    headers["Content-Length"] = str(span.end - span.start)
    if request.method == "HEAD":
        return Response(None, status, headers, artifact.media_type)
    pieces = _pieces(await _opened(path), span)
    return StreamingResponse(pieces, status, headers, artifact.media_type)


def _headers(artifact: Artifact, *, save: bool) -> dict[str, str]:
    media_type = artifact.media_type
    shown = media_type.startswith(_SHOWN) and media_type not in _NEVER_SHOWN and not save
    return {
        "ETag": f'"{artifact.sha256}"',
        "Accept-Ranges": "bytes",
        "Content-Disposition": disposition(artifact.name, shown=shown),
        # Asked for again each time: it may have been erased, or the link have ended.
        "Cache-Control": "private, no-cache",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": _POLICY,
        "Referrer-Policy": "no-referrer",  # the link in the address bar is a secret
    }


def _has(header: str | None, tag: str) -> bool:
    """Whether an `If-None-Match` names the tag."""
    given = [one.strip().removeprefix("W/") for one in (header or "").split(",")]
    return tag in given or "*" in given


async def _opened(path: Path) -> BinaryIO:
    """The file, which from now on is there until it is read."""
    try:
        return await finish(path.open, "rb")
    except OSError as error:
        raise StorageError(f"a stored file cannot be read: {error.strerror}") from error


async def _pieces(file: BinaryIO, span: Span) -> AsyncIterator[bytes]:
    try:
        await finish(file.seek, span.start)
        left = span.end - span.start
        while left and (piece := await finish(file.read, min(left, _PIECE))):
            left -= len(piece)
            yield piece
    finally:
        file.close()


def _out_of_range(size: int) -> OutOfRange:
    return OutOfRange(f"the file ends at {size} bytes", size=size)
