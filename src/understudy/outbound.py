"""The one door to other people's servers: webhooks, and files that customers name by URL.

Whoever may name a URL must not thereby reach what only this machine can: itself, its network, the
cloud's metadata. So a name is resolved here, *all* its addresses are checked, and the connection is
made to an address that was checked (asking twice would let the name change in between). Redirects
go through the same door. Nothing is read from the environment, and no proxy is used.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import email.utils
import functools
import ipaddress
import re
import socket
import ssl
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Sequence,
)
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import unquote

import httpcore
import httpx

from understudy.clock import Clock
from understudy.errors import AddressRefused, InputError, TooLarge, Unreachable

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Name and port to addresses, in the order to try them. Raises OSError."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MOST_URL = 2048
"""Characters of a URL."""

_HOPS = 3
_ASKERS = 16
_CONNECT_SECONDS = 5.0
_MOST_WAIT = 6 * 3600.0
"""Seconds: what another server may ask us to wait at most."""
_PORTS = {"http": 80, "https": 443}
_END_OF_PORTS = 65_536
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LATER = frozenset({408, 425, 429})
_FAILED = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, ssl.SSLError)
_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?", re.IGNORECASE)
_NUMERIC = re.compile(r"(\d+|0x[0-9a-f]*)\.?", re.IGNORECASE)

# The IANA special-purpose registries, and what clouds answer at. Python's own `is_global` lets
# several of these through, and which ones depends on its version.
_REFUSED = tuple(
    (ipaddress.ip_network(network), why)
    for network, why in (
        ("0.0.0.0/8", "this machine"),
        ("10.0.0.0/8", "a private network"),
        ("100.64.0.0/10", "a provider's network"),
        ("127.0.0.0/8", "this machine"),
        ("168.63.129.16/32", "a cloud's own services"),
        ("169.254.0.0/16", "the local link"),
        ("172.16.0.0/12", "a private network"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "reserved for examples"),
        ("192.31.196.0/24", "reserved"),
        ("192.52.193.0/24", "reserved"),
        ("192.88.99.0/24", "reserved"),
        ("192.168.0.0/16", "a private network"),
        ("192.175.48.0/24", "reserved"),
        ("198.18.0.0/15", "reserved for measurements"),
        ("198.51.100.0/24", "reserved for examples"),
        ("203.0.113.0/24", "reserved for examples"),
        ("224.0.0.0/4", "many machines at once"),
        ("240.0.0.0/4", "reserved"),
        ("2001::/23", "reserved, or hides another address"),
        ("2001:db8::/32", "reserved for examples"),
        ("2002::/16", "hides another address"),
        ("2620:4f:8000::/48", "reserved"),
        ("3ffe::/16", "reserved"),
        ("3fff::/20", "reserved for examples"),
    )
)
# All that is handed out of IPv6: loopback, local, multicast and embedded addresses lie outside.
_PUBLIC_IPV6 = ipaddress.IPv6Network("2000::/3")
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})


def refusal(address: str) -> str | None:
    """Why no request of a customer's goes to this address; None if it may."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return "no address"
    for network, why in _REFUSED:
        if known.version == network.version and known in network:
            return why
    if isinstance(known, ipaddress.IPv6Address):
        if known not in _PUBLIC_IPV6 or known.scope_id is not None:
            return "not on the public network"
        if (int(known) >> 32) & 0xFFFFFFFF in _ISATAP:
            return "hides another address"
    return None if known.is_global else "not on the public network"


async def system_resolve(host: str, port: int) -> Sequence[str]:
    """What the system's resolver says. A thread asks, and is left behind by a deadline."""
    ask = functools.partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(_askers(), ask)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


@functools.cache
def _askers() -> ThreadPoolExecutor:
    """Their own threads: whoever names a server with a slow resolver must not hold up the disk."""
    return ThreadPoolExecutor(_ASKERS, thread_name_prefix="understudy-resolver")


class Posted(NamedTuple):
    """How a server answered a message; `retry_after` is in seconds."""

    status: int
    retry_after: float | None

    @property
    def taken(self) -> bool:
        """Whether it took the message."""
        return 200 <= self.status < 300


@dataclasses.dataclass(frozen=True)
class Download:
    """A file on its way: `name` is its last name in the URL, `pieces` its bytes, once."""

    url: str
    name: str
    pieces: AsyncIterator[bytes]


class Fetcher:
    """Asks other servers, for customers, without going where it must not.

    With `private_addresses` it goes to any address and port, for development. `resolve` and
    `trust` (whose certificates are believed) are the system's; `dial` makes the connections, to
    addresses that were checked.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        private_addresses: bool = False,
        resolve: Resolve = system_resolve,
        trust: ssl.SSLContext | None = None,
        dial: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        self._clock = clock
        self._private = private_addresses
        self._trust = trust
        self._backend = _Guarded(
            resolve, dial or httpcore.AnyIOBackend(), private=private_addresses
        )

    def check(self, url: str, *, secure: bool = False) -> str:
        """The URL as it will be asked for; nothing is looked up yet. With `secure`, only https.

        Raises AddressRefused, which names the rule.
        """
        return str(self._checked(url, secure=secure))

    @contextlib.asynccontextmanager
    async def get(self, url: str, *, most: int, within: float) -> AsyncIterator[Download]:
        """A file of at most `most` bytes; the block around it ends within so many seconds.

        Up to three redirects are followed. Raises AddressRefused; InputError when the server says
        that there is no such file; TooLarge, also from `pieces`; Unreachable, also from `pieces`,
        when another try may help.
        """
        asked = self._checked(url)
        async with _deadline(within, asked.host), contextlib.AsyncExitStack() as stack:
            for _ in range(_HOPS + 1):
                answer = await stack.enter_async_context(self._exchange("GET", asked))
                if answer.status not in _REDIRECTS:
                    yield self._download(asked, answer, most)
                    return
                await stack.aclose()
                asked = self._redirected(asked, answer)
            raise InputError(f"{asked.host}: it redirects more than {_HOPS} times")

    async def post(
        self, url: str, body: bytes, headers: dict[str, str], *, within: float
    ) -> Posted:
        """Send a message by https and say how it was answered; what is answered is not read.

        No redirect is followed. Raises AddressRefused and Unreachable.
        """
        asked = self._checked(url, secure=True)
        exchange = self._exchange("POST", asked, headers, body)
        async with _deadline(within, asked.host), exchange as answer:
            return Posted(answer.status, self._pause(answer))

    def _checked(self, url: str, *, secure: bool = False) -> httpx.URL:
        if len(url) > MOST_URL:
            raise AddressRefused(f"a URL has at most {MOST_URL} characters")
        try:
            asked = httpx.URL(url)
            port = _PORTS.get(asked.scheme, 0) if asked.port is None else asked.port
        except (httpx.InvalidURL, UnicodeError, ValueError) as error:
            raise AddressRefused(f"this is no URL: {error}") from error
        schemes = ["https"] if secure and not self._private else ["http", "https"]
        if asked.scheme not in schemes:
            raise AddressRefused(f"a URL begins with {' or '.join(f'{one}://' for one in schemes)}")
        if not asked.host:
            raise AddressRefused("a URL names a server")
        if not 0 < port < _END_OF_PORTS:
            raise AddressRefused(f"there is no port {port}")
        if asked.userinfo:
            raise AddressRefused("a URL has no user and password in it")
        if not self._private:
            _check_public(asked.raw_host.decode(), port)
        return asked.copy_with(fragment=None)

    def _redirected(self, asked: httpx.URL, answer: httpcore.Response) -> httpx.URL:
        location = _header(answer, "location")
        if location is None:
            raise InputError(f"{asked.host}: it redirects to nowhere")
        try:
            return self._checked(str(asked.join(location)))
        except httpx.InvalidURL as error:
            raise AddressRefused(f"{asked.host}: it redirects to what is no URL") from error

    @contextlib.asynccontextmanager
    async def _exchange(
        self, method: str, url: httpx.URL, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> AsyncIterator[httpcore.Response]:
        """One request over a connection of its own."""
        if self._trust is None:
            self._trust = await asyncio.to_thread(httpcore.default_ssl_context)
        port = _PORTS[url.scheme] if url.port is None else url.port
        place = httpcore.URL(
            scheme=url.raw_scheme, host=url.raw_host, port=port, target=url.raw_path
        )
        told = {"Host": url.netloc.decode(), "User-Agent": "understudy", "Accept": "*/*"}
        told |= {"Accept-Encoding": "identity", "Connection": "close", **(headers or {})}
        pool = httpcore.AsyncConnectionPool(self._trust, network_backend=self._backend)
        with _translated(url.host):
            async with (
                pool,
                pool.stream(
                    method, place, headers=list(told.items()), content=body or None
                ) as answer,
            ):
                yield answer

    def _download(self, url: httpx.URL, answer: httpcore.Response, most: int) -> Download:
        status = answer.status
        if status in _LATER or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            said = f"{url.host}: it answered {status}"
            raise Unreachable(said, retry_after=self._pause(answer))
        if status != HTTPStatus.OK:
            raise InputError(f"{url.host}: it answered {status} instead of a file")
        if _header(answer, "content-encoding") not in {None, "identity"}:
            raise InputError(f"{url.host}: it sent the file compressed, which was not asked for")
        length = _header(answer, "content-length") or ""
        if length.isdecimal() and int(length) > most:
            raise _too_large(url.host, most)
        name = unquote(url.path.rstrip("/").rpartition("/")[2]) or url.host
        return Download(str(url), name, _pieces(answer, url.host, most))

    def _pause(self, answer: httpcore.Response) -> float | None:
        """What `Retry-After` says, in seconds, within reason."""
        said = _header(answer, "retry-after") or ""
        if said.isascii() and said.isdecimal():
            pause = float(said)
        else:
            try:
                pause = email.utils.parsedate_to_datetime(said).timestamp() - self._clock.now()
            except (ValueError, OverflowError):
                return None
        return min(max(0.0, pause), _MOST_WAIT)


class _Guarded(httpcore.AsyncNetworkBackend):
    """Makes connections, to checked addresses only."""

    def __init__(
        self, resolve: Resolve, dial: httpcore.AsyncNetworkBackend, *, private: bool
    ) -> None:
        self._resolve = resolve
        self._private = private
        self._dial = dial

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109 - the base's signature
        local_address: str | None = None,  # noqa: ARG002
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address that answers; one that is refused refuses them all."""
        addresses = await self._addresses(host, port)
        failed: Exception = httpcore.ConnectError("it has no address")
        for address in addresses[:_HOPS]:
            try:
                return await self._dial.connect_tcp(address, port, _CONNECT_SECONDS)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed

    async def _addresses(self, host: str, port: int) -> Sequence[str]:
        # The dot at the end keeps the resolver from trying names of our own network.
        literal = _is_address(host)
        asked = host if literal or self._private else f"{host.rstrip('.')}."
        try:
            found = [host] if literal else await self._resolve(asked, port)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"the name is not known: {error}") from error
        for address in found if not self._private else ():
            why = refusal(address)
            if why is not None:
                # Not the address: a stranger would learn what our network's names stand for.
                raise AddressRefused(f"{host} is not asked: it is at an address that is {why}")
        return found


def _check_public(host: str, port: int) -> None:
    if port not in _PORTS.values():
        raise AddressRefused(f"port {port} is not asked; a URL's port is 80 or 443")
    if _is_address(host):
        why = refusal(host)
        if why is not None:
            raise AddressRefused(f"{host} is not asked: {why}")
    elif not _NAME.fullmatch(host):
        raise AddressRefused("the name of the server in the URL is none")
    elif _NUMERIC.fullmatch(host.rstrip(".").rpartition(".")[2]):
        raise AddressRefused(f"{host} is not asked: an address is written in full")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _header(answer: httpcore.Response, name: str) -> str | None:
    wanted = name.encode()
    values = (value for key, value in answer.headers if key.lower() == wanted)
    return next((value.decode("latin-1").strip() for value in values), None)


async def _pieces(answer: httpcore.Response, host: str, most: int) -> AsyncGenerator[bytes]:
    taken = 0
    with _translated(host):
        async for piece in answer.aiter_stream():
            taken += len(piece)
            if taken > most:
                raise _too_large(host, most)
            yield piece


def _too_large(host: str, most: int) -> TooLarge:
    return TooLarge(f"{host}: the file is larger than {most / 1e6:,.0f} MB")


@contextlib.contextmanager
def _translated(host: str) -> Iterator[None]:
    try:
        yield
    except _FAILED as error:
        said = str(error) or type(error).__name__
        raise Unreachable(f"{host}: {said}") from error


@contextlib.asynccontextmanager
async def _deadline(seconds: float, host: str) -> AsyncIterator[None]:
    """End the block after so many seconds of the machine's own time."""
    try:
        async with asyncio.timeout(seconds) as timer:
            yield
    except TimeoutError as error:
        if not timer.expired():
            raise
        raise Unreachable(f"{host}: it took longer than {seconds:g} s") from error
