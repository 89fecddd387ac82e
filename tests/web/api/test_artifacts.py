"""`/v1/artifacts`: in by form or by URL, out whole or in parts, with a key or by a link."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import io
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from PIL import Image

from understudy.testing.internet import Asked, Internet, answer

CONTENT = bytes(range(256)) * 8
WHERE = "/v1/artifacts"


def picture() -> bytes:
    """A small PNG."""
    file = io.BytesIO()
    Image.new("RGB", (12, 8), "teal").save(file, "PNG")
    return file.getvalue()


async def upload(client: httpx.AsyncClient, content: bytes = CONTENT, name: str = "a.bin") -> Any:
    """What the server says of a file that it was given."""
    said = await client.post(WHERE, files={"file": (name, content)})
    assert said.status_code == 201, said.text
    return said.json()


def lying(one: Any) -> list[Path]:
    """All that lies in the store."""
    folder = one.app.settings.home / "artifacts"
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_a_file_is_stored(site: Any) -> None:
    """Its facts are told from its content, and its bytes come back as they were."""
    async with site() as one:
        said = await one.client.post(
            WHERE, params={"user": "ann"}, files={"file": ("Ü ✓.png", picture(), "text/html")}
        )
        assert said.status_code == 201
        facts = said.json()
        assert said.headers["location"] == f"{WHERE}/{facts['id']}"
        wanted = {"name": "Ü ✓.png", "media_type": "image/png", "width": 12, "height": 8}
        assert wanted.items() <= facts.items()
        assert facts["sha256"] == hashlib.sha256(picture()).hexdigest()
        assert (await one.client.get(said.headers["location"])).json() == facts
        loaded = await one.client.get(f"{WHERE}/{facts['id']}/content")
        assert (loaded.status_code, loaded.content) == (200, picture())
        with sqlite3.connect(one.app.settings.home / "understudy.db") as rows:
            assert rows.execute("SELECT user_id FROM artifacts").fetchall() == [("ann",)]


async def test_what_a_browser_may_do_with_it(site: Any) -> None:
    """A stranger's file is given no rights of this site; what it might run is saved, not shown."""
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    html = b"<!doctype html><script>alert(1)</script>"
    async with site() as one:
        for content, shown in ((picture(), True), (svg, False), (html, False), (b"\0", False)):
            facts = await upload(one.client, content, 'a"b.png')
            headers = (await one.client.get(f"{WHERE}/{facts['id']}/content")).headers
            assert headers["content-type"].partition(";")[0] == facts["media_type"]
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["content-security-policy"].startswith("sandbox;")
            assert headers["referrer-policy"] == "no-referrer"
            kind, _, name = headers["content-disposition"].partition(";")
            assert kind == ("inline" if shown else "attachment")
            assert name == " filename=\"a_b.png\"; filename*=UTF-8''a%22b.png"
            saved = await one.client.get(f"{WHERE}/{facts['id']}/content?download=true")
            assert saved.headers["content-disposition"].startswith("attachment;")


async def test_parts_of_a_file(site: Any) -> None:
    """A download goes on where it broke off, as long as it is the same file."""
    async with site() as one:
        facts = await upload(one.client)
        at = f"{WHERE}/{facts['id']}/content"
        whole = await one.client.get(at)
        tag = whole.headers["etag"]
        assert tag == f'"{facts["sha256"]}"'
        assert whole.headers["accept-ranges"] == "bytes"
        part = await one.client.get(at, headers={"Range": "bytes=100-299", "If-Range": tag})
        assert (part.status_code, part.content) == (206, CONTENT[100:300])
        assert part.headers["content-range"] == f"bytes 100-299/{len(CONTENT)}"
        assert part.headers["content-length"] == "200"
        rest = await one.client.get(at, headers={"Range": "bytes=-5"})
        assert rest.content == CONTENT[-5:]
        other = await one.client.get(at, headers={"Range": "bytes=1-2", "If-Range": '"other"'})
        assert (other.status_code, other.content) == (200, CONTENT)
        behind = await one.client.get(at, headers={"Range": f"bytes={len(CONTENT)}-"})
        assert (behind.status_code, behind.json()["code"]) == (416, "out_of_range")
        assert behind.headers["content-range"] == f"bytes */{len(CONTENT)}"
        assert behind.headers["content-type"] == "application/problem+json"


async def test_what_one_has_already(site: Any) -> None:
    """A file that the asker has is not sent again, and its head can be had alone."""
    async with site() as one:
        facts = await upload(one.client)
        at = f"{WHERE}/{facts['id']}/content"
        for tag in (f'"{facts["sha256"]}"', f'"other", W/"{facts["sha256"]}"', "*"):
            same = await one.client.get(at, headers={"If-None-Match": tag})
            assert (same.status_code, same.content) == (304, b"")
        assert (await one.client.get(at, headers={"If-None-Match": '"other"'})).content == CONTENT
        head = await one.client.head(at)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == str(len(CONTENT))


async def test_a_file_without_bytes(site: Any) -> None:
    """Nothing is something that can be stored and loaded."""
    async with site() as one:
        facts = await upload(one.client, b"")
        loaded = await one.client.get(f"{WHERE}/{facts['id']}/content")
        assert (loaded.status_code, loaded.content, facts["size"]) == (200, b"", 0)


async def test_a_link_needs_no_key(site: Any) -> None:
    """Who has the link reads that one file until it expires; no part of it can be changed."""
    async with site(admin_key="k" * 32, link_hours=1) as one:
        async with one.holder("k" * 32) as owner:
            facts = await upload(owner)
            other = await upload(owner, b"other")
        link = facts["url"]
        loaded = await one.client.get(link)
        assert (loaded.status_code, loaded.content) == (200, CONTENT)
        part = await one.client.get(f"{link}&download=true", headers={"Range": "bytes=0-9"})
        assert (part.status_code, part.content) == (206, CONTENT[:10])
        assert (await one.client.get(f"{WHERE}/{facts['id']}/content")).status_code == 401
        assert (await one.client.get(link.replace(facts["id"], other["id"]))).status_code == 403
        assert (await one.client.get(link.replace("expires=", "expires=1"))).status_code == 403
        assert (await one.client.get(f"{link}x")).status_code == 403
        assert (await one.client.get(link.replace("/content", ""))).status_code == 401
        assert (await one.client.delete(link)).status_code in {401, 405}
        one.app.links._lifetime = -1.0
        ended = await one.app.links.sign(f"{WHERE}/{facts['id']}/content")
        refused = await one.client.get(ended.path)
        assert (refused.status_code, refused.json()["detail"]) == (403, "the link has expired")


async def test_links_are_absolute_where_the_server_knows_its_name(site: Any) -> None:
    """`public_url` stands before a link, which then works from everywhere."""
    async with site(public_url="https://media.example.com") as one:
        facts = await upload(one.client)
        assert facts["url"].startswith(f"https://media.example.com{WHERE}/art_")


async def test_a_link_to_what_was_deleted(site: Any) -> None:
    """A deleted file is gone for its link, too, with its bytes."""
    async with site() as one:
        facts = await upload(one.client)
        assert (await one.client.delete(f"{WHERE}/{facts['id']}")).status_code == 204
        assert lying(one) == []
        for at in (facts["url"], f"{WHERE}/{facts['id']}", f"{WHERE}/{facts['id']}/content"):
            assert (await one.client.get(at)).status_code == 404
        assert (await one.client.delete(f"{WHERE}/{facts['id']}")).status_code == 404


async def test_another_tenant_s_file_is_not_there(site: Any) -> None:
    """Another tenant's key neither sees, loads nor deletes a file, whatever its scope."""
    async with site() as one:
        facts = await upload(one.client)
        token = await one.key("admin", tenant="other")
        async with one.holder(token) as other:
            at = f"{WHERE}/{facts['id']}"
            for asked in (other.get(at), other.get(f"{at}/content"), other.delete(at)):
                assert (await asked).status_code == 404
            assert (await other.get(facts["url"])).content == CONTENT
        assert len(lying(one)) == 1


async def test_who_may_only_read_stores_nothing(site: Any) -> None:
    """Storing and deleting take the scope `submit`."""
    async with site() as one:
        facts = await upload(one.client)
        async with one.holder(await one.key("read")) as reader:
            refused = await reader.post(WHERE, files={"file": ("a", b"x")})
            assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
            assert (await reader.delete(f"{WHERE}/{facts['id']}")).status_code == 403
            assert (await reader.get(f"{WHERE}/{facts['id']}/content")).content == CONTENT


async def test_too_large_a_file_is_stopped(site: Any) -> None:
    """Over the limit the rest is not read, whether the size was told or not; nothing stays."""
    sent: list[int] = []

    async def endless() -> AsyncIterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for number in range(10_000):
            sent.append(number)
            yield b"x" * 1000

    async with site(upload_mb=0.05) as one:
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        said = await one.client.post(WHERE, content=endless(), headers=headers)
        assert (said.status_code, said.json()["code"]) == (413, "too_large")
        assert said.headers["connection"] == "close"
        assert len(sent) < 100
        told = await one.client.post(WHERE, files={"file": ("a", b"x" * 50_001)})
        assert told.status_code == 413
        assert lying(one) == []
        await upload(one.client, b"x" * 40_000)


@pytest.mark.parametrize(
    ("form", "pointer"),
    [
        ({"files": {"other": ("a", b"x")}}, "/other"),
        ({"files": {"a/b~": ("a", b"x")}}, "/a~1b~0"),
        ({"files": {"file": ("a", b"x")}, "data": {"note": "x"}}, "/note"),
        ({"files": {"file": ("", b"")}}, "/file"),
    ],
)
async def test_forms_that_are_refused(site: Any, form: dict[str, Any], pointer: str) -> None:
    """A form without its file, or with more than it, is refused by name, and nothing stays."""
    async with site() as one:
        said = await one.client.post(WHERE, **form)
        assert (said.status_code, said.json()["code"]) == (422, "invalid_input")
        assert said.json()["errors"][0]["pointer"] == pointer
        assert lying(one) == []


async def test_bodies_that_are_no_form(site: Any) -> None:
    """What is cut off, garbled, of another type or two files is a 400, and nothing stays."""
    two = [("file", ("a", b"x")), ("file", ("b", b"y"))]
    plain = {"Content-Type": "text/plain"}
    cut = {"Content-Type": "multipart/form-data; boundary=b"}
    async with site() as one:
        for said in (
            await one.client.post(WHERE, content=b"x", headers=plain),
            await one.client.post(WHERE),
            await one.client.post(WHERE, content=b"--b\r\nX", headers=cut),
            await one.client.post(WHERE, files=two),
        ):
            assert (said.status_code, said.json()["code"]) == (400, "malformed"), said.text
        assert lying(one) == []


# By URL

URL = "https://example.com/photos/my%20photo.png?token=hidden"


def elsewhere(one: Any, said: Any) -> Internet:
    """Other people's servers, which answer this."""
    outside = Internet({"example.com": ["93.184.216.34"], "inside.example": ["10.0.0.7"]})
    outside.serve(said)
    one.api.state.app = dataclasses.replace(one.app, fetcher=outside.fetcher(one.app.clock))
    return outside


async def test_a_file_by_its_url(site: Any) -> None:
    """The server loads it, names it as the URL does or as it is told, and looks what it is."""
    async with site() as one:
        outside = elsewhere(one, lambda _: answer(200, picture(), content_type="text/html"))
        said = await one.client.post(WHERE, json={"url": URL}, params={"user": "ann"})
        assert said.status_code == 201, said.text
        wanted = {"name": "my photo.png", "media_type": "image/png", "size": len(picture())}
        assert wanted.items() <= said.json().items()
        named = await one.client.post(WHERE, json={"url": URL, "name": "../b.png"})
        assert named.json()["name"] == "b.png"
        assert outside.dialled == [("93.184.216.34", 443)] * 2


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "https://inside.example/a",
        "file:///etc/passwd",
        "https://user:word@example.com/",
        "https://example.com:8443/",
    ],
)
async def test_urls_that_are_refused(site: Any, url: str) -> None:
    """A URL that must not be reached is the caller's fault, and the field is named."""
    async with site() as one:
        outside = elsewhere(one, lambda _: answer(200, b"x"))
        said = await one.client.post(WHERE, json={"url": url})
        assert (said.status_code, said.json()["code"]) == (422, "address_refused")
        assert said.json()["errors"][0]["pointer"] == "/url"
        assert outside.dialled == []


@pytest.mark.parametrize(
    ("said", "status", "code"),
    [
        (lambda _: answer(404, b"their secret"), 422, "input"),
        (lambda _: answer(500, b"their secret", retry_after="7"), 503, "unreachable"),
        (lambda _: answer(200, b"x" * 50_001), 413, "too_large"),
        (lambda _: [b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"], 503, "unreachable"),
        (lambda _: answer(302, location="http://127.0.0.1/"), 422, "address_refused"),
    ],
)
async def test_files_that_do_not_come(site: Any, said: Any, status: int, code: str) -> None:
    """Why it did not come is told without a word of theirs, and nothing of it stays."""

    def served(asked: Asked) -> Iterable[bytes]:
        answered: Iterable[bytes] = said(asked)
        return answered

    async with site(upload_mb=0.05) as one:
        elsewhere(one, served)
        refused = await one.client.post(WHERE, json={"url": URL})
        assert (refused.status_code, refused.json()["code"]) == (status, code), refused.text
        assert "secret" not in refused.text
        assert "hidden" not in refused.text
        assert refused.headers.get("retry-after") in {None, "7"}
        assert lying(one) == []


@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        (b"{", 400, ""),
        (b"[" * 100_000, 400, ""),
        (b"\xff", 400, ""),
        (b"{}", 422, "/url"),
        (b"[]", 422, ""),
        (b'{"url": 1}', 422, "/url"),
        (b'{"url": "https://example.com/", "secret": 1}', 422, "/secret"),
        (b'{"url": "https://example.com/", "name": "a\\u0000"}', 422, "/name"),
        (b" " * 200_000, 413, None),
    ],
)
async def test_json_that_is_refused(site: Any, body: bytes, status: int, pointer: Any) -> None:
    """Broken, wrong, unknown and oversized bodies are problems that point at the place."""
    async with site(body_kb=150) as one:
        json = {"Content-Type": "application/json; charset=utf-8"}
        said = await one.client.post(WHERE, content=body, headers=json)
        assert said.status_code == status, said.text
        assert said.headers["content-type"] == "application/problem+json"
        if pointer is not None:
            assert said.json()["errors"][0]["pointer"] == pointer


async def until(condition: Callable[[], bool]) -> None:
    """Return once it holds, which others bring about."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - a file system tells nobody
            await asyncio.sleep(0.01)


async def test_a_sender_who_goes_away(site: Any) -> None:
    """Over a real socket: half an upload that is broken off leaves nothing in the store."""
    async with site() as one:
        config = uvicorn.Config(one.api, port=0, log_config=None, lifespan="off")
        server = uvicorn.Server(config)
        running = asyncio.create_task(server.serve())
        await until(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        head = 'Content-Disposition: form-data; name="file"; filename="a"'
        writer.write(
            f"POST {WHERE} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 100000\r\n"
            f"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n{head}\r\n\r\n".encode()
            + b"x" * 1000
        )
        await writer.drain()
        await until(lambda: bool(lying(one)))
        writer.close()
        await until(lambda: not lying(one))
        server.should_exit = True
        await running
