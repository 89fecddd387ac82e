"""Reads what a joiner and a prober must know from an MP4, without decoding it.

Files come from anywhere, so nothing here trusts a size or a count: boxes must lie inside their
parents, tables inside their boxes, and only the index (`moov`) is ever held in memory.
"""

from __future__ import annotations

import hashlib
import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from understudy.errors import InputError, MediaError

TICKS: Final = 512
"""Ticks of our clips' clock in one frame interval, whatever the frame rate."""

_MOST_BOXES: Final = 10_000
_MOST_INDEX_BYTES: Final = 256 << 20


@dataclass(frozen=True, kw_only=True)
class Track:
    """The first video track of a file."""

    config: str
    """SHA-256 of the decoder configuration (`avcC`) in hex; empty if it is not H.264."""
    timescale: int
    """Ticks in a second."""
    deltas: tuple[tuple[int, int], ...]
    """Runs of equal frame intervals: how many frames, ticks each."""
    samples: int
    """Frames."""
    delay: int
    """Ticks by which the first frame is shown later than it is decoded."""
    sync: tuple[int, ...] | None
    """Numbers (from 1) of the frames that decoding may start at; None: every frame."""
    width: int
    height: int
    duration: float
    """Seconds."""
    faststart: bool
    """Whether the index stands before the pictures, so that playing starts at once."""


@dataclass(frozen=True)
class Expected:
    """What a finished clip must be."""

    width: int
    height: int
    fps: int
    frames: int


def read_track(path: Path) -> Track:
    """Read a file's first video track; InputError if it is no readable MP4 with one."""
    try:
        with path.open("rb") as file:
            moov, faststart = _index(file)
        return _track(moov, faststart=faststart)
    except (struct.error, IndexError, ValueError) as error:
        raise InputError(f"{path.name} is not a readable MP4: {error}") from error


def check_clip(path: Path, expected: Expected) -> Track:
    """Prove that a clip keeps the contract; MediaError says where it does not."""
    try:
        track = read_track(path)
    except InputError as error:
        raise MediaError(f"the clip {path.name} is broken: {error.message}") from error
    found = (track.width, track.height, track.timescale, track.samples)
    wanted = (expected.width, expected.height, expected.fps * TICKS, expected.frames)
    names = ("width", "height", "timescale", "frames")
    for name, is_, should in zip(names, found, wanted, strict=True):
        if is_ != should:
            raise MediaError(f"the clip {path.name} has {name} {is_}, not {should}")
    if not track.config:
        raise MediaError(f"the clip {path.name} is not H.264")
    if any(delta != TICKS for _, delta in track.deltas):
        raise MediaError(f"the clip {path.name} has uneven frame intervals")
    if track.sync is not None and track.sync[:1] != (1,):
        raise MediaError(f"the clip {path.name} does not start with a key frame")
    return track


def _index(file: IO[bytes]) -> tuple[memoryview, bool]:
    """The payload of `moov`, and whether it came before `mdat`."""
    end = file.seek(0, 2)
    at, media_seen = 0, False
    for _ in range(_MOST_BOXES):
        if at + 8 > end:
            break
        file.seek(at)
        size, kind, header = _header(file.read(16), end - at)
        if size < header or at + size > end:
            break
        if kind == b"moov":
            if size > _MOST_INDEX_BYTES:
                raise ValueError(f"its index has {size} bytes, the limit is 256 MiB")
            file.seek(at + header)
            return memoryview(file.read(size - header)), not media_seen
        media_seen = media_seen or kind == b"mdat"
        at += size
    raise ValueError("it has no index (moov)")


def _header(head: bytes | memoryview, rest: int) -> tuple[int, bytes, int]:
    """A box's whole size, kind and header length; size 0 means up to the end."""
    size, kind = struct.unpack_from(">I4s", head)
    if size == 1:
        (size,) = struct.unpack_from(">Q", head, 8)
        return size, kind, 16
    return size or rest, kind, 8


def _boxes(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """The boxes directly inside a payload."""
    at = 0
    for _ in range(_MOST_BOXES):
        if at + 8 > len(data):
            return
        size, kind, header = _header(data[at:], len(data) - at)
        if size < header or at + size > len(data):
            raise ValueError(f"the box {kind!r} does not fit")
        yield kind, data[at + header : at + size]
        at += size
    raise ValueError("too many boxes")


def _find(data: memoryview, *path: bytes) -> memoryview:
    """The payload of the first box at a path of kinds."""
    for kind in path:
        found = _optional(data, kind)
        if found is None:
            raise ValueError(f"the box {kind!r} is missing")
        data = found
    return data


def _track(moov: memoryview, *, faststart: bool) -> Track:
    for kind, trak in _boxes(moov):
        if kind == b"trak" and _is_video(trak):
            break
    else:
        raise ValueError("there is no video track")
    media = _find(trak, b"mdia")
    table = _find(media, b"minf", b"stbl")
    timescale, duration = _clock(_find(media, b"mdhd"))
    width, height, config = _description(_find(table, b"stsd"))
    return Track(
        config=config,
        timescale=timescale,
        deltas=_deltas(_find(table, b"stts")),
        samples=struct.unpack_from(">I", _find(table, b"stsz"), 8)[0],
        delay=_delay(table),
        sync=_sync(table),
        width=width,
        height=height,
        duration=duration / timescale,
        faststart=faststart,
    )


def _is_video(trak: memoryview) -> bool:
    handler = _find(trak, b"mdia", b"hdlr")
    return bytes(handler[8:12]) == b"vide"


def _clock(mdhd: memoryview) -> tuple[int, int]:
    timescale, duration = struct.unpack_from(
        ">IQ" if mdhd[0] == 1 else ">II", mdhd, 20 if mdhd[0] == 1 else 12
    )
    if timescale == 0:
        raise ValueError("its clock stands still")
    return timescale, duration


def _description(stsd: memoryview) -> tuple[int, int, str]:
    """Width and height in pixels, and the configuration's digest, of the first entry."""
    _, entry = next(_boxes(stsd[8:]), (b"", memoryview(b"")))
    width, height = struct.unpack_from(">HH", entry, 24)
    config = _optional(entry[78:], b"avcC")
    return width, height, "" if config is None else hashlib.sha256(config).hexdigest()


def _words(box: memoryview, each: int) -> Iterator[tuple[int, ...]]:
    """The rows of a table of 32-bit numbers, `each` to a row."""
    (count,) = struct.unpack_from(">I", box, 4)
    if 8 + count * each * 4 > len(box):
        raise ValueError("a table is larger than its box")
    return struct.iter_unpack(f">{each}I", box[8 : 8 + count * each * 4])


def _deltas(stts: memoryview) -> tuple[tuple[int, int], ...]:
    """Neighbouring runs with one interval become one run."""
    runs = itertools.groupby(_words(stts, 2), key=lambda row: row[1])
    return tuple((sum(row[0] for row in rows), delta) for delta, rows in runs)


def _sync(table: memoryview) -> tuple[int, ...] | None:
    numbers = _optional(table, b"stss")
    return None if numbers is None else tuple(row[0] for row in _words(numbers, 1))


def _delay(table: memoryview) -> int:
    offsets = _optional(table, b"ctts")
    first = () if offsets is None else next(_words(offsets, 2), ())
    return first[1] if first else 0


def _optional(data: memoryview, wanted: bytes) -> memoryview | None:
    return next((payload for kind, payload in _boxes(data) if kind == wanted), None)
