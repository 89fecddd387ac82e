"""What a stranger's headers may fill, over a real socket."""

from __future__ import annotations

import contextlib
import socket
from typing import Any
from urllib.parse import urlsplit

from understudy.web.connection import MOST_HEAD

GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /v1/runs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
PIECE = b"a" * 16_000
TRIES = 400


def answered(address: tuple[str, int], begin: bytes, piece: bytes) -> tuple[bytes, int]:
    """The answer to a request that never ends its headers, and how many pieces were taken."""
    with socket.create_connection(address, 30) as line:
        sent = 0
        with contextlib.suppress(OSError):  # it is closed at the other end
            line.sendall(begin)
            for sent in range(TRIES):  # noqa: B007 - the last one is told
                line.sendall(piece)
        answer = b""
        with contextlib.suppress(OSError):
            answer = line.recv(4096)
        return answer, sent


def test_a_head_without_an_end_is_cut_off(served: Any) -> None:
    """The connection is closed long before a machine's memory is full; others are served on."""
    with served("--no-worker") as url:
        where = urlsplit(url)
        address = (str(where.hostname), int(where.port or 0))
        for begin, piece in (
            (GET + b"X: ", PIECE),
            (GET, b"X: " + PIECE + b"\r\n"),
            (b"GET /", PIECE),
            (POST + b"1\r\n{\r\n0\r\n", b"X: " + PIECE + b"\r\n"),
        ):
            answer, sent = answered(address, begin, piece)
            assert sent < TRIES - 1, begin
            assert not answer or answer.startswith(b"HTTP/1.1 400 ")
        with socket.create_connection(address, 30) as line:
            line.sendall(GET + b"X: " + b"a" * (MOST_HEAD // 2) + b"\r\n\r\n")
            assert line.recv(4096).startswith(b"HTTP/1.1 200 ")
