"""One contract for every clip, and the encoder that keeps it.

Clips are joined by stream copy, which is correct only if every clip carries the same parameter
sets and the same clock. Everything that decides those stands in `CONTRACT`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from understudy.errors import InputError, MediaError
from understudy.media import i420
from understudy.media.child import Child
from understudy.media.mp4 import TICKS

CONTRACT: Final = (
    *("-c:v", "libx264", "-preset", "veryfast", "-crf", "20", "-bf", "1"),
    *("-profile:v", "high", "-pix_fmt", "yuv420p"),
    *("-color_primaries", "bt709", "-color_trc", "bt709", "-colorspace", "bt709"),
    *("-color_range", "tv"),
    *("-x264-params", "stitchable=1:open-gop=0:keyint=60:min-keyint=60:scenecut=0"),
    # Removes the encoder's notes with its name, version and settings, in the stream and around it.
    *("-bsf:v", "filter_units=remove_types=6", "-metadata:s:v:0", "encoder="),
    *("-an", "-map_metadata", "-1", "-fflags", "+bitexact", "-flags:v", "+bitexact"),
)
"""The encoder's arguments, apart from those that follow from the film's size and rate."""

CONTRACT_ID: Final = hashlib.sha256("\0".join((*CONTRACT, str(TICKS))).encode()).hexdigest()[:16]
"""Names the contract: clips made under different names must not be joined."""

# H.264 table A-1: level, macroblocks in a frame, macroblocks a second.
_LEVELS: Final = (("4.0", 8_192, 245_760), ("5.1", 36_864, 983_040))


def level(width: int, height: int, fps: int) -> str:
    """The H.264 level of a film: 4.0 up to 1080p30, else 5.1; InputError for anything larger."""
    across, down = -(-width // 16), -(-height // 16)
    size = across * down
    for name, most, rate in _LEVELS:
        if size <= most and size * fps <= rate and max(across, down) ** 2 <= 8 * most:
            return name
    raise InputError(
        f"a film of {width}x{height} at {fps} frames a second: H.264 level 5.1 ends at "
        "3840x2160 and 30 frames a second"
    )


def arguments(width: int, height: int, fps: int, *, threads: int) -> list[str]:
    """Ffmpeg's arguments for a clip, apart from the target's name; frames come in on stdin."""
    i420.check_size(width, height)
    if fps < 1:
        raise InputError(f"{fps} frames a second: at least 1 is needed")
    colour = ("-color_range", "tv", "-colorspace", "bt709")
    source = ("-f", "rawvideo", "-pixel_format", "yuv420p", "-video_size", f"{width}x{height}")
    clock = ("-level:v", level(width, height, fps), "-r", str(fps))
    return [
        *(*source, "-framerate", str(fps), *colour, "-i", "pipe:0"),
        *(*CONTRACT, *clock, "-video_track_timescale", str(fps * TICKS)),
        *("-threads", str(threads), "-f", "mp4"),
    ]


class Encoder:
    """Frames in, one H.264 MP4 at `target` out; a context manager.

    On any exception inside the block the child is killed and what it wrote is removed.
    Raises StorageFull when the disk is full, MediaError when ffmpeg fails, InputError for sizes
    that are no multiple of 4 or beyond level 5.1.
    """

    def __init__(
        self, target: Path, *, ffmpeg: Path, width: int, height: int, fps: int, threads: int = 1
    ) -> None:
        self._target, self._ffmpeg = target, ffmpeg
        self._shape = (height * 3 // 2, width)
        self._arguments = arguments(width, height, fps, threads=threads)
        self.frames = 0

    def __enter__(self) -> Self:
        to_file = [*self._arguments, f"file:{self._target}"]
        self._child = Child(self._ffmpeg, to_file, doing=f"encoding {self._target.name}")
        return self

    def write(self, frame: i420.Pixels) -> None:
        """Append one frame (see `understudy.media.i420`)."""
        if frame.shape != self._shape:
            raise MediaError(f"a frame of shape {frame.shape}, not {self._shape}")
        self._child.write(frame.data)
        self.frames += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._child.finish()
                return
        except BaseException:
            self._discard()
            raise
        self._discard()

    def _discard(self) -> None:
        self._child.kill()
        self._target.unlink(missing_ok=True)
