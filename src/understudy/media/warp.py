"""Moves and mixes pictures, a whole frame at a time, in memory that is kept.

Sampling dominates the cost of a morph, so pixels are packed: each sample of a packed picture holds
four neighbours in a row (in chroma two of each plane), and one lookup with one displacement moves
all four. That is two to three times as fast as sampling planes pixel by pixel, and differs from it
only by how much a smooth motion changes within two pixels to either side.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final, TypeVar, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.media import i420

Field = NDArray[np.float32]
"""A grid of vectors (rows x columns x (x, y)) or of weights (rows x columns)."""

Planes = tuple[i420.Pixels, i420.Pixels]
"""Packed luma and chroma: blocks of four neighbours, in chroma two of each plane."""

Blocks = NDArray[np.intp]
"""Places of blocks in a plane, counted row by row."""

_Array = TypeVar("_Array", i420.Pixels, Field)

_EDGE: Final = cv2.BORDER_REPLICATE
_XY_IN_ONE: Final = np.empty(0, np.float32)  # OpenCV's second map, not used
_BEFORE: Final = 4  # columns, so that chroma, of half the size, lies at half of luma's places
_ROW: Final = 256  # scattered blocks are looked up in rows, as OpenCV works in tiles
_HALF: Final = 128  # of the weight 255


def sample(
    picture: _Array, where: Field, out: _Array | None = None, *, beyond: float | None = None
) -> _Array:
    """Look a picture up between its points, at a place (x, y) for each point of the result.

    Beyond its edge stands the edge itself, or the value `beyond`.
    """
    border = _EDGE if beyond is None else cv2.BORDER_CONSTANT
    value = (beyond or 0.0,) * 4
    found = cv2.remap(picture, where, _XY_IN_ONE, cv2.INTER_LINEAR, out, border, value)
    return cast("_Array", found)


class Source:
    """Pictures ready to be sampled anywhere: as blocks that begin at every pixel, luma and chroma.

    They stand below each other, `pitch` rows from one to the next, each with `margin` rows (an even
    number) of its edge above and below. Blocks begin some columns before a picture, so that those
    beyond its edge repeat the edge's pixel and not its block.
    """

    def __init__(self, *frames: i420.Pixels, margin: int = 0) -> None:
        luma, blue, red = zip(*map(i420.planes, frames), strict=True)
        self.pitch = luma[0].shape[0] + 2 * margin
        y = _stacked(luma, margin, _BEFORE)
        u, v = (_stacked(plane, margin // 2, _BEFORE // 2) for plane in (blue, red))
        blocks = y.shape[1] - 3
        self.planes = (
            _merged(*(y[:, k : k + blocks] for k in range(4))),
            _merged(u[:, :-1], u[:, 1:], v[:, :-1], v[:, 1:]),
        )


class Stage(ABC):
    """Draws frames from two pictures, in scratch memory for their size."""

    def __init__(self, width: int, height: int) -> None:
        across = width // 4
        self._at = _lattice(across, height, (4.0, 1.0), (_BEFORE, 0.0))
        self._places = np.empty_like(self._at), np.empty_like(self._at)
        self._half = np.empty((height // 2, across, 2), np.float32)
        self._weights = tuple(np.empty((rows, across), np.uint8) for rows in (height, height // 2))
        self._scratch = tuple(np.empty((*one.shape, 4), np.uint8) for one in self._weights)
        self._chroma = np.empty_like(self._scratch[1])

    def draw(self, shifts: Sequence[Field], weight: Field, out: i420.Pixels) -> None:
        """Write first * (1 - weight) + second * weight, each looked up at x + its shift(x).

        Shifts are in pixels, weights 0…1, all on grids of any size.
        """
        weights = self._weights
        for places, shift in zip(self._places, shifts, strict=True):
            cv2.resize(shift, weights[0].shape[::-1], dst=places)
            cv2.add(places, self._at, dst=places)
        coarse = np.asarray(cv2.convertScaleAbs(weight, alpha=255.0), np.uint8)
        cv2.resize(coarse, weights[0].shape[::-1], dst=weights[0])
        weights[1][...] = weights[0][::2]
        y, u, v = i420.planes(out)
        self._fill((y.reshape(self._scratch[0].shape), self._chroma))
        cv2.split(self._chroma.view(np.uint16), [u.view(np.uint16), v.view(np.uint16)])

    @abstractmethod
    def _fill(self, out: Planes) -> None:
        """Write packed planes from `_places` by `_weights`."""

    def _look_up(self, source: Source, places: Field, out: Planes) -> None:
        """Sample both planes of a source at luma's places."""
        even = places[::2]
        cv2.addWeighted(even, 0.5, even, 0.0, 0.0, dst=self._half)
        for picture, where, room in zip(source.planes, (places, self._half), out, strict=True):
            sample(picture, where, room)


class Blend(Stage):
    """Draws pictures that are both seen nearly everywhere."""

    def __init__(self, first: i420.Pixels, second: i420.Pixels) -> None:
        super().__init__(first.shape[1], first.shape[0] * 2 // 3)
        self._sources = Source(first), Source(second)
        self._others = np.empty_like(self._scratch[0]), np.empty_like(self._scratch[1])

    def _fill(self, out: Planes) -> None:
        rooms = out, self._others
        for source, places, room in zip(self._sources, self._places, rooms, strict=True):
            self._look_up(source, places, room)
        for plane, other in enumerate(self._others):
            _mix(out[plane], other, self._weights[plane], self._scratch[plane])


class Mosaic(Stage):
    """Draws pictures of which each place shows mostly one, for little more than the cost of one.

    Shifts come on a grid of `rows` rows, no more than the picture has; those that lead above or
    below a picture are shortened.
    """

    def __init__(self, first: i420.Pixels, second: i420.Pixels, rows: int) -> None:
        height = first.shape[0] * 2 // 3
        super().__init__(first.shape[1], height)
        # Of cells along the edge, the outer half can still lead beyond it by half a cell.
        margin = 2 * (height // (4 * rows) + 1)
        self._source = Source(first, second, margin=margin)
        self._tops = margin, margin + self._source.pitch
        self._centres = ((np.arange(rows, dtype=np.float32) + 0.5) * (height / rows) - 0.5)[:, None]
        self._last = height - 1.0

    def draw(self, shifts: Sequence[Field], weight: Field, out: i420.Pixels) -> None:
        """As for every stage, in one source where the second picture stands below the first."""
        below = []
        for shift, top in zip(shifts, self._tops, strict=True):
            y = np.clip(self._centres + shift[..., 1], 0.0, self._last) - self._centres
            below.append(np.dstack([shift[..., 0], (y + top).astype(np.float32)]))
        super().draw(below, weight, out)

    def _fill(self, out: Planes) -> None:
        mixed = [
            self._mixed(weight, step) for weight, step in zip(self._weights, (1, 2), strict=True)
        ]
        first, second = self._places
        cv2.copyTo(second, cv2.inRange(self._weights[0], np.array(_HALF), np.array(255)), first)
        self._look_up(self._source, first, out)
        for picture, room, (blocks, where, share) in zip(
            self._source.planes, out, mixed, strict=True
        ):
            if blocks.size:
                other = sample(picture, where)
                packed = room.view(np.uint32).reshape(-1)
                mine = packed.take(blocks).view(np.uint8).reshape(other.shape)
                _mix(mine, other, share)
                packed[blocks] = mine.view(np.uint32).reshape(-1)

    def _mixed(self, weight: i420.Pixels, step: int) -> tuple[Blocks, Field, i420.Pixels]:
        """Which blocks of a plane show both pictures; for each, in rows: where the picture that is
        seen less is looked up, and how much of it is seen. `step` is 1 in luma, 2 in chroma.
        """
        blocks = np.flatnonzero(weight - np.uint8(1) < np.uint8(254))
        blocks = np.append(blocks, np.repeat(blocks[-1:], -blocks.size % _ROW))
        across = weight.shape[1]
        at = blocks if step == 1 else blocks + blocks // across * across
        share = weight.ravel().take(blocks)
        late = share >= _HALF
        first, second = (places.view(np.complex64).ravel().take(at) for places in self._places)
        less = np.where(late, first, second).view(np.float32) * np.float32(1.0 / step)
        share = np.where(late, ~share, share)
        return blocks, less.reshape(-1, _ROW, 2), share.reshape(-1, _ROW)


def _mix(
    first: i420.Pixels, second: i420.Pixels, weight: i420.Pixels, scratch: i420.Pixels | None = None
) -> None:
    """Mix packed pictures into the first, by weights 0 (first) to 255 (second); ruins the other."""
    share = np.asarray(cv2.merge([weight] * 4, dst=scratch), np.uint8)
    cv2.multiply(second, share, dst=second, scale=1.0 / 255.0)
    cv2.bitwise_not(share, dst=share)
    cv2.multiply(first, share, dst=first, scale=1.0 / 255.0)
    cv2.add(first, second, dst=first)


def _stacked(planes: Sequence[i420.Pixels], margin: int, beside: int) -> i420.Pixels:
    """Planes below each other, with their edges repeated around each."""
    return np.vstack([np.pad(p, ((margin, margin), (beside, beside)), "edge") for p in planes])


def _merged(*channels: i420.Pixels) -> i420.Pixels:
    return np.asarray(cv2.merge(channels), np.uint8)


def _lattice(
    across: int, down: int, step: tuple[float, float], start: tuple[float, float]
) -> Field:
    """The point (start + step x index) of every cell, as x and y."""
    x = np.arange(across, dtype=np.float32) * np.float32(step[0]) + np.float32(start[0])
    y = np.arange(down, dtype=np.float32) * np.float32(step[1]) + np.float32(start[1])
    return np.dstack(np.meshgrid(x, y))


def lattice(across: int, down: int) -> Field:
    """The coordinates (x, y) of every cell of a grid."""
    return _lattice(across, down, (1.0, 1.0), (0.0, 0.0))
