"""Loads and messages through the safe fetcher: what is dialled, followed, counted and refused."""

from __future__ import annotations

import asyncio
import itertools
import ssl
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpcore
import pytest

from understudy.clock import ManualClock
from understudy.errors import AddressRefused, InputError, TooLarge, Unreachable
from understudy.outbound import Fetcher, Posted, system_resolve
from understudy.testing.internet import Asked, Internet, answer

PUBLIC = "93.184.216.34"
OTHER = "93.184.216.35"
FILE = b"x" * 1000
_CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIByDCCAW6gAwIBAgIUbezGtNUEu7+sS2nY4p2nzSjHW20wCgYIKoZIzj0EAwIw
GDEWMBQGA1UEAwwNaG9va3MuZXhhbXBsZTAgFw0yNjExMjIyMjEyMThaGA8yMTI2
MTAyOTIyMTIxOFowGDEWMBQGA1UEAwwNaG9va3MuZXhhbXBsZTBZMBMGByqGSM49
AgEGCCqGSM49AwEHA0IABBGqahwDgrgtZtmEBqV8Wc3+pCllASYWQAkVtZ2jV7Oj
NYVMIbIQrNQI5PedfCQf6/3z4dcdDkZOK0fwNwxcIRGjgZMwgZAwHQYDVR0OBBYE
FI6rFy9o2BpWC3t+L9kQt4gH2hORMB8GA1UdIwQYMBaAFI6rFy9o2BpWC3t+L9kQ
t4gH2hORMA8GA1UdEwEB/wQFMAMBAf8wGAYDVR0RBBEwD4INaG9va3MuZXhhbXBs
ZTAOBgNVHQ8BAf8EBAMCAoQwEwYDVR0lBAwwCgYIKwYBBQUHAwEwCgYIKoZIzj0E
AwIDSAAwRQIhAOsEoLWr8zdCmmUppFM9HB5dB04Uu9iHJAy9uARtdqnvAiA0RL9t
pz0FhDH47sGI04McpWidqbX0OqjQkOXTHBv2ig==
-----END CERTIFICATE-----
"""
_KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg1k19H2VHH9Y+0KU3
4EMZ4863gzeZX+cieprTxCByQNahRANCAAQRqmocA4K4LWbZhAalfFnN/qQpZQEm
FkAJFbWdo1ezozWFTCGyEKzUCOT3nXwkH+v98+HXHQ5GTitH8DcMXCER
-----END PRIVATE KEY-----
"""
"""Of `hooks.example`, made for this test and believed by nobody else."""


@pytest.fixture
def outside() -> Internet:
    """One server under a few names."""
    return Internet(
        {
            "example.com": [PUBLIC],
            "other.example": [OTHER],
            "inside.example": ["10.0.0.1"],
            "both.example": [PUBLIC, "127.0.0.1"],
            "two.example": [PUBLIC, OTHER],
            "nowhere.example": [],
        }
    )


@pytest.fixture
def fetcher(outside: Internet) -> Fetcher:
    """Goes to public addresses only."""
    return outside.fetcher(ManualClock())


async def load(fetcher: Fetcher, url: str, *, most: int = 10_000) -> tuple[str, bytes]:
    """The name and the bytes of a file."""
    async with fetcher.get(url, most=most, within=10) as found:
        return found.name, b"".join([piece async for piece in found.pieces])


async def test_a_file_is_loaded(outside: Internet, fetcher: Fetcher) -> None:
    """The name is looked up once, as it stands; its address is dialled, and told the name."""
    outside.serve(lambda _: answer(200, FILE))
    assert await load(fetcher, "https://example.com/a/my%20photo.jpg?x=1#y") == (
        "my photo.jpg",
        FILE,
    )
    assert outside.looked_up == ["example.com."]
    assert outside.dialled == [(PUBLIC, 443)]
    (asked,) = outside.asked
    assert (asked.method, asked.target) == ("GET", "/a/my%20photo.jpg?x=1")
    assert asked.server_name == asked.headers["host"] == "example.com"
    assert asked.headers["accept-encoding"] == "identity"
    assert not {"authorization", "cookie", "referer"} & set(asked.headers)


async def test_a_file_without_a_name_has_the_server_s(outside: Internet, fetcher: Fetcher) -> None:
    """A URL that ends at the server gives its name to the file."""
    outside.serve(lambda _: answer(200, FILE))
    assert (await load(fetcher, "http://example.com/"))[0] == "example.com"
    assert outside.dialled == [(PUBLIC, 80)]


@pytest.mark.parametrize("url", ["http://inside.example/", "https://both.example/"])
async def test_a_name_of_ours_is_refused(outside: Internet, fetcher: Fetcher, url: str) -> None:
    """One address among many that must not be reached refuses them all; nothing is dialled."""
    with pytest.raises(AddressRefused, match="it is at an address"):
        await load(fetcher, url)
    assert outside.dialled == []


async def test_a_name_that_changes_between_looks(fetcher: Fetcher, outside: Internet) -> None:
    """A name that is public at the first look and inside at the second reaches nothing inside.

    There is one look for each connection, and what it said is what is dialled.
    """
    outside.names["rebound.example"] = [[PUBLIC], ["127.0.0.1"], [PUBLIC]]
    outside.serve(lambda _: answer(200, FILE))
    fetcher.check("http://rebound.example/")
    await load(fetcher, "http://rebound.example/")
    with pytest.raises(AddressRefused):
        await load(fetcher, "http://rebound.example/")
    assert outside.dialled == [(PUBLIC, 80)]


async def test_a_name_that_changes_with_a_redirect(fetcher: Fetcher, outside: Internet) -> None:
    """A redirect to the same name is looked up and checked again."""
    outside.names["rebound.example"] = [[PUBLIC], ["169.254.169.254"]]
    outside.serve(lambda _: answer(302, location="/latest/meta-data/"))
    with pytest.raises(AddressRefused, match="local link"):
        await load(fetcher, "http://rebound.example/")
    assert outside.dialled == [(PUBLIC, 80)]


@pytest.mark.parametrize(
    ("location", "error"),
    [
        ("http://127.0.0.1/", AddressRefused),
        ("http://[::1]/", AddressRefused),
        ("http://inside.example/", AddressRefused),
        ("//inside.example/", AddressRefused),
        ("http://example.com:22/", AddressRefused),
        ("http://user:word@example.com/", AddressRefused),
        ("file:///etc/passwd", AddressRefused),
        ("gopher://example.com/", AddressRefused),
        ("http://exa\x7fmple.com/", AddressRefused),
        ("", InputError),
    ],
)
async def test_redirects_that_are_not_followed(
    outside: Internet, fetcher: Fetcher, location: str, error: type[Exception]
) -> None:
    """A redirect obeys every rule that the first URL does."""

    def redirect(_: Asked) -> Iterable[bytes]:
        return answer(302, location=location) if location else answer(302)

    outside.serve(redirect)
    with pytest.raises(error):
        await load(fetcher, "http://example.com/")
    assert outside.dialled == [(PUBLIC, 80)]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_three_redirects_are_followed(
    outside: Internet, fetcher: Fetcher, status: int
) -> None:
    """The file behind three redirects comes, relative and over servers; a fourth is too much."""
    way = {"/0": "1", "/1": "//other.example/2", "/2": "https://example.com/3"}

    def redirect(asked: Asked) -> Iterable[bytes]:
        location = way.get(asked.target)
        return answer(status, location=location) if location else answer(200, FILE)

    outside.serve(redirect)
    assert await load(fetcher, "http://example.com/0") == ("3", FILE)
    assert outside.dialled == [(PUBLIC, 80), (PUBLIC, 80), (OTHER, 80), (PUBLIC, 443)]
    way["/3"] = "/4"
    with pytest.raises(InputError, match="more than 3 times"):
        await load(fetcher, "http://example.com/0")


@pytest.mark.parametrize("said", [{}, {"content_length": "0"}])
async def test_too_large_a_file_is_stopped(
    outside: Internet, fetcher: Fetcher, said: dict[str, str]
) -> None:
    """More bytes than allowed are not taken, whether their number was told or not."""
    sent: list[int] = []

    def endless(_: Asked) -> Iterator[bytes]:
        yield (
            b"HTTP/1.1 200 OK\r\n\r\n"
            if not said
            else b"HTTP/1.1 200 OK\r\ncontent-length: 10001\r\n\r\n"
        )
        for size in itertools.repeat(1000):
            sent.append(size)
            yield b"x" * size

    outside.serve(endless)
    with pytest.raises(TooLarge, match=r"example\.com: the file is larger"):
        await load(fetcher, "http://example.com/a", most=10_000)
    assert sum(sent) <= (12_000 if not said else 1000)


async def test_the_whole_size_is_allowed(outside: Internet, fetcher: Fetcher) -> None:
    """A file of exactly the limit comes."""
    outside.serve(lambda _: answer(200, FILE))
    assert (await load(fetcher, "http://example.com/a", most=1000))[1] == FILE


@pytest.mark.parametrize(
    ("status", "error"),
    [(404, InputError), (403, InputError), (204, InputError), (206, InputError), (304, InputError),
     (408, Unreachable), (425, Unreachable), (429, Unreachable), (500, Unreachable),
     (503, Unreachable)],
)  # fmt: skip
async def test_answers_that_are_no_file(
    outside: Internet, fetcher: Fetcher, status: int, error: type[Exception]
) -> None:
    """What another try may change is told apart from what it cannot, and no body is shown."""
    outside.serve(lambda _: answer(status, b"" if status in {204, 304} else b"secret"))
    with pytest.raises(error) as caught:
        await load(fetcher, "http://example.com/?token=hidden")
    assert type(caught.value) is error
    assert "secret" not in str(caught.value)
    assert "hidden" not in str(caught.value)


async def test_what_is_compressed_is_refused(outside: Internet, fetcher: Fetcher) -> None:
    """A small answer cannot become a large one here: compression was not asked for."""
    outside.serve(lambda _: answer(200, FILE, content_encoding="gzip"))
    with pytest.raises(InputError, match="compressed"):
        await load(fetcher, "http://example.com/a")


async def test_an_answer_that_breaks_off(outside: Internet, fetcher: Fetcher) -> None:
    """Half a file is no file, and garbage no answer; another try may help."""
    for said in (
        [b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"],
        [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"],
        [b"SSH-2.0-server\r\n"],
        [],
    ):
        outside.serve(lambda _, said=said: said)  # type: ignore[misc]
        with pytest.raises(Unreachable, match=r"^example\.com: "):
            await load(fetcher, "http://example.com/a")


async def test_a_server_that_cannot_be_reached(outside: Internet, fetcher: Fetcher) -> None:
    """A silent address gives way to the next; when none answers, or there is none, it is said."""
    outside.serve(lambda _: answer(200, FILE))
    outside.silent = {PUBLIC}
    assert (await load(fetcher, "http://two.example/"))[1] == FILE
    assert outside.dialled == [(PUBLIC, 80), (OTHER, 80)]
    for url in ("http://example.com/", "http://nowhere.example/", "http://unknown.example/"):
        with pytest.raises(Unreachable):
            await load(fetcher, url)


async def test_a_slow_server_is_left(outside: Internet) -> None:
    """The time that is allowed is for all of it: the look-up, the answer and its last byte."""
    hours = asyncio.Event()

    async def never(host: str, port: int) -> list[str]:
        await hours.wait()
        return [PUBLIC]

    fetcher = Fetcher(ManualClock(), resolve=never, dial=outside)
    with pytest.raises(Unreachable, match=r"longer than 0\.01 s"):
        async with fetcher.get("http://example.com/", most=10, within=0.01):
            pass
    fetcher = outside.fetcher(ManualClock())
    outside.serve(lambda _: answer(200, FILE))
    with pytest.raises(Unreachable, match=r"longer than 0\.01 s"):
        async with fetcher.get("http://example.com/", most=10_000, within=0.01):
            await hours.wait()


async def test_a_timeout_of_the_reader_s_own_is_his(outside: Internet, fetcher: Fetcher) -> None:
    """What the block raises itself is not taken for the server's slowness."""
    outside.serve(lambda _: answer(200, FILE))
    with pytest.raises(TimeoutError, match="mine"):
        async with fetcher.get("http://example.com/", most=10_000, within=10):
            raise TimeoutError("mine")


@pytest.mark.parametrize(
    ("headers", "pause"),
    [
        ({}, None),
        ({"retry_after": "120"}, 120.0),
        ({"retry_after": "999999"}, 21_600.0),
        ({"retry_after": "Fri, 15 Jan 2027 08:01:00 GMT"}, 60.0),
        ({"retry_after": "Fri, 15 Jan 2021 08:01:00 GMT"}, 0.0),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "-1"}, None),
    ],
)
async def test_a_message_is_posted(
    outside: Internet, fetcher: Fetcher, headers: dict[str, str], pause: float | None
) -> None:
    """The body and headers arrive as they were given; of the answer only its head is told."""
    outside.serve(lambda _: answer(503, b"no", **headers))
    posted = await fetcher.post("https://example.com/a", b"body", {"X-One": "1"}, within=5)
    assert posted == Posted(503, pause)
    assert not posted.taken
    (asked,) = outside.asked
    assert (asked.method, asked.body, asked.headers["x-one"]) == ("POST", b"body", "1")
    assert asked.headers["content-length"] == "4"


async def test_a_message_follows_no_redirect(outside: Internet, fetcher: Fetcher) -> None:
    """A redirect is an answer as any other, and 2xx alone means taken."""
    outside.serve(lambda _: answer(307, location="https://other.example/"))
    posted = await fetcher.post("https://example.com/", b"", {}, within=5)
    assert (posted.status, posted.taken) == (307, False)
    assert outside.dialled == [(PUBLIC, 443)]
    outside.serve(lambda _: answer(204))
    assert (await fetcher.post("https://example.com/", b"", {}, within=5)).taken


async def test_no_setting_of_the_system_leads_around(
    outside: Internet, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy of the environment is not used: it could go where we do not."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    outside.serve(lambda _: answer(200, FILE))
    await load(fetcher, "http://example.com/a")
    assert outside.dialled == [(PUBLIC, 80)]


# Over real sockets


@asynccontextmanager
async def served(context: ssl.SSLContext | None = None) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server on this machine that answers each request with a file: its port, what came."""
    came: list[bytes] = []

    async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(await reader.readuntil(b"\r\n\r\n"))
        writer.writelines(answer(200, FILE))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answered, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1], came


class _ToThisMachine(httpcore.AnyIOBackend):
    """Dials the test's own port, whatever address was asked for."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.asked: list[str] = []

    async def connect_tcp(
        self, host: str, port: int, *_: object, **__: object
    ) -> httpcore.AsyncNetworkStream:
        self.asked.append(host)
        return await super().connect_tcp("127.0.0.1", self._port)


async def test_over_a_real_socket() -> None:
    """In development, this machine is reached by any port, with the system's own resolver."""
    async with served() as (port, came):
        loose = Fetcher(ManualClock(), private_addresses=True)
        assert (await load(loose, f"http://127.0.0.1:{port}/a.png"))[1] == FILE
        assert f"host: 127.0.0.1:{port}".encode() in came[0].lower()
        with pytest.raises(AddressRefused):
            await load(Fetcher(ManualClock()), f"http://127.0.0.1:{port}/a.png")
        assert len(came) == 1
    with pytest.raises(Unreachable):
        await load(loose, f"http://127.0.0.1:{port}/a.png")
    assert await system_resolve("127.0.0.1", 80) == ["127.0.0.1"]


async def test_the_name_s_certificate_counts(tmp_path: Path) -> None:
    """The checked address is dialled, and the certificate must be of the name in the URL."""
    (tmp_path / "both.pem").write_text(_CERTIFICATE + _KEY)
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(tmp_path / "both.pem")
    ours = ssl.create_default_context(cadata=_CERTIFICATE)
    ours.verify_flags |= ssl.VERIFY_X509_STRICT  # as newer Pythons have it by default
    outside = Internet({"hooks.example": [PUBLIC], "evil.example": [PUBLIC]})
    async with served(theirs) as (port, came):
        dial = _ToThisMachine(port)
        fetcher = Fetcher(ManualClock(), resolve=outside.resolve, trust=ours, dial=dial)
        assert (await load(fetcher, "https://hooks.example/a"))[1] == FILE
        assert dial.asked == [PUBLIC]
        with pytest.raises(Unreachable, match=r"(?i)certificate"):
            await load(fetcher, "https://evil.example/a")
        strict = Fetcher(ManualClock(), resolve=outside.resolve, dial=dial)
        with pytest.raises(Unreachable, match=r"(?i)certificate"):
            await load(strict, "https://hooks.example/a")
        assert len(came) == 1
