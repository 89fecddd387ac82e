"""Measures the film engine beside its peers, in one run, on this machine.

    python bench/film.py [--json] [--frames 150]

Every rate is wall-clock on two processes of one thread each, as a worker with two cores renders;
minterpolate is one run of ffmpeg, which cannot use a second core for it.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from bench.picture_quality import contrast, known_middle, load  # noqa: E402 - the sources beside this file
from bench.report import Row, machine, show  # noqa: E402

from understudy.media import i420  # noqa: E402
from understudy.media.clip import ClipJob, render_clip  # noqa: E402
from understudy.media.encode import Encoder, arguments  # noqa: E402
from understudy.media.ffmpeg import find_ffmpeg  # noqa: E402
from understudy.media.flow import Style, Transition, ease  # noqa: E402
from understudy.media.join import join  # noqa: E402
from understudy.media.photo import Canvas, normalise  # noqa: E402

FFMPEG = find_ffmpeg()
PHOTOS = sorted((ROOT / "examples" / "photos").glob("*.jpg"))
WIDTH, HEIGHT, FPS = 1280, 720, 30
PROCESSES = 2
CLIPS = 20


@dataclass(frozen=True)
class Work:
    """One pair of photos to be measured in one process."""

    first: Path
    second: Path
    target: Path
    frames: int
    style: Style = "auto"


@dataclass(frozen=True)
class Cost:
    """What some frames took: wall seconds and CPU seconds, children included."""

    frames: int
    wall: float
    cpu: float


def cpu_seconds() -> float:
    """CPU time of this process and its ended children."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


@contextmanager
def measured(frames: int) -> Iterator[Callable[[], Cost]]:
    """Yields a function that gives the cost of the block once it has ended."""
    wall, cpu = time.perf_counter(), cpu_seconds()
    ended: list[Cost] = []
    yield lambda: ended[0]
    ended.append(Cost(frames, time.perf_counter() - wall, cpu_seconds() - cpu))


def clip(work: Work, width: int = WIDTH, height: int = HEIGHT) -> None:
    """Morph and encode, as the product does it."""
    job = ClipJob(
        first=work.first,
        second=work.second,
        target=work.target,
        width=width,
        height=height,
        fps=FPS,
        hold=0,
        transition=work.frames,
        ending="next",
        style=work.style,
        ffmpeg=FFMPEG,
    )
    render_clip(job, lambda _: None)


def film(work: Work) -> Cost:
    """The cost of morphing and encoding."""
    with measured(work.frames) as cost:
        clip(work)
    return cost()


def generate(work: Work) -> tuple[Cost, list[i420.Pixels]]:
    """The same frames in memory, not encoded."""
    cv2.setNumThreads(1)
    frames = [i420.empty(WIDTH, HEIGHT) for _ in range(work.frames)]
    for frame in frames:
        frame.fill(0)  # the memory's first touch is not the morph's cost
    with measured(work.frames) as cost:
        transition = Transition(load(work.first), load(work.second), work.style)
        for i, frame in enumerate(frames):
            transition.frame(ease(i / work.frames), frame)
    return cost(), frames


def generated(work: Work) -> Cost:
    """The cost of generation alone."""
    return generate(work)[0]


def encoded(work: Work) -> Cost:
    """The cost of encoding those frames alone."""
    _, frames = generate(work)
    with (
        measured(work.frames) as cost,
        Encoder(
            work.target, ffmpeg=FFMPEG, width=WIDTH, height=HEIGHT, fps=FPS, threads=1
        ) as encoder,
    ):
        for frame in frames:
            encoder.write(frame)
    return cost()


def rate(costs: Sequence[Cost]) -> float:
    """Frames a second of all processes together."""
    return PROCESSES * sum(c.frames for c in costs) / sum(c.wall for c in costs)


def milliseconds(costs: Sequence[Cost]) -> float:
    """CPU milliseconds for a frame."""
    return 1000 * sum(c.cpu for c in costs) / sum(c.frames for c in costs)


def cpu(costs: Sequence[Cost]) -> str:
    """CPU time as the table says it."""
    return f"{milliseconds(costs):.1f} CPU ms/frame"


def ffmpeg(*args: str) -> float:
    """Run ffmpeg; wall seconds."""
    start = time.perf_counter()
    command = [str(FFMPEG), "-hide_banner", "-nostdin", "-loglevel", "error", "-y", *args]
    subprocess.run(command, check=True)
    return time.perf_counter() - start


def minterpolate(work: Work, folder: Path) -> float:
    """Useful frames a second of ffmpeg's motion interpolation with our encoder behind it.

    It needs two more pictures to see the end of a pair, and makes frames towards them too.
    """
    folder.mkdir()
    for i, photo in enumerate((work.first, work.second, work.second, work.second)):
        shutil.copy(photo, folder / f"{i}.png")
    options = "mi_mode=mci:mc_mode=aobmc:me_mode=bidir:vsbmc=1:scd=none"
    ours = arguments(WIDTH, HEIGHT, FPS, threads=1)
    encoder = ours[ours.index("pipe:0") + 1 :]
    chosen = ["-filter_threads", "1", "-framerate", "1", "-i", str(folder / "%d.png")]
    flow = ["-vf", f"minterpolate=fps={work.frames}:{options},setpts=N/{FPS}/TB"]
    return work.frames / ffmpeg(*chosen, *flow, *encoder, str(work.target))


def joining(clips: Sequence[Path], folder: Path) -> tuple[float, float]:
    """Seconds to join clips by copy, and by encoding them again."""
    start = time.perf_counter()
    join(clips, folder / "joined.mp4", FFMPEG)
    copied = time.perf_counter() - start
    listing = folder / "clips.txt"
    listing.write_text("".join(f"file '{clip}'\n" for clip in clips))
    ours = arguments(WIDTH, HEIGHT, FPS, threads=PROCESSES)
    encoder = ours[ours.index("pipe:0") + 1 :]
    source = ["-f", "concat", "-safe", "0", "-i", str(listing)]
    return copied, ffmpeg(*source, *encoder, str(folder / "again.mp4"))


def memory(folder: str) -> float:
    """Peak megabytes of one worker with its encoder, rendering at 1080p (its own process)."""
    root = Path(folder)
    first, second = prepared(PHOTOS[2:4], root / "large", 1920, 1080)
    clip(Work(first, second, root / "large.mp4", 30), 1920, 1080)
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(resource.getrusage(each).ru_maxrss for each in who) / 1024


def prepared(photos: Iterable[Path], folder: Path, width: int, height: int) -> list[Path]:
    """Photos made fit for a film."""
    folder.mkdir()
    made = []
    for photo in photos:
        target = folder / f"{photo.stem}.png"
        normalise(photo, target, Canvas(width, height, "cover"), name=photo.name)
        made.append(target)
    return made


def side_by_side(pool: Any, works: Sequence[Work]) -> list[list[Cost]]:
    """Film, encoding alone, generation alone and plain fades, in turns, two at a time.

    Both processes always do the same, and turns are short, so that whatever else the machine does
    meanwhile falls on all four alike.
    """
    costs: list[list[Cost]] = [[], [], [], []]
    for at in range(0, len(works), PROCESSES):
        turn = works[at : at + PROCESSES]
        plain = [
            replace(w, target=w.target.with_suffix(".fade.mp4"), style="dissolve") for w in turn
        ]
        alone = [replace(w, target=w.target.with_suffix(".alone.mp4")) for w in turn]
        kinds = ((film, turn), (encoded, alone), (generated, turn), (film, plain))
        for (kind, tasks), so_far in zip(kinds, costs, strict=True):
            so_far.extend(pool.map(kind, tasks, 1))
    return costs


def speed_rows(pool: Any, works: Sequence[Work], folder: Path) -> list[Row]:
    """Morphing beside encoding alone, a plain fade and minterpolate."""
    ours, alone, made, plain = side_by_side(pool, works)
    # Two runs at once, so that each has one busy core beside it, as each of our processes has.
    runs = [
        (replace(work, target=folder / f"peer{i}.mp4", frames=20), folder / f"peer{i}")
        for i, work in enumerate(works[1 : 1 + PROCESSES])
    ]
    peer = sum(pool.starmap(minterpolate, runs, 1)) / PROCESSES
    share, times = rate(ours) / rate(alone), rate(ours) / peer
    cheaper = milliseconds(alone) / milliseconds(ours)
    return [
        Row("morph film, 720p30, end to end", f"{rate(ours):.1f} frames/s", cpu(ours)),
        Row("  encoding the same frames alone", f"{rate(alone):.1f} frames/s", cpu(alone)),
        Row("  morph / encoding alone", f"{share:.0%}", "wall", ">= 60 %", share >= 0.6),
        Row("  the same in CPU time", f"{cheaper:.0%}"),
        Row("  making the frames alone", f"{rate(made):.1f} frames/s", cpu(made)),
        Row(
            "  a plain cross-dissolve, encoded",
            f"{rate(plain):.1f} frames/s",
            cpu(plain),
        ),
        Row("  morph / cross-dissolve", f"{rate(ours) / rate(plain):.0%}", "wall"),
        Row(
            "  morph / ffmpeg minterpolate",
            f"{times:.0f}x",
            f"{peer:.2f} frames/s of use",
            ">= 50x",
            times >= 50,
        ),
    ]


def joining_row(works: Sequence[Work], folder: Path) -> Row:
    """Joining many clips beside encoding them again."""
    clips = []
    for i, work in zip(range(CLIPS), itertools.cycle(works), strict=False):
        clips.append(folder / f"part{i}.mp4")
        shutil.copy(work.target, clips[-1])
    copied, again = joining(clips, folder)
    times = again / copied
    what = f"joining {CLIPS} clips of {works[0].frames / FPS:g} s beside a re-encode"
    return Row(what, f"{times:.0f}x", f"{copied:.2f} s, {again:.1f} s", ">= 50x", times >= 50)


def quality_rows(pairs: Sequence[tuple[Path, Path]]) -> list[Row]:
    """How good the middle frames are."""
    decibels, likeness = known_middle(PHOTOS[0], (WIDTH, HEIGHT))
    share = contrast(pairs)
    return [
        Row("known middle frame, PSNR", f"{decibels:.2f} dB", "", ">= 24", decibels >= 24),
        Row("known middle frame, SSIM", f"{likeness:.3f}", "", ">= 0.82", likeness >= 0.82),
        Row(
            "unrelated photos, lowest contrast half way",
            f"{share:.0%}",
            "",
            ">= 90 %",
            share >= 0.9,
        ),
    ]


def measure(frames: int, folder: Path) -> list[Row]:
    """The whole report."""
    photos = prepared(PHOTOS, folder / "photos", WIDTH, HEIGHT)
    pairs = list(zip(photos, photos[1:] + photos[:1], strict=True))
    works = [Work(*pair, folder / f"{i}.mp4", frames) for i, pair in enumerate(pairs)]
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as alone:
        megabytes = alone.apply(memory, (str(folder),))
    with context.Pool(PROCESSES) as pool:
        rows = speed_rows(pool, works, folder)
    largest = Row(
        "a worker with its encoder at 1080p",
        f"{megabytes:.0f} MB",
        "",
        "<= 450 MB",
        megabytes <= 450,
    )
    return [*rows, joining_row(works, folder), largest, *quality_rows(pairs[1:])]


def main() -> int:
    """Print the report; 1 if a target was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print rows as JSON")
    parser.add_argument("--frames", type=int, default=150, help="frames in each clip")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(options.frames, Path(folder))
    return show(f"Film engine on {machine()}", rows, as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
