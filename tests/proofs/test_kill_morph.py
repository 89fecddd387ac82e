"""Proof: kill -9 costs a film nothing, neither a frame nor a second rendering of what was done."""

from __future__ import annotations

import dataclasses
import random
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from understudy.media.ffmpeg import find_ffmpeg

PHOTOS = Path(__file__).parents[2] / "examples" / "photos"
PAIRS, FRAMES = 12, 12
SETTINGS = ("size=320x180", "seconds_per_pair=1", f"fps={FRAMES}")

RUNS = "SELECT id, status FROM runs"
PAIRS_DONE = (
    "SELECT key, result, started_at, ended_at FROM steps "
    "WHERE name = 'pair' AND state = 'succeeded' ORDER BY key"
)
JOINED = "SELECT ended_at FROM steps WHERE name = 'join' AND state = 'succeeded'"

# Stands in for ffmpeg, and notes what it is asked for before it does the work.
RECORDER = """#!/bin/sh
case "$*" in *rawvideo*) echo clip >> "{log}" ;; *concat*) echo join >> "{log}" ;; esac
exec "{ffmpeg}" "$@"
"""


@dataclasses.dataclass(frozen=True)
class Scene:
    """A run to be killed: its house, its photos, its film, and the log of encoded clips."""

    house: Any
    photos: list[Path]
    film: Path
    log: Path

    @property
    def rendered(self) -> int:
        """How many clips an encoder has been started for."""
        return self.noted().count("clip")

    def noted(self) -> list[str]:
        """What ffmpeg was asked for: "clip" or "join"."""
        return self.log.read_text().split() if self.log.exists() else []

    def command(self) -> tuple[object, ...]:
        """What a person types: the run if there is none yet, else to resume it."""
        if runs := self.house.rows(RUNS):
            return ("runs", "resume", runs[0][0], "-o", self.film)
        settings = [word for one in SETTINGS for word in ("--set", one)]
        return ("run", "morph", *self.photos, *settings, "-o", self.film)

    def frames(self) -> list[tuple[int, str]]:
        """Every frame, decoded: its time and what it shows. Fails on any complaint of ffmpeg."""
        command = [str(find_ffmpeg()), "-v", "warning", "-i", str(self.film), "-map", "0:v"]
        command += ["-fps_mode", "passthrough", "-f", "framemd5", "-"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        assert not done.stderr, done.stderr
        lines = [line.split(",") for line in done.stdout.splitlines() if line[0] != "#"]
        return [(int(fields[2]), fields[5].strip()) for fields in lines]


@dataclasses.dataclass(frozen=True)
class Life:
    """How a run goes when nobody kills it; `until_submitted` in seconds."""

    until_submitted: float
    commits: int
    frames: list[tuple[int, str]]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Thirteen different real photographs: crops of the examples."""
    folder = tmp_path_factory.mktemp("photos")
    sources = sorted(PHOTOS.glob("*.jpg"))
    made = []
    for number in range(PAIRS + 1):
        with Image.open(sources[number % len(sources)]) as photo:
            inset = 0.04 * (1 + number // len(sources))
            width, height = photo.size
            left, top = round(inset * width), round(inset * height)
            made.append(folder / f"photo{number + 1}.jpg")
            photo.crop((left, top, width - left, height - top)).save(made[-1])
    return made


@pytest.fixture
def scene(photos: list[Path], build: Callable[..., Any]) -> Callable[[Path], Scene]:
    """A house of its own in a folder, with an ffmpeg that is watched."""

    def made(folder: Path) -> Scene:
        folder.mkdir()
        recorder, log = folder / "ffmpeg", folder / "clips"
        recorder.write_text(RECORDER.format(log=log, ffmpeg=find_ffmpeg()))
        recorder.chmod(recorder.stat().st_mode | stat.S_IXUSR)
        house = build(folder / "home", UNDERSTUDY_FFMPEG=recorder)
        return Scene(house, photos, folder / "film.mp4", log)

    return made


def undisturbed(scene: Scene, moment: Any) -> Life:
    """Make the film once without killing anything, and take its times."""
    submitted: list[float] = []
    commits = scene.house.commits()

    def look(seconds: float) -> bool:
        commits()
        if not submitted and scene.house.rows(RUNS):
            submitted.append(seconds)
        return False

    ended = scene.house.play(*scene.command(), until=moment("never", look))
    assert ended.code == 0, ended.output
    assert scene.rendered == PAIRS
    return Life(submitted[0], commits(), scene.frames())


def starting(scene: Scene, life: Life, moment: Any, chance: random.Random) -> Any:
    """Before the run is submitted, or just then."""
    at = chance.uniform(0.0, 1.1) * life.until_submitted
    return moment(f"starting ({at:.2f} s)", lambda seconds: seconds >= at)


def committing(scene: Scene, life: Life, moment: Any, chance: random.Random) -> Any:
    """At once when a commit is seen to be written."""
    wanted, commits = chance.randrange(1, max(2, life.commits * 2 // 3)), scene.house.commits()
    return moment(f"committing ({wanted})", lambda _: commits() >= wanted)


def joining(scene: Scene, life: Life, moment: Any, chance: random.Random) -> Any:
    """Just after the join has been started."""
    return after_note(scene, "join", 1, chance.uniform(0.0, 0.01), moment)


def rendering(scene: Scene, life: Life, moment: Any, chance: random.Random) -> Any:
    """Shortly after some clip's encoder has been started."""
    return after_note(
        scene, "clip", chance.randrange(1, PAIRS + 1), chance.uniform(0.0, 0.15), moment
    )


def after_note(scene: Scene, what: str, count: int, wait: float, moment: Any) -> Any:
    """So many seconds after ffmpeg was asked for something for the n-th time."""
    seen: list[float] = []

    def due(seconds: float) -> bool:
        if not seen and scene.noted().count(what) >= count:
            seen.append(seconds)
        return bool(seen) and seconds >= seen[0] + wait

    return moment(f"{what} {count} (+{wait:.3f} s)", due)


PHASES = (joining, committing, starting, rendering, rendering, rendering)


@pytest.mark.prove
def test_a_killed_film_is_finished_and_nothing_is_rendered_twice(
    tmp_path: Path,
    rounds: Callable[[int, int], int],
    scene: Callable[[Path], Scene],
    moment: Any,
    everyone_dead: Callable[[Any], None],
    chance: random.Random,
) -> None:
    """A 12-pair morph, killed at seeded moments: the film is the same, frame by frame.

    Journalled pairs keep their rows, and after each kill only the others are rendered.
    """
    life = undisturbed(scene(tmp_path / "undisturbed"), moment)
    assert len(life.frames) == PAIRS * FRAMES
    steps = {later[0] - one[0] for one, later in zip(life.frames, life.frames[1:], strict=False)}
    assert len(steps) == 1, "the frames are not evenly spaced"
    wanted, kills, spared, in_join = rounds(20, 1), 0, 0, 0
    for number in range(2 * wanted):
        play = scene(tmp_path / f"killed{number}")
        until = PHASES[kills % len(PHASES)](play, life, moment, chance)
        ended = play.house.play(*play.command(), until=until)
        kills += ended.killed
        everyone_dead(ended.tree)
        assert not play.film.exists() or play.frames() == life.frames
        done, rendered = play.house.rows(PAIRS_DONE), play.rendered
        in_join += len(done) == PAIRS and not play.house.rows(JOINED)
        print(f"kill {kills}: {until.name}; {len(done)} pairs done, {rendered} begun")  # noqa: T201
        ended = play.house.play(*play.command())
        assert ended.code == 0, ended.output
        assert play.frames() == life.frames
        assert play.rendered - rendered == PAIRS - len(done), "a finished pair was rendered again"
        assert [row for row in play.house.rows(PAIRS_DONE) if row in done] == done
        assert [status for _, status in play.house.rows(RUNS)] == ["succeeded"]
        play.house.check_clean()
        spared += len(done)
        if kills == wanted:
            break
    print(f"{kills} kills, {in_join} of them while joining; {spared} finished pairs spared")  # noqa: T201
    assert kills == wanted
    assert in_join
