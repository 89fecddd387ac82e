"""Requests over kept connections, as plain bytes: the load must cost less than what it measures."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field

HOST = "127.0.0.1"


@dataclass
class Load:
    """What a load has seen: seconds of each answered request, and the answers by status."""

    took: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.took) / self.seconds

    def quantile(self, part: float) -> float:
        """The seconds within which that part of the requests was answered."""
        return sorted(self.took)[min(len(self.took) - 1, int(part * len(self.took)))]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        return port


def post(path: str, body: object) -> bytes:
    """A request of JSON over a connection that stays."""
    data = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


async def ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
) -> tuple[int, bytes]:
    """Send a request; the status and the body of its answer."""
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    lines = head.lower().split(b"\r\n")
    length = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
    return status, await reader.readexactly(length)


async def load(port: int, request: Callable[[], bytes], *, clients: int, seconds: float) -> Load:
    """Ask over so many connections, each its next as soon as its last was answered."""
    seen = Load()
    started = time.perf_counter()

    async def client() -> None:
        reader, writer = await asyncio.open_connection(HOST, port)
        while (began := time.perf_counter()) - started < seconds:
            status, body = await ask(reader, writer, request())
            seen.took.append(time.perf_counter() - began)
            seen.statuses[status] = seen.statuses.get(status, 0) + 1
            if status == 202:
                seen.ids.append(json.loads(body)["id"])
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    seen.seconds = time.perf_counter() - started
    return seen


async def listening(port: int, within: float = 30.0) -> None:
    """Return once somebody answers on the port."""
    ends = time.perf_counter() + within
    while True:
        try:
            _, writer = await asyncio.open_connection(HOST, port)
        except OSError:
            if time.perf_counter() > ends:
                raise
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
