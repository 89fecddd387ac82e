"""Measures a whole film, made by the command line as a user makes it: memory and use of the cores.

    python bench/whole_film.py [--json] [--photos 100]

Memory is the peak of what all processes of the command hold (proportional set size, sampled every
50 ms); the use of the cores is CPU seconds / (wall seconds x cores), beside the same figure for
ffmpeg encoding the same film alone with as many processes of one thread.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from bench.film import FFMPEG, FPS, HEIGHT, PHOTOS, PROCESSES, WIDTH  # noqa: E402
from bench.report import Row, machine, show  # noqa: E402

from understudy.media.encode import arguments  # noqa: E402 - the sources beside this file

FEW = 10
FRAMES = 30


def crops(folder: Path, count: int) -> list[Path]:
    """As many different photos as wanted, cut out of the examples."""
    chance = np.random.default_rng(1)
    made = []
    for number in range(count):
        photo = cv2.imread(str(PHOTOS[number % len(PHOTOS)]))
        assert photo is not None
        height, width = photo.shape[:2]
        top, left = chance.integers(0, height // 4), chance.integers(0, width // 4)
        cut = photo[top : top + height * 3 // 4, left : left + width * 3 // 4]
        made.append(folder / f"{number:04d}.jpg")
        cv2.imwrite(str(made[-1]), cut)
    return made


def cpu_of_children() -> float:
    """CPU seconds of all ended children and theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def descendants(root: int) -> list[int]:
    """A process and all below it."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:  # ended meanwhile
                continue
            parents.setdefault(parent, []).append(int(entry.name))
    found = [root]
    for pid in found:
        found += parents.get(pid, [])
    return found


def held(pid: int) -> float:
    """Megabytes that a process holds, its share of shared pages included."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    return int(text.split("Pss:")[1].split()[0]) / 1024


class Peak(threading.Thread):
    """Watches the memory of a process and all below it until it ends."""

    def __init__(self, root: int) -> None:
        super().__init__(daemon=True)
        self._root = root
        self._ended = threading.Event()
        self.megabytes = 0.0

    def run(self) -> None:
        """Sample until told to stop."""
        while not self._ended.wait(0.05):
            self.megabytes = max(self.megabytes, sum(map(held, descendants(self._root))))

    def stop(self) -> float:
        """The peak so far."""
        self._ended.set()
        self.join()
        return self.megabytes


def film(photos: list[Path], folder: Path) -> tuple[Path, float, float]:
    """Make a film; where it is, its peak memory in megabytes, its use of the cores."""
    target = folder / f"film-{len(photos)}.mp4"
    options = {"size": f"{WIDTH}x{HEIGHT}", "fps": FPS, "seconds_per_pair": FRAMES / FPS}
    command = [sys.executable, "-m", "understudy", "--home", str(folder / f"home-{len(photos)}")]
    command += ["run", "morph", *map(str, photos), "-o", str(target), "--json"]
    command += [word for key, value in options.items() for word in ("--set", f"{key}={value}")]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "UNDERSTUDY_CORES": str(PROCESSES)}
    before, started = cpu_of_children(), time.perf_counter()
    process = subprocess.Popen(
        command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    peak = Peak(process.pid)
    peak.start()
    if process.wait():
        raise SystemExit("the film could not be made")
    wall = time.perf_counter() - started
    return target, peak.stop(), (cpu_of_children() - before) / (wall * PROCESSES)


def encoding_alone(film: Path, folder: Path) -> float:
    """The use of the cores by as many encoders as there are cores, each given half of the film."""
    raw = folder / "frames.yuv"
    subprocess.run(
        [
            FFMPEG,
            "-v",
            "error",
            "-i",
            film,
            "-t",
            "20",
            "-pix_fmt",
            "yuv420p",
            "-f",
            "rawvideo",
            raw,
        ],
        check=True,
    )
    options = arguments(width=WIDTH, height=HEIGHT, fps=FPS, threads=1)
    # Read once before, so that both measure encoding and not the disk.
    raw.read_bytes()
    before, started = cpu_of_children(), time.perf_counter()
    encoders = [
        subprocess.Popen(
            [FFMPEG, "-v", "error", *options, folder / f"{number}.mp4"], stdin=raw.open("rb")
        )
        for number in range(PROCESSES)
    ]
    for encoder in encoders:
        encoder.wait()
    wall = time.perf_counter() - started
    return (cpu_of_children() - before) / (wall * PROCESSES)


def measure(photos: int, folder: Path) -> list[Row]:
    """A short and a long film, and encoding alone."""
    given = crops(folder, photos)
    _, few, _ = film(given[:FEW], folder)
    made, many, busy = film(given, folder)
    alone = encoding_alone(made, folder)
    ratio, share = many / few, busy / alone
    return [
        Row(
            f"peak memory, {photos} photos",
            f"{many:.0f} MB",
            f"{FEW} photos: {few:.0f} MB",
            "<= 1.1x",
            ratio <= 1.1,
        ),
        Row("  ratio", f"{ratio:.2f}x"),
        Row(
            "use of the cores, whole film",
            f"{busy:.0%}",
            f"encoding alone: {alone:.0%}",
            ">= 0.9x",
            share >= 0.9,
        ),
        Row("  ratio", f"{share:.2f}x"),
    ]


def main() -> int:
    """Print the report; 1 if a target was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print rows as JSON")
    parser.add_argument("--photos", type=int, default=100, help="photos of the long film")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(options.photos, Path(folder))
    return show(f"Whole films on {machine()}", rows, as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
