from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from understudy.errors import StorageFull
from understudy.media import worker
from understudy.media.archive import ArchiveLimits
from understudy.media.ffmpeg import find_ffmpeg
from understudy.media.worker import TASKS, Params, Progress, answer

PHOTOS = Path(__file__).parents[2] / "examples" / "photos"


def ask(task: str, **params: Any) -> list[Params]:
    """Everything that a worker sends about one request."""
    sent: list[Params] = []
    answer(json.dumps({"task": task, "params": params}).encode(), TASKS, sent.append)
    assert json.loads(json.dumps(sent)) == sent
    return sent


def test_every_task(tmp_path: Path) -> None:
    """Two photos go through all the tasks and come out as one film, as JSON all the way."""
    archive = tmp_path / "photos.zip"
    with zipfile.ZipFile(archive, "w") as out:
        for name in ("01-temple.jpg", "05-cat.jpg"):
            out.write(PHOTOS / name, name)
    folder = tmp_path / "out"
    folder.mkdir()
    limits = asdict(ArchiveLimits())
    (unpacked,) = ask("unpack", archive=str(archive), folder=str(folder), name="x", limits=limits)
    first, second = (member["path"] for member in unpacked["result"]["members"])
    made = [str(tmp_path / name) for name in ("1.png", "2.png")]
    canvas = {"width": 64, "height": 48, "fit": "cover"}
    for source, target in zip((first, second), made, strict=True):
        (photo,) = ask("photo", source=source, target=target, name="x", canvas=canvas)
        assert photo["result"]["media_type"] == "image/jpeg"
    clip, film = str(tmp_path / "clip.mp4"), str(tmp_path / "film.mp4")
    ffmpeg = str(find_ffmpeg())
    *progress, done = ask(
        "clip",
        first=made[0],
        second=made[1],
        target=clip,
        width=64,
        height=48,
        fps=30,
        hold=2,
        transition=4,
        ending="next",
        style="dissolve",
        ffmpeg=ffmpeg,
    )
    assert progress[-1] == {"progress": 6}
    assert done["result"]["frames"] == 6
    (joined,) = ask("join", clips=[clip, clip], target=film, ffmpeg=ffmpeg)
    assert joined["result"] == {"frames": 12, "duration": 0.4, "width": 64, "height": 48}
    (probed,) = ask("probe", path=film)
    assert probed["result"]["media_type"] == "video/mp4"


def test_a_typed_error_is_described() -> None:
    """An error of ours goes out with its class and facts, and nothing else."""

    def full(_params: Params, _progress: Progress) -> Params:
        raise StorageFull("no space", category="media")

    sent: list[Params] = []
    answer(b'{"task": "x", "params": {}}', {"x": full}, sent.append)
    described = {"class": "StorageFull", "code": "storage_full", "category": "media"}
    assert sent == [{"error": described | {"message": "no space"}}]


@pytest.mark.parametrize(
    ("raised", "message"),
    [(MemoryError(), "ran out of memory"), (KeyError("width"), "KeyError: 'width'")],
)
def test_a_bug_is_a_media_error(
    raised: Exception, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a task did not foresee fails that task as a media error; a bug's trace is kept."""

    def broken(_params: Params, _progress: Progress) -> Params:
        raise raised

    sent: list[Params] = []
    answer(b'{"task": "x", "params": {}}', {"x": broken}, sent.append)
    assert sent[0]["error"]["class"] == "MediaError"
    assert message in sent[0]["error"]["message"]
    assert ("Traceback" in capsys.readouterr().err) == isinstance(raised, KeyError)


def test_an_unknown_task(capsys: pytest.CaptureFixture[str]) -> None:
    """A request for what no worker can do fails alone."""
    (failed,) = ask("sing")
    assert "KeyError: 'sing'" in failed["error"]["message"]
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("broken", [False, True])
def test_the_end_of_requests_is_the_end(broken: bool) -> None:
    """When no more requests can come, by end or by error, the process ends itself."""
    heard: list[object] = []

    def requests() -> Iterator[bytes]:
        yield b"one"
        if broken:
            raise ConnectionResetError

    worker._listen(requests(), heard.append, lambda: heard.append("end"))
    assert heard == [b"one", "end"]
