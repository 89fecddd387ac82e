"""Morph, from files to film, on the real parts: database, worker processes, ffmpeg."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import subprocess
import zipfile
import zlib
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from understudy.app import App
from understudy.capabilities.film import Clip, check_size
from understudy.engine.run import Run
from understudy.errors import InputError, InvalidInput, Permanent
from understudy.media.encode import level
from understudy.media.ffmpeg import find_ffmpeg
from understudy.operations.morph import MOST_PHOTOS, Morph, Photo, morph, pair_up
from understudy.providers.local import Local
from understudy.settings import Settings

EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "photos").glob("*.jpg"))
SMALL = {"size": "160x96", "seconds_per_pair": 0.5, "fps": 12}


class Studio:
    """An app at work, with what a test asks of it."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def film(self, paths: Sequence[Path], **options: Any) -> Run:
        """Submit a morph of these and see it to its end."""
        stored = [(await self.app.artifacts.copy_in(path)).id for path in paths]
        data = {**SMALL, **options, "images": stored}
        run = await self.app.engine.submit("morph", data, tenant=self.app.tenant)
        return await self.app.engine.result(run.id)

    async def path(self, run: Run) -> Path:
        """Where a succeeded run's film is."""
        assert run.status == "succeeded", run.error
        output = json.loads(run.output or "")
        return await self.app.artifacts.path(output["film"]["id"])

    def left_in_tmp(self) -> list[Path]:
        """Temporary files that should be gone."""
        return list((self.app.settings.home / "tmp").rglob("*"))


Open = Callable[[], contextlib.AbstractAsyncContextManager[Studio]]


@pytest.fixture
def studio(tmp_path: Path) -> Open:
    """An app with a worker, in a home of its own."""

    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[Studio]:
        settings = Settings(home=tmp_path / "home", cores=2)
        async with App.open(settings) as app, app.worker():
            yield Studio(app)

    return opened


def picture(path: Path, size: tuple[int, int] = (64, 48), colour: str = "teal") -> Path:
    """A small photo of one colour."""
    Image.new("RGB", size, colour).save(path)
    return path


def frame_times(film: Path) -> list[int]:
    """The time stamps of the decoded frames, in ticks of the film."""
    command = [str(find_ffmpeg()), "-v", "error", "-i", str(film), "-f", "framehash", "-"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rows = [line.split(",") for line in told.splitlines() if not line.startswith("#")]
    return [int(row[2]) for row in rows]


async def test_photos_become_a_film(studio: Open) -> None:
    """N photos give N - 1 pairs of equal length, every frame interval equal across the joints."""
    async with studio() as s:
        run = await s.film(EXAMPLES[:3])
        times = frame_times(await s.path(run))
        assert run.progress == {"done": 2, "total": 2, "note": "pair"}
        output = json.loads(run.output or "")
        assert (output["photos"], output["frames"], len(times)) == (3, 12, 12)
        assert {later - earlier for earlier, later in itertools.pairwise(times)} == {1}
        assert output["film"]["media_type"] == "video/mp4"
        assert (output["film"]["width"], output["film"]["height"]) == (160, 96)
        assert output["duration"] == pytest.approx(1.0)
        assert not s.left_in_tmp()


async def test_a_loop_with_rests(studio: Open) -> None:
    """A loop adds the pair from the last photo to the first; every photo rests for `hold`."""
    async with studio() as s:
        run = await s.film(EXAMPLES[:3], loop=True, hold=0.25)
        assert len(frame_times(await s.path(run))) == 3 * (6 + 3)


async def test_only_the_film_and_the_inputs_are_kept(studio: Open) -> None:
    """What only served to make the film is deleted with it; its bytes too."""
    async with studio() as s:
        await s.path(await s.film(EXAMPLES[:3]))
        stored = s.app.settings.home / "artifacts"
        assert len([path for path in stored.rglob("*") if path.is_file()]) == 4


async def test_a_zip_is_its_photos(studio: Open, tmp_path: Path) -> None:
    """One ZIP gives the same film as its files, in the natural order of their names."""
    archive = tmp_path / "photos.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for name, path in zip(["b/img10.jpg", "b/img2.jpg", "ü.jpg"], EXAMPLES, strict=False):
            packed.write(path, name)
    loose = [tmp_path / "1.jpg", tmp_path / "2.jpg", tmp_path / "3.jpg"]
    for path, source in zip(loose, [EXAMPLES[1], EXAMPLES[0], EXAMPLES[2]], strict=True):
        path.write_bytes(source.read_bytes())
    async with studio() as s:
        packed_run, loose_run = await s.film([archive]), await s.film(loose)
        assert (await s.path(packed_run)).read_bytes() == (await s.path(loose_run)).read_bytes()
        gathered = (await s.app.engine.steps(packed_run.id))[0]
        names = [Path(photo["name"]).name for photo in json.loads(gathered.result or "")]
        assert names == ["img2.jpg", "img10.jpg", "ü.jpg"]


@pytest.mark.parametrize(("order", "expected"), [("name", ["2", "10"]), ("given", ["10", "2"])])
async def test_order(studio: Open, tmp_path: Path, order: str, expected: list[str]) -> None:
    """Photos go by their names, img2 before img10, unless the given order is asked for."""
    paths = [picture(tmp_path / "10.png", colour="red"), picture(tmp_path / "2.png")]
    async with studio() as s:
        run = await s.film(paths, order=order)
        gathered = (await s.app.engine.steps(run.id))[0]
        assert [Path(p["name"]).stem for p in json.loads(gathered.result or "")] == expected


def bad_archive(path: Path, names: Sequence[str]) -> Path:
    """A ZIP whose members have these names, each a small photo."""
    photo = io.BytesIO()
    Image.new("RGB", (32, 32)).save(photo, "PNG")
    with zipfile.ZipFile(path, "w") as packed:
        for name in names:
            packed.writestr(name, photo.getvalue())
    return path


def animated(path: Path) -> Path:
    """A GIF of two frames."""
    frames = [Image.new("P", (32, 32), colour) for colour in (0, 1)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    return path


def written(path: Path, data: bytes) -> Path:
    """A file of these bytes."""
    path.write_bytes(data)
    return path


BAD: dict[str, tuple[Callable[[Path], list[Path]], str]] = {
    "no image": (lambda d: [written(d / "bad.jpg", b"hello " * 99), EXAMPLES[0]], "bad.jpg"),
    "empty": (lambda d: [written(d / "bad.jpg", b""), EXAMPLES[0]], "bad.jpg"),
    "truncated": (
        lambda d: [written(d / "bad.jpg", EXAMPLES[1].read_bytes()[:9000]), EXAMPLES[0]],
        "bad.jpg",
    ),
    "one photo": (lambda _: [EXAMPLES[0]], "at least 2"),
    "huge": (lambda d: [written(d / "bad.png", huge_png()), EXAMPLES[0]], "bad.png"),
    "animated": (lambda d: [animated(d / "bad.gif"), EXAMPLES[0]], "bad.gif"),
    "a ZIP beside photos": (lambda d: [bad_archive(d / "bad.zip", "ab"), EXAMPLES[0]], "not both"),
    "escaping ZIP": (lambda d: [bad_archive(d / "bad.zip", ["../a.png", "b.png"])], "../a.png"),
    "absolute ZIP": (lambda d: [bad_archive(d / "bad.zip", ["/a.png", "b.png"])], "/a.png"),
    "ZIP of one": (lambda d: [bad_archive(d / "bad.zip", ["a.png"])], "at least 2"),
    "nested ZIP": (lambda d: [bad_archive(d / "bad.zip", ["a.zip", "b.png"])], "a.zip"),
    "twice in a ZIP": (
        lambda d: [bad_archive(d / "bad.zip", ["a.png", "A.png", "a.png"])],
        "a.png",
    ),
}


def huge_png() -> bytes:
    """A PNG that says it is 20,000 pixels square."""
    data = io.BytesIO()
    Image.new("1", (8, 8)).save(data, "PNG")
    size = (20_000).to_bytes(4, "big")
    body = b"IHDR" + size + size + data.getvalue()[24:29]
    return data.getvalue()[:12] + body + zlib.crc32(body).to_bytes(4, "big") + data.getvalue()[33:]


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
@pytest.mark.parametrize("case", BAD)
async def test_bad_input(studio: Open, tmp_path: Path, case: str) -> None:
    """Bad input fails the run as the customer's fault, names the file, and leaves nothing."""
    make, said = BAD[case]
    async with studio() as s:
        run = await s.film(make(tmp_path))
        assert run.status == "failed"
        assert run.error is not None
        assert (run.error["category"], said in run.error["message"]) == ("input", True), run.error
        assert not s.left_in_tmp()


async def test_a_failed_pair_is_retried_alone(
    studio: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pair that fails for good fails the run with its name; a retry renders what is missing."""
    rendered: list[str] = []
    broken = True
    real = Local.morph

    async def morph_unless_broken(self: Local, first: Path, *rest: Any, **options: Any) -> Clip:
        rendered.append(first.name)
        if broken and len(rendered) == 2:
            raise Permanent("the tool broke", category="media")
        return await real(self, first, *rest, **options)

    monkeypatch.setattr(Local, "morph", morph_unless_broken)
    async with studio() as s:
        failed = await s.film(EXAMPLES[:4])
        assert failed.status == "failed"
        assert failed.error is not None
        assert failed.error["message"].startswith("pair ")
        assert failed.error["step"].startswith("pair[")
        steps = await s.app.engine.steps(failed.id)
        kept = {step.key: step.result for step in steps if step.state == "succeeded"}
        before, broken = len(rendered), False
        await s.app.engine.retry(failed.id)
        run = await s.app.engine.result(failed.id)
        assert len(frame_times(await s.path(run))) == 18
        again = {step.key: step.result for step in await s.app.engine.steps(run.id)}
        assert kept.items() <= again.items()
        assert len(rendered) - before == 3 - sum(key.startswith("pair[") for key in kept)


@pytest.mark.parametrize(
    "options",
    [
        {"size": "100x101"},
        {"size": "8x8"},
        {"size": "4096x4096"},
        {"size": "3840x2160", "fps": 60},
        {"size": "9996x800"},
        {"size": "big"},
        {"seconds_per_pair": 0},
        {"fps": 0},
        {"hold": -1},
        {"style": "wipe"},
        {"images": []},
        {"images": ["../../etc/passwd"]},
        {"images": ["art_00000000000000000000000000"] * (MOST_PHOTOS + 1)},
        {"colour": "red"},
    ],
    ids=lambda options: next(iter(options)),
)
def test_invalid_options(options: dict[str, Any]) -> None:
    """An option out of its range is refused when submitting, and the message names the field."""
    data: dict[str, Any] = {"images": ["art_00000000000000000000000000"], **options}
    with pytest.raises(InvalidInput, match=next(iter(options))):
        morph.parse(data)


@given(
    width=st.integers(4, 2500).map(lambda n: 4 * n),
    height=st.integers(4, 2500).map(lambda n: 4 * n),
    fps=st.integers(1, 60),
)
def test_what_is_accepted_can_be_encoded(width: int, height: int, fps: int) -> None:
    """The limits of the operation are those of the encoder: nothing fails after the work began."""

    def refused(check: Callable[[int, int, int], object]) -> bool:
        try:
            check(width, height, fps)
        except InputError:
            return True
        return False

    assert refused(check_size) == refused(level)


@pytest.mark.parametrize("photos", [2, 3, 7])
@pytest.mark.parametrize("loop", [False, True])
@pytest.mark.parametrize("hold", [0.0, 0.5])
def test_frames_add_up(photos: int, loop: bool, hold: float) -> None:
    """P pairs of N photos have P x transition + N x hold frames, looped or not."""
    images = [f"art_{number:026d}" for number in range(photos)]
    wanted = Morph(images=images, loop=loop, hold=hold, seconds_per_pair=1, fps=10)
    pairs = pair_up([Photo(id=image, name=image) for image in images], wanted)
    held = sum(pair.shot.hold for pair in pairs) + (0 if loop else pairs[-1].shot.hold)
    assert len(pairs) == photos - (not loop)
    assert [pair.shot.ending for pair in pairs[:-1]] == ["next"] * (len(pairs) - 1)
    assert pairs[-1].shot.ending == ("next" if loop else "photo")
    assert held == photos * round(hold * 10)
