"""One clip of a film: a photo held, then the way to the next."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import cv2
import numpy as np

from understudy.errors import InputError
from understudy.media import i420
from understudy.media.encode import Encoder
from understudy.media.flow import Style, Transition, ease
from understudy.media.i420 import Pixels
from understudy.media.mp4 import Expected, check_clip

_REPORT_SECONDS: Final = 0.1


@dataclass(frozen=True, kw_only=True)
class ClipJob:
    """What to render. Both photos are pictures of exactly width x height; counts are in frames.

    A clip ends just before its second photo, which begins the next clip (`ending="next"`); the
    last clip of a film that does not loop ends on it (`ending="photo"`).
    """

    first: Path
    second: Path
    target: Path
    width: int
    height: int
    fps: int
    hold: int
    transition: int
    ending: Literal["next", "photo"]
    style: Style
    ffmpeg: Path
    threads: int = 1


@dataclass(frozen=True, kw_only=True)
class ClipFacts:
    """What was rendered: frames, the style that was used, and the SHA-256 of the decoder's
    configuration, equal in all clips that can be joined.
    """

    frames: int
    style: Style
    config: str


def render_clip(job: ClipJob, progress: Callable[[int], None]) -> ClipFacts:
    """Render one clip to `job.target`; `progress` hears frames done, about ten times a second.

    Equal jobs give equal bytes. Raises InputError for photos or sizes that do not fit, StorageFull
    when the disk is full, MediaError when encoding fails; nothing is left at the target then.
    """
    if job.hold < 0 or job.transition < 1:
        raise InputError("a clip needs at least one frame of transition and no negative hold")
    cv2.setNumThreads(1)
    way = Transition(_photo(job.first, job), _photo(job.second, job), job.style)
    try:
        _encode(job, way, progress)
        track = check_clip(job.target, Expected(job.width, job.height, job.fps, count_frames(job)))
    except BaseException:
        job.target.unlink(missing_ok=True)
        raise
    progress(track.samples)
    return ClipFacts(frames=track.samples, style=way.used, config=track.config)


def _encode(job: ClipJob, way: Transition, progress: Callable[[int], None]) -> None:
    told = time.monotonic()
    with Encoder(
        job.target,
        ffmpeg=job.ffmpeg,
        width=job.width,
        height=job.height,
        fps=job.fps,
        threads=job.threads,
    ) as encoder:
        for frame in _frames(job, way):
            encoder.write(frame)
            if (now := time.monotonic()) - told >= _REPORT_SECONDS:
                told = now
                progress(encoder.frames)


def count_frames(job: ClipJob) -> int:
    """Frames that a job makes."""
    return len(_times(job))


def _times(job: ClipJob) -> list[float]:
    """The place of every frame between the photos: 0 the first, 1 the second."""
    held_end = job.ending == "photo"
    steps = job.transition - 1 if held_end and job.hold == 0 else job.transition
    way = [ease(i / steps) if steps else 1.0 for i in range(job.transition)]
    return [0.0] * job.hold + way + [1.0] * (job.hold if held_end else 0)


def _frames(job: ClipJob, way: Transition) -> Iterator[Pixels]:
    """The frames in order, all in one buffer; a held photo is drawn once."""
    buffer = i420.empty(job.width, job.height)
    drawn: float | None = None
    for t in _times(job):
        if t != drawn:
            way.frame(t, buffer)
            drawn = t
        yield buffer


def _photo(path: Path, job: ClipJob) -> Pixels:
    """A photo as sRGB pixels (HxWx3)."""
    data = np.fromfile(path, np.uint8)
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB) if data.size else None
    if picture is None:
        raise InputError(f"{path.name} is not a readable picture")
    if picture.shape != (job.height, job.width, 3):
        height, width = picture.shape[:2]
        raise InputError(f"{path.name} has {width}x{height} pixels, not {job.width}x{job.height}")
    return np.asarray(picture, np.uint8)
