"""Joins clips of one contract into a film without touching a single picture."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from understudy.errors import InputError, MediaError
from understudy.media.child import Child
from understudy.media.mp4 import TICKS, Track, read_track

COMMENT: Final = "AI-generated (Understudy)"
"""Stands in every film's metadata."""


def join(clips: Sequence[Path], target: Path, ffmpeg: Path) -> Track:
    """Join clips in order into `target` by stream copy, the index first; returns its track.

    Raises InputError without clips, MediaError if a clip does not fit the first or the result is
    not exactly their sum, StorageFull when the disk is full. Nothing is left at `target` then.
    """
    frames, timescale = _frames_of_one_contract(clips)
    listing = "".join(f"file {_quoted(clip)}\n" for clip in clips)
    child = Child(ffmpeg, _arguments(target, timescale), doing=f"joining {target.name}")
    try:
        child.write(os.fsencode(listing))
        child.finish()
        return _checked(target, frames)
    except BaseException:
        child.kill()
        target.unlink(missing_ok=True)
        raise


def _checked(film: Path, frames: int) -> Track:
    track = read_track(film)
    if track.samples != frames or track.deltas != ((frames, TICKS),):
        raise MediaError(f"{film.name}: {track.samples} frames, not {frames} evenly spaced")
    return track


def _arguments(target: Path, timescale: int) -> list[str]:
    # The demuxer adds up durations in microseconds; on a long film the rounding would shift frames
    # by a tick here and there. Counting frames keeps every interval equal.
    decoded = f"STARTDTS+N*{TICKS}"
    even = f"setts=dts={decoded}:pts={decoded}+PTS-DTS"
    return [
        *("-f", "concat", "-safe", "0", "-protocol_whitelist", "file,pipe", "-i", "pipe:0"),
        *(
            "-map",
            "0:v:0",
            "-c",
            "copy",
            "-bsf:v",
            even,
            "-map_metadata",
            "-1",
            "-fflags",
            "+bitexact",
        ),
        *("-metadata", f"comment={COMMENT}", "-movflags", "+faststart"),
        # Left to itself, the muxer doubles a clock of less than 10,000 ticks a second.
        *("-video_track_timescale", str(timescale), "-f", "mp4", f"file:{target}"),
    ]


def _quoted(clip: Path) -> str:
    """A path as the concat list wants it, where nothing can be escaped inside quotes."""
    path = str(clip.absolute())
    if "\n" in path:
        raise InputError(f"{path!r}: clips cannot be joined from a path with a line break")
    return "'file:" + path.replace("'", "'\\''") + "'"


def _frames_of_one_contract(clips: Sequence[Path]) -> tuple[int, int]:
    """Frames of all clips together, and the ticks a second of their clock."""
    if not clips:
        raise InputError("a film needs at least one clip")
    tracks = [read_track(clip) for clip in clips]
    for clip, track in zip(clips, tracks, strict=True):
        if not track.config or _terms(track) != _terms(tracks[0]):
            raise MediaError(f"the clip {clip.name} was not made like the first, {clips[0].name}")
        if any(delta != TICKS for _, delta in track.deltas):
            raise MediaError(f"the clip {clip.name} has uneven frame intervals")
    return sum(track.samples for track in tracks), tracks[0].timescale


def _terms(track: Track) -> tuple[object, ...]:
    """What must be equal in all clips."""
    return track.config, track.timescale, track.width, track.height, track.delay
