"""Forms with files, read as they come, in any pieces; and what is left of those that fail."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from fastapi.requests import Request
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from understudy.artifacts.artifacts import Artifacts
from understudy.artifacts.stores.disk import Disk
from understudy.clock import ManualClock
from understudy.db.database import Database
from understudy.errors import TooLarge
from understudy.web import multipart
from understudy.web.multipart import Limits
from understudy.web.problem import MalformedError

BOUNDARY = "line-7"
LIMITS = Limits(body=1_000_000, field=1000)


def part(disposition: str, content: bytes, *headers: str) -> bytes:
    """One part of a form."""
    head = [f"--{BOUNDARY}", f"Content-Disposition: form-data; {disposition}", *headers, "", ""]
    return "\r\n".join(head).encode() + content + b"\r\n"


def end() -> bytes:
    """The last boundary."""
    return f"--{BOUNDARY}--\r\n".encode()


def asked(pieces: Iterable[bytes], content_type: str | None = None, **headers: str) -> Request:
    """A request whose body comes in these pieces, and whose sender then goes away."""
    named = {"content-type": content_type or f"multipart/form-data; boundary={BOUNDARY}"}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    body = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    messages = iter([*body, {"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> dict[str, object]:
        return next(messages, {"type": "http.disconnect"})

    raw = [(name.encode(), value.encode("latin-1")) for name, value in named.items()]
    scope = {"type": "http", "method": "POST", "path": "/", "headers": raw, "query_string": b""}
    return Request(scope, receive)


class Kept:
    """The files of a home, and what lies there."""

    def __init__(self, files: Artifacts, home: Path) -> None:
        self.files = files
        self._home = home

    def lying(self) -> list[Path]:
        """Every file in the store, finished or not."""
        return [path for path in (self._home / "artifacts").rglob("*") if path.is_file()]

    async def bytes_of(self, artifact_id: str) -> bytes:
        """The content."""
        return b"".join([piece async for piece in await self.files.open(artifact_id)])


@asynccontextmanager
async def kept(home: Path) -> AsyncIterator[Kept]:
    """An empty home."""
    async with Database.in_memory() as database:
        clock = ManualClock()
        yield Kept(Artifacts(database, Disk(home / "artifacts", clock), home / "tmp", clock), home)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200), cuts=st.lists(st.integers(0, 600), max_size=8))
async def test_however_it_is_cut(tmp_path: Path, content: bytes, cuts: list[int]) -> None:
    """Fields and files come out the same wherever the network cut the body, even at a boundary."""
    body = part('name="note"', b"hello") + part('name="file"; filename="a.bin"', content) + end()
    at = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    async with kept(tmp_path) as home:
        pieces = [body[a:b] for a, b in itertools.pairwise(at)]
        form = await multipart.store_form(asked(pieces), home.files, LIMITS)
        assert form.fields == [("note", "hello")]
        ((name, artifact),) = form.files
        assert (name, artifact.name) == ("file", "a.bin")
        assert await home.bytes_of(artifact.id) == content


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ('"a b.png"', "a b.png"),
        ('"Ünïcode 写真.png"', "Ünïcode 写真.png"),
        ('"quo%22ted.png"', 'quo"ted.png'),
        ('"new%0D%0Aline.png"', "newline.png"),
        ('"../../etc/passwd"', "passwd"),
        ('"C:\\\\windows\\\\evil.exe"', "evil.exe"),
        ('"gnp.\u202eexe"', "gnp.exe"),
        ('"<script>.png"', "<script>.png"),
        ('"nul\0l.png"', "null.png"),
        ('".."', "file"),
        ("plain.png", "plain.png"),
    ],
)
async def test_names_of_strangers(tmp_path: Path, written: str, name: str) -> None:
    """No name leaves its folder, turns the text around, or loses its script."""
    body = part(f'name="file"; filename={written}', b"x") + end()
    async with kept(tmp_path) as home:
        form = await multipart.store_form(asked([body]), home.files, LIMITS)
        assert form.files[0][1].name == name


@pytest.mark.parametrize("many", [False, True])
async def test_a_large_body_is_stopped_where_it_is_too_large(tmp_path: Path, *, many: bool) -> None:
    """The body is read no further than its limit, told or not, and nothing of it stays."""
    first = part('name="file"; filename="a"', b"a" * 300)
    read: list[int] = []

    def endless() -> Iterable[bytes]:
        yield first
        for number in range(1000):
            read.append(number)
            yield part(f'name="f{number}"; filename="a"', b"b" * 100) if many else b"x" * 100

    async with kept(tmp_path) as home:
        pieces = endless()
        # Not all at once, as `asked` would have it: the pieces are made when they are read.
        request = asked([])
        request._receive = _receiving(pieces)
        with pytest.raises(TooLarge, match=r"0\.001 MB"):
            await multipart.store_form(request, home.files, Limits(body=1000, field=10))
        assert len(read) < 10
        assert home.lying() == []
        told = asked([first], content_length="1001")
        with pytest.raises(TooLarge):
            await multipart.store_form(told, home.files, Limits(body=1000, field=10))


def _receiving(pieces: Iterable[bytes]):
    left = iter(pieces)

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": next(left), "more_body": True}

    return receive


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ([b""], "the form ends"),
        ([b"hello"], "not well made"),
        ([part('name="file"; filename="a"', b"x")], "the form ends"),
        ([part('name="file"; filename="a"', b"x")[:-4]], "the form ends"),
        ([part('name="file"; filename="a"', b"x")[:30]], "the form ends"),
        ([part('filename="a"', b"x"), end()], "has no name"),
        ([f"--{BOUNDARY}\r\n\r\nx\r\n".encode(), end()], "has no name"),
        ([part('name="a"', b"x", *[f"X-{n}: y" for n in range(20)]), end()], "not well made"),
        ([part(f'name="{"a" * 9000}"', b"x"), end()], "not well made"),
    ],
)
async def test_what_is_no_form(tmp_path: Path, body: list[bytes], said: str) -> None:
    """A body that is cut off or garbled is refused, and a file before it is gone again."""
    before = part('name="file"; filename="first.bin"', b"first")
    async with kept(tmp_path) as home:
        for pieces in (body, [before, *body] if body != [b"hello"] else body):
            with pytest.raises(MalformedError, match=said):
                await multipart.store_form(asked(pieces), home.files, LIMITS)
            assert home.lying() == []


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "multipart/form-data", "multipart/mixed; boundary=a", "application/json", " "],
)
async def test_what_is_called_no_form(tmp_path: Path, content_type: str) -> None:
    """Another media type, or one without its boundary, is not guessed at."""
    async with kept(tmp_path) as home:
        with pytest.raises(MalformedError, match="with its boundary"):
            await multipart.store_form(asked([end()], content_type), home.files, LIMITS)


async def test_limits_of_fields(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long text, too many fields, and a file too many are refused; all files are gone."""
    monkeypatch.setattr(multipart, "MOST_FIELDS", 3)
    file = part('name="file"; filename="a"', b"x")
    field = part('name="note"', b"y" * 1000)
    async with kept(tmp_path) as home:
        form = await multipart.store_form(asked([file, field, end()]), home.files, LIMITS)
        await multipart.discard(form, home.files)
        for pieces, error in (
            ([file, part('name="note"', b"y" * 1001), end()], TooLarge),
            ([file, *[part('name="note"', b"y")] * 3, end()], TooLarge),
            ([file, *[part('name="note"', b"y" * 600)] * 2, end()], TooLarge),
        ):
            with pytest.raises(error):
                await multipart.store_form(asked(pieces), home.files, LIMITS)
        one = LIMITS._replace(files=1)
        with pytest.raises(MalformedError, match="1 file"):
            await multipart.store_form(asked([file, file, end()]), home.files, one)
        assert home.lying() == []


async def test_a_form_without_a_file_chosen(tmp_path: Path) -> None:
    """What a browser sends for an empty choice is no file."""
    body = part('name="file"; filename=""', b"", "Content-Type: application/octet-stream") + end()
    async with kept(tmp_path) as home:
        form = await multipart.store_form(asked([body]), home.files, LIMITS)
        assert form == ([], [])


async def test_a_sender_who_goes_away(tmp_path: Path) -> None:
    """Half an upload leaves nothing; nor does one whose route is cancelled."""
    first = part('name="file"; filename="a"', b"x" * 100)
    async with kept(tmp_path) as home:
        request = asked([])
        sent = iter([{"type": "http.request", "body": first + first[:-9], "more_body": True}])

        async def gone() -> dict[str, object]:
            return next(sent, {"type": "http.disconnect"})

        request._receive = gone
        with pytest.raises(MalformedError, match="went away"):
            await multipart.store_form(request, home.files, LIMITS)
        assert home.lying() == []

        waits = asyncio.Event()
        slow = iter([{"type": "http.request", "body": first + first[:-9], "more_body": True}])

        async def hangs() -> dict[str, object]:
            for message in slow:
                return message
            waits.set()
            await asyncio.Event().wait()
            raise AssertionError

        request = asked([])
        request._receive = hangs
        reading = asyncio.create_task(multipart.store_form(request, home.files, LIMITS))
        await waits.wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert home.lying() == []


async def test_parts_that_nobody_reads(tmp_path: Path) -> None:
    """A part that its reader leaves is passed over, and the next one comes whole."""
    body = part('name="one"', b"1" * 100) + part('name="two"', b"2") + end()
    names = [found.name async for found in multipart.parts(asked([body]), 1000)]
    assert names == ["one", "two"]
