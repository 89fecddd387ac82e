"""A file as a multipart body: what is sent, as often as it must be, from any kind of source."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Any

import httpx
import pytest

from understudy.client.body import Body
from understudy.errors import InputError


def content(body: Body) -> bytes:
    """All of it."""
    return b"".join(body)


def test_what_is_announced_is_sent(tmp_path: Path) -> None:
    """The same bytes and the announced length for all sources, and again for a second try."""
    path = tmp_path / "photo.png"
    path.write_bytes(b"x" * 600_000)
    file = io.BytesIO(b"before" + path.read_bytes())
    file.seek(6)
    for source in (path, path.read_bytes(), file):
        body = Body(source, "photo.png")
        sent = content(body)
        assert sent == content(body)
        assert len(sent) == int(body.headers["Content-Length"])
        assert sent.count(b"x") >= 600_000
        assert b"Content-Type: image/png\r\n\r\nx" in sent

        async def streamed(body: Body = body) -> bytes:
            return b"".join([piece async for piece in body.streamed()])

        assert asyncio.run(streamed()) == sent


@pytest.mark.parametrize(
    ("name", "written"),
    [('a"b\r\nc', b'filename="a%22b%0D%0Ac"'), ("größe.jpg", 'filename="größe.jpg"'.encode())],
)
def test_a_name_cannot_leave_its_header(name: str, written: bytes) -> None:
    """Quotes and line ends are written as browsers write them; all else as UTF-8."""
    assert written in content(Body(b"", name))


def test_a_name_that_nobody_gave() -> None:
    """An open file has one; bytes are called `file`, and of an unknown kind."""
    named = io.BytesIO(b"1")
    named.name = "/somewhere/a.mp4"
    assert b'filename="a.mp4"' in content(Body(named))
    assert b"application/octet-stream" in content(Body(b"1"))
    assert b"Content-Type: audio/x" in content(Body(b"1", media_type="audio/x"))


def test_a_file_that_changes_meanwhile(tmp_path: Path) -> None:
    """One that grows is sent as it was announced; one that shrinks or goes is an error."""
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    body = Body(path)
    path.write_bytes(b"1234567")
    assert len(content(body)) == int(body.headers["Content-Length"])
    path.write_bytes(b"123")
    with pytest.raises(InputError, match="a: it became shorter while it was sent"):
        content(body)
    path.unlink()
    with pytest.raises(InputError, match="a: cannot read it"):
        content(body)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    """A folder, and a pipe, which could not be sent twice."""
    with pytest.raises(InputError, match="no such file"):
        Body(tmp_path)

    class Pipe(io.BytesIO):
        def tell(self) -> int:
            raise OSError("Illegal seek")

    with pytest.raises(InputError, match="file: cannot read it"):
        Body(Pipe())


def test_an_upload_is_sent_again_whole(asker: Any, tmp_path: Path) -> None:
    """Under one key, so that it is one file to the server; both clients stream it."""
    path = tmp_path / "a.bin"
    path.write_bytes(b"x" * 700_000)
    facts = {"media_type": "x/y", "size": 700_000, "sha256": "0", "created_at": "2026"}
    stored = httpx.Response(201, json={"id": "art_1", "name": "a.bin", **facts})
    asker.says(httpx.Response(503), stored)
    assert asker("upload", path).id == "art_1"
    assert asker.bodies[0] == asker.bodies[1]
    assert len(asker.bodies[1]) == int(asker.requests[1].headers["content-length"])
    assert len({request.headers["idempotency-key"] for request in asker.requests}) == 1
