"""Other people's servers without a network: names, addresses, and what they answer.

    outside = Internet({"example.com": ["93.184.216.34"]})
    outside.serve(lambda asked: answer(200, b"hello"))
    fetcher = outside.fetcher(clock)

What a `Fetcher` dials, and what it sends, is kept for the test to look at. Nothing here waits for
anything, so that a `Harness` settles.
"""

from __future__ import annotations

import dataclasses
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import httpcore

from understudy.clock import Clock
from understudy.outbound import Fetcher

Answer = Callable[["Asked"], Iterable[bytes]]
"""What a server sends for a request: bytes of HTTP, in pieces. It may raise as a socket does."""


@dataclasses.dataclass
class Asked:
    """A request as it came: to which address and port, under which name if it was encrypted."""

    address: str
    port: int
    server_name: str | None
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


class Internet(httpcore.AsyncNetworkBackend):
    """`names` says where each name is; each look-up takes the next of several lists, if any."""

    def __init__(self, names: Mapping[str, Sequence[str] | Sequence[Sequence[str]]]) -> None:
        self.names = {name: _lists(given) for name, given in names.items()}
        self.looked_up: list[str] = []
        self.dialled: list[tuple[str, int]] = []
        self.asked: list[Asked] = []
        self.silent: set[str] = set()
        """Addresses that do not answer a connection."""
        self._answer: Answer = lambda _: answer(204)

    def fetcher(self, clock: Clock, *, private_addresses: bool = False) -> Fetcher:
        """A fetcher that has only this to reach."""
        return Fetcher(
            clock,
            private_addresses=private_addresses,
            resolve=self.resolve,
            trust=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            dial=self,
        )

    def serve(self, said: Answer) -> None:
        """Have every server answer this from now on."""
        self._answer = said

    async def resolve(self, host: str, port: int) -> Sequence[str]:  # noqa: ARG002 - as others do
        """The addresses of a name, written with a dot at its end or without. Raises OSError."""
        name = host.rstrip(".")
        self.looked_up.append(host)
        lists = self.names.get(name)
        if lists is None:
            raise OSError(f"no such name: {name}")
        return lists.pop(0) if len(lists) > 1 else lists[0]

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109 - the base's signature
        local_address: str | None = None,  # noqa: ARG002
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002
    ) -> httpcore.AsyncNetworkStream:
        """A connection to whatever is at this address."""
        self.dialled.append((host, port))
        if host in self.silent:
            raise httpcore.ConnectTimeout(f"{host} is silent")
        return _Stream(self, host, port)

    def answered(self, asked: Asked) -> Iterable[bytes]:
        """What the servers send for a request."""
        self.asked.append(asked)
        return self._answer(asked)


def answer(status: int, body: bytes = b"", **headers: str) -> Iterable[bytes]:
    """An answer with its length; a header is named as in Python: `retry_after`."""
    named = {"content-length": str(len(body))}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return [f"HTTP/1.1 {status} Said\r\n{head}\r\n".encode(), body]


class _Stream(httpcore.AsyncNetworkStream):
    def __init__(self, internet: Internet, address: str, port: int) -> None:
        self._internet = internet
        self._address = address
        self._port = port
        self._server_name: str | None = None
        self._written = b""
        self._pieces: Iterable[bytes] | None = None

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109
        self._written += buffer

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002, ASYNC109
        if self._pieces is None:
            self._pieces = iter(self._internet.answered(self._asked()))
        return next((piece for piece in self._pieces if piece), b"")

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,  # noqa: ARG002 - nothing is encrypted here
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        self._server_name = server_hostname
        return self

    async def aclose(self) -> None:
        pass

    def get_extra_info(self, info: str) -> Any:  # noqa: ARG002
        return None

    def _asked(self) -> Asked:
        head, _, body = self._written.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        pairs = (line.split(": ", 1) for line in lines)
        headers = {name.lower(): value for name, value in pairs}
        return Asked(self._address, self._port, self._server_name, method, target, headers, body)


def _lists(given: Sequence[Any]) -> list[list[str]]:
    nested = bool(given) and not isinstance(given[0], str)
    return [list(one) for one in given] if nested else [list(given)]
