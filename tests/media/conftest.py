"""Pictures, clips and fake tools for the tests of the film engine."""

from __future__ import annotations

import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from understudy.media import i420
from understudy.media.encode import Encoder
from understudy.media.ffmpeg import find_ffmpeg
from understudy.media.i420 import Pixels

Scene = Callable[..., Pixels]


@pytest.fixture(scope="session")
def ffmpeg() -> Path:
    """The real one."""
    return find_ffmpeg()


@pytest.fixture(scope="session")
def scene() -> Scene:
    """Makes pictures full of detail; another seed is an unrelated picture."""

    def make(seed: int, width: int = 64, height: int = 48) -> Pixels:
        random = np.random.default_rng(seed)
        picture = np.zeros((height, width, 3), np.float32)
        for octave in range(2, 6):
            cells = random.random((3 << octave, 4 << octave, 3), np.float32)
            picture += cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC)
        picture -= picture.min()
        return np.asarray(picture * (255 / picture.max()), np.uint8)

    return make


@pytest.fixture(scope="session")
def decode(ffmpeg: Path) -> Callable[[Path], Pixels]:
    """Decodes a film to its frames (frames x rows x columns, as `understudy.media.i420`)."""

    def frames(path: Path) -> Pixels:
        command = [str(ffmpeg), "-loglevel", "error", "-i", str(path), "-f", "rawvideo", "-"]
        raw = subprocess.run(command, check=True, capture_output=True).stdout
        height, width = cv2.VideoCapture(str(path)).read()[1].shape[:2]
        return np.frombuffer(raw, np.uint8).reshape(-1, height * 3 // 2, width)

    return frames


@pytest.fixture
def make_clip(tmp_path: Path, ffmpeg: Path, scene: Scene) -> Callable[..., Path]:
    """Encodes a small clip of one moving picture under a name."""

    def make(
        name: str = "clip.mp4", *, frames: int = 5, seed: int = 1, width: int = 64, fps: int = 30
    ) -> Path:
        target = tmp_path / name
        picture = scene(seed, width, 48)
        with Encoder(target, ffmpeg=ffmpeg, width=width, height=48, fps=fps) as encoder:
            for i in range(frames):
                encoder.write(i420.from_rgb(np.roll(picture, i, axis=1)))
        return target

    return make


@pytest.fixture
def tool(tmp_path: Path) -> Callable[[str], Path]:
    """Makes a stand-in for ffmpeg from a line of shell."""

    def make(script: str) -> Path:
        path = tmp_path / "tool"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    return make


@pytest.fixture
def full_disk(tmp_path: Path) -> Path:
    """A target on which nothing fits."""
    path = tmp_path / "full.mp4"
    path.symlink_to("/dev/full")
    return path
