"""Downloads: whole or not at all, and never twice what has come already."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from understudy.client.partial import Partial
from understudy.errors import InputError, NotFound, StorageError, StorageFull, Unreachable
from understudy.wire import ArtifactView

Made = Callable[..., httpx.Response]

CONTENT = b"0123456789" * 10
FILM = ArtifactView(
    id="art_1",
    name="../my\0 film.mp4",
    media_type="video/mp4",
    size=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    created_at="2026-11-22T12:00:00.000Z",
)
TAG = {"ETag": '"abc"'}
CUT = httpx.ReadError("cut off")


@pytest.mark.parametrize("name", ["art_1", {"id": "art_1", "size": 1}], ids=type)
def test_a_file_is_saved_under_its_own_name(
    asker: Any, stream: Made, tmp_path: Path, name: Any
) -> None:
    """By its id or by what an output holds, without the folders that its name claims."""
    asker.says(httpx.Response(200, json=FILM.model_dump()), stream(CONTENT[:9], CONTENT[9:]))
    path = asker("download", name, tmp_path)
    assert path == tmp_path / "my film.mp4"
    assert path.read_bytes() == CONTENT
    assert list(tmp_path.iterdir()) == [path]
    paths = [request.url.path for request in asker.requests]
    assert paths == ["/v1/artifacts/art_1", "/v1/artifacts/art_1/content"]


def test_a_broken_download_goes_on_where_it_stopped(
    asker: Any, stream: Made, tmp_path: Path
) -> None:
    """Only the rest is asked for, and only of the same file."""
    rest = {**TAG, "Content-Range": "bytes 30-99/100"}
    asker.says(
        stream(CONTENT[:10], CONTENT[10:30], CUT, headers=TAG),
        httpx.Response(503),
        stream(CONTENT[30:70], status=206, headers=rest),
        stream(CONTENT[70:], status=206, headers=rest),
    )
    asker("download", FILM, str(tmp_path / "film.mp4"))
    assert (tmp_path / "film.mp4").read_bytes() == CONTENT
    asked = [(r.headers.get("range"), r.headers.get("if-range")) for r in asker.requests]
    tag = '"abc"'
    assert asked == [(None, None), ("bytes=30-", tag), ("bytes=30-", tag), ("bytes=70-", tag)]


def test_a_server_that_begins_again_is_followed(asker: Any, stream: Made, tmp_path: Path) -> None:
    """Without a strong tag no rest is asked for, and a 200 replaces what has come."""
    weak = {"ETag": 'W/"abc"'}
    asker.says(stream(CONTENT[:30], CUT, headers=weak), stream(CONTENT, headers=weak))
    asker("download", FILM, tmp_path / "film.mp4")
    assert (tmp_path / "film.mp4").read_bytes() == CONTENT
    assert "range" not in asker.requests[1].headers


def test_what_is_not_whole_is_not_there(
    asker: Any, stream: Made, problem: Made, tmp_path: Path
) -> None:
    """A wrong content, an end that never comes, a refusal: an error, and no file at all."""
    kept = tmp_path / "film.mp4"
    kept.write_bytes(b"the old one")
    asker.says(stream(CONTENT[:-1] + b"!"))
    with pytest.raises(Unreachable, match="art_1: what came is not what the server keeps"):
        asker("download", FILM, kept)
    asker.answers = [lambda _: stream(CONTENT[:50])]
    with pytest.raises(Unreachable, match="art_1: its content ended early"):
        asker("download", FILM, kept)
    asker.answers = [CUT]
    with pytest.raises(Unreachable, match="cut off"):
        asker("download", FILM, kept)
    asker.says(problem("not_found", 404))
    with pytest.raises(NotFound):
        asker("download", FILM, kept)
    assert kept.read_bytes() == b"the old one"
    assert list(tmp_path.iterdir()) == [kept]


def test_what_names_no_file(asker: Any, tmp_path: Path) -> None:
    """It is said at once."""
    with pytest.raises(InputError, match="names no file"):
        asker("download", {"total": 1}, tmp_path)


def test_an_empty_file(asker: Any, stream: Made, tmp_path: Path) -> None:
    """It is one, too."""
    empty = FILM.model_copy(update={"size": 0, "sha256": hashlib.sha256(b"").hexdigest()})
    asker.says(stream())
    assert asker("download", empty, tmp_path / "empty").read_bytes() == b""


def test_a_folder_that_is_not_there(asker: Any, stream: Made, tmp_path: Path) -> None:
    """The error names the goal; nothing is asked of the server."""
    with pytest.raises(StorageError, match=r"none/film.mp4: No such file"):
        asker("download", FILM, tmp_path / "none" / "film.mp4")
    assert asker.requests == []


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    """As an error of its own, so that somebody can make room; nothing stays behind."""

    class Full:
        def write(self, _: bytes) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    partial = Partial(tmp_path / "film.mp4", "film.mp4")
    partial.open()
    assert partial._file is not None
    partial._file.close()
    partial._file = Full()  # type: ignore[assignment]
    with pytest.raises(StorageFull, match="No space left"):
        partial.add(b"x")
    partial.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "kept"), [("..", "file"), ("", "file"), ("a\\b.mp4", "b.mp4")])
def test_a_name_stays_in_its_folder(tmp_path: Path, name: str, kept: str) -> None:
    """Whatever the server calls the file."""
    partial = Partial(tmp_path, name)
    partial.open()
    assert partial.finish() == tmp_path / kept
    partial.close()
