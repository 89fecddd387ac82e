"""A file as the body of a request: streamed from where it lies, as often as it must be sent."""

from __future__ import annotations

import asyncio
import contextlib
import io
import mimetypes
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import BinaryIO

from understudy.errors import InputError

_PIECE = 1 << 18
_FORBIDDEN = {'"': "%22", "\r": "%0D", "\n": "%0A"}  # as browsers write names in multipart headers


class Body:
    """`multipart/form-data` with one field, `file`. Raises `InputError` for what cannot be read.

    The source is a path, the bytes themselves, or an open binary file, which is sent from where it
    stands and must be able to go back there.
    """

    def __init__(
        self,
        source: Path | bytes | BinaryIO,
        name: str | None = None,
        media_type: str | None = None,
    ) -> None:
        self._source = source
        self._start = 0
        self.size = self._measured()
        self.name = name or _name(source)
        kind = media_type or mimetypes.guess_type(self.name)[0] or "application/octet-stream"
        self._boundary = secrets.token_hex(16)
        written = "".join(_FORBIDDEN.get(character, character) for character in self.name)
        self._head = (
            f"--{self._boundary}\r\n"
            f'Content-Disposition: form-data; name="file"; filename="{written}"\r\n'
            f"Content-Type: {kind}\r\n\r\n"
        ).encode("utf-8", "replace")
        self._tail = f"\r\n--{self._boundary}--\r\n".encode()

    @property
    def headers(self) -> dict[str, str]:
        """How the body is described."""
        return {
            "Content-Type": f"multipart/form-data; boundary={self._boundary}",
            "Content-Length": str(len(self._head) + self.size + len(self._tail)),
        }

    def __iter__(self) -> Iterator[bytes]:
        """The body in pieces, from its beginning."""
        yield self._head
        with self._opened() as file:
            left = self.size  # a file that grows meanwhile must not break the announced length
            while left and (piece := file.read(min(left, _PIECE))):
                left -= len(piece)
                yield piece
        if left:
            raise InputError(f"{self.name}: it became shorter while it was sent")
        yield self._tail

    async def streamed(self) -> AsyncIterator[bytes]:
        """The same for an event loop, read in a thread."""
        pieces = iter(self)
        while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
            yield piece

    def _measured(self) -> int:
        if isinstance(self._source, bytes):
            return len(self._source)
        try:
            if isinstance(self._source, Path):
                if not self._source.is_file():
                    raise InputError(f"{self._source}: no such file")
                return self._source.stat().st_size
            self._start = self._source.tell()
            size = self._source.seek(0, 2) - self._start
            self._source.seek(self._start)
        except OSError as error:
            raise InputError(f"{_name(self._source)}: cannot read it: {error}") from error
        return size

    @contextlib.contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        if isinstance(self._source, bytes):
            yield io.BytesIO(self._source)
            return
        try:
            if isinstance(self._source, Path):
                with self._source.open("rb") as file:
                    yield file
            else:
                self._source.seek(self._start)
                yield self._source
        except OSError as error:
            raise InputError(f"{self.name}: cannot read it: {error}") from error


def _name(source: Path | bytes | BinaryIO) -> str:
    if isinstance(source, Path):
        return source.name
    name = getattr(source, "name", None)
    return Path(name).name if isinstance(name, str) else "file"
