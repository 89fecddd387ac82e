"""Local: what this machine can do by itself, without a key and without a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from understudy.capabilities.film import ArchiveLimits, Canvas, Clip, Member, Movie, Photo, Shot
from understudy.media.pool import MediaPool


class Local:
    """`Film` over this machine's processors."""

    def __init__(self, pool: MediaPool, ffmpeg: Path) -> None:
        self._pool = pool
        self._ffmpeg = ffmpeg

    @property
    def at_once(self) -> int:
        """One call for each processor, and as many again between files and database."""
        return 2 * self._pool.cores

    async def photo(self, source: Path, target: Path, *, name: str, canvas: Canvas) -> Photo:
        """Make a photo fit: upright, sRGB, of the canvas' size, as PNG without metadata."""
        made = await self._pool.run(
            "photo",
            {
                "source": str(source),
                "target": str(target),
                "name": name,
                "canvas": asdict(canvas),
            },
        )
        return Photo(**made)

    async def unpack(
        self, archive: Path, folder: Path, *, name: str, limits: ArchiveLimits
    ) -> list[Member]:
        """Unpack a ZIP of photos into an empty folder, in the natural order of their names."""
        unpacked = await self._pool.run(
            "unpack",
            {
                "archive": str(archive),
                "folder": str(folder),
                "name": name,
                "limits": asdict(limits),
            },
        )
        return [Member(member["name"], Path(member["path"])) for member in unpacked["members"]]

    async def morph(
        self,
        first: Path,
        second: Path,
        target: Path,
        *,
        shot: Shot,
        on_frame: Callable[[int], None] | None = None,
    ) -> Clip:
        """Film the way from one photo to the next, on one processor."""
        files = {
            "first": str(first),
            "second": str(second),
            "target": str(target),
            "ffmpeg": str(self._ffmpeg),
        }
        made = await self._pool.run("clip", files | asdict(shot), on_frame)
        return Clip(frames=made["frames"], style=made["style"])

    async def join(self, clips: Sequence[Path], target: Path) -> Movie:
        """Join clips of one size and rate, in order, into an MP4 that starts playing at once."""
        joined = await self._pool.run(
            "join",
            {
                "clips": [str(clip) for clip in clips],
                "target": str(target),
                "ffmpeg": str(self._ffmpeg),
            },
        )
        return Movie(**joined)
