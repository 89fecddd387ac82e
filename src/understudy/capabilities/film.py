"""Film: pictures that move. Photos are made fit, morphed pair by pair, and joined.

Everything here is a path to a path: bytes stay in files, and a caller owns both ends. Targets are
written in place, so name a temporary path; after an error nothing is left there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from understudy.errors import InputError

Fit = Literal["cover", "contain"]
Style = Literal["auto", "flow", "melt", "dissolve"]
Ending = Literal["next", "photo"]


@dataclass(frozen=True)
class Canvas:
    """The size of the film in pixels (multiples of 4), and how photos of another shape fill it.

    `cover` cuts off what stands over; `contain` shows the whole photo on a blurred ground.
    """

    width: int
    height: int
    fit: Fit = "cover"


@dataclass(frozen=True)
class Photo:
    """What a photo was before it was made fit: upright size in pixels, and media type."""

    width: int
    height: int
    media_type: str


@dataclass(frozen=True)
class ArchiveLimits:
    """How much of an archive is unpacked, at most: files, bytes of each and of all, ratio."""

    photos: int = 2000
    member_bytes: int = 256 << 20
    total_bytes: int = 8 << 30
    ratio: int = 100


@dataclass(frozen=True)
class Member:
    """A file out of an archive: its name in there, and where it is now."""

    name: str
    path: Path


@dataclass(frozen=True)
class Shot:
    """How one pair is filmed. `hold` and `transition` are frames.

    A clip shows its first photo for `hold` frames, then `transition` frames on the way to the
    second. With the ending `next`, the second photo's own frame is left to the clip after it; with
    `photo`, the film ends here: on the second photo, held as long.
    """

    width: int
    height: int
    fps: int
    hold: int
    transition: int
    ending: Ending = "next"
    style: Style = "auto"


@dataclass(frozen=True)
class Clip:
    """What was filmed: how many frames, and in which style (`auto` has chosen by now)."""

    frames: int
    style: Style


@dataclass(frozen=True)
class Movie:
    """What was joined: frames, seconds, and the picture's size in pixels."""

    frames: int
    duration: float
    width: int
    height: int


_MOST_BLOCKS = 36_864
_MOST_BLOCKS_A_SECOND = 983_040


def check_size(width: int, height: int, fps: int) -> None:
    """Raise `InputError` for a film beyond what players decode: H.264 level 5.1.

    Sizes are in pixels, multiples of 4, at least 16. The level (table A-1 of H.264) limits blocks
    of 16x16 pixels in a frame and in a second, and the longest side.
    """
    across, down = -(-width // 16), -(-height // 16)
    if width % 4 or height % 4 or min(width, height) < 16:
        raise InputError(f"a size of {width}x{height}: both must be multiples of 4, at least 16")
    if (
        across * down > _MOST_BLOCKS
        or across * down * fps > _MOST_BLOCKS_A_SECOND
        or max(across, down) ** 2 > 8 * _MOST_BLOCKS
    ):
        raise InputError(
            f"a size of {width}x{height} at {fps} frames a second: a film ends at 3840x2160 and "
            "30 frames a second"
        )


class Film(Protocol):
    """Makes films from photos.

    `at_once` is how many calls keep it busy; more only wait. Every method raises `InputError` when
    what it was given is at fault, `MediaError` when its tools fail, `StorageFull` when the disk is
    full. Cancelling one ends its work at once.
    """

    @property
    def at_once(self) -> int:
        """How many calls side by side keep it busy."""
        ...

    async def photo(self, source: Path, target: Path, *, name: str, canvas: Canvas) -> Photo:
        """Make a photo fit: upright, sRGB, of the canvas' size, as PNG without metadata.

        `name` is what errors call the photo.
        """
        ...

    async def unpack(
        self, archive: Path, folder: Path, *, name: str, limits: ArchiveLimits
    ) -> list[Member]:
        """Unpack a ZIP of photos into an empty folder, in the natural order of their names."""
        ...

    async def morph(
        self,
        first: Path,
        second: Path,
        target: Path,
        *,
        shot: Shot,
        on_frame: Callable[[int], None] | None = None,
    ) -> Clip:
        """Film the way from one photo to the next; both come from `photo`, in the shot's size.

        The same input gives the same bytes. `on_frame` hears the frames done so far.
        """
        ...

    async def join(self, clips: Sequence[Path], target: Path) -> Movie:
        """Join clips of one size and rate, in order, into an MP4 that starts playing at once."""
        ...
