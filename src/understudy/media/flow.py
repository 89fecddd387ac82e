"""The morph: one photo becomes another, frame by frame."""

from __future__ import annotations

import zlib
from typing import Final, Literal

import cv2
import numpy as np

from understudy.errors import InputError
from understudy.media import i420, motion
from understudy.media.i420 import Pixels
from understudy.media.warp import Blend, Field, Mosaic, Stage, lattice, sample

Style = Literal["auto", "flow", "melt", "dissolve"]

_RELATED: Final = 0.30  # of their detail agrees; related pairs measured 0.57 up, others 0.12 down
_BAND: Final = 0.25  # which part of a melt's time one place takes to change
_FAINT: Final = 1e-3  # not 0: where neither photo reaches, their edges are mixed as elsewhere


def ease(x: float) -> float:
    """Time along a transition, 0…1, at rest at both ends (smoothstep)."""
    return x * x * (3.0 - 2.0 * x)


class Transition:
    """Frames between two photos of one size, given as sRGB pictures (HxWx3, `uint8`).

    `flow` moves what both photos show; `melt` lets unrelated photos flow into each other place by
    place; `dissolve` only fades; `auto` chooses flow or melt. `used` is the style chosen. Sizes
    must be equal multiples of 4 (InputError). Equal photos give equal frames, every time.
    """

    def __init__(self, first: Pixels, second: Pixels, style: Style = "auto") -> None:
        if first.shape != second.shape:
            raise InputError(f"photos of shapes {first.shape} and {second.shape} differ in size")
        height, width = first.shape[:2]
        self._ends = i420.from_rgb(first), i420.from_rgb(second)
        self.used: Style = "dissolve"
        if style == "dissolve" or np.array_equal(*self._ends):
            return
        grids = tuple(motion.grid_of(frame[:height]) for frame in self._ends)
        found, self._order = _plan(grids[0], grids[1], style)
        fields = found.forward, found.backward
        self._sides = tuple(_Side(field, width, height) for field in fields)
        self._stage: Stage
        if self._order is None:
            self.used, self._stage = "flow", Blend(*self._ends)
        else:
            self.used, self._stage = "melt", Mosaic(*self._ends, self._sides[0].rows)

    def frame(self, t: float, out: Pixels) -> None:
        """Write the frame at t (0: the first photo, 1: the second) to a buffer (`media.i420`)."""
        first, second = self._ends
        if t <= 0.0 or t >= 1.0:
            np.copyto(out, first if t <= 0.0 else second)
        elif self.used == "dissolve":
            cv2.addWeighted(first, 1.0 - t, second, t, 0.0, dst=out)
        else:
            self._move(t, out)

    def _move(self, t: float, out: Pixels) -> None:
        (first, there), (second, back) = (
            side.show(share) for side, share in zip(self._sides, (t, 1.0 - t), strict=True)
        )
        if self._order is None:
            second = second * ease(t)
            weight = second / (first * (1.0 - ease(t)) + second)
        else:
            weight = np.clip((t * (1.0 + _BAND) - self._order) / _BAND, 0.0, 1.0)
            weight *= weight * (3.0 - 2.0 * weight)
        self._stage.draw((there, back), np.asarray(weight, np.float32), out)


class _Side:
    """One photo on its way to the other."""

    def __init__(self, field: Field, width: int, height: int) -> None:
        rows, columns = field.shape[:2]
        # Half the grid on which the motion was found: four times cheaper, and as good.
        down, across = max(1, rows // 2), max(1, columns // 2)
        coarse = _reduced(field, (across, down))
        self._cells = _scaled(coarse, across / columns, down / rows)
        self._pixels = _scaled(coarse, width / columns, height / rows)
        self.rows = down
        self._at = lattice(across, down)
        self._where = np.empty_like(self._cells)
        self._moved = np.empty_like(self._cells)
        self._inside = np.ones((down, across), np.float32)
        self._sight = np.empty_like(self._inside)

    def show(self, share: float) -> tuple[Field, Field]:
        """Where the photo can be seen after a share (0…1) of its motion, and where it came from.

        That is 1 inside the photo and next to 0 beyond its edge; and the displacement, in pixels,
        to what arrives at each place. Both on the motion's grid, the first until the next call.
        """
        # What arrives at x left from x - share * u, where u(x) = F(x - share * u(x)):
        # two fixed-point steps, the second of which looks the motion up in pixels.
        moved = self._cells
        for field in (self._cells, self._pixels):
            cv2.addWeighted(moved, -share, self._at, 1.0, 0.0, dst=self._where)
            moved = sample(field, self._where, self._moved)
        sample(self._inside, self._where, self._sight, beyond=_FAINT)
        return self._sight, np.asarray(moved * np.float32(-share), np.float32)


def _plan(a: Pixels, b: Pixels, style: Style) -> tuple[motion.Motion, Field | None]:
    """The motion, and the order in which places change if it is a melt."""
    if style != "melt":
        found = motion.related(a, b)
        if style == "flow" or motion.agreement(found, a, b) > _RELATED:
            return found, None
    a, b = motion.halved(a), motion.halved(b)  # what is smooth needs no fine grid
    return motion.melting(a, b), _melt_order(a, b)


def _melt_order(a: Pixels, b: Pixels) -> Field:
    """When each cell changes (0: first, 1: last), evenly spread, so that the pace is even.

    Calm places of the first photo go early and striking ones late; the reverse for the second.
    """
    rows, columns = a.shape
    random = np.random.default_rng(zlib.crc32(b.tobytes(), zlib.crc32(a.tobytes())))
    noise = np.zeros((rows, columns), np.float32)
    for octave in range(4):
        cells = random.random((3 << octave, 4 << octave), np.float32)
        noise += cv2.resize(cells, (columns, rows), interpolation=cv2.INTER_CUBIC) / (1 << octave)
    striking = [_spread(_striking(grid)) for grid in (a, b)]
    return _spread(0.55 * _spread(noise) + 0.45 * (striking[0] - striking[1]))


def _reduced(field: Field, size: tuple[int, int]) -> Field:
    return np.asarray(cv2.resize(field, size, interpolation=cv2.INTER_AREA), np.float32)


def _scaled(field: Field, x: float, y: float) -> Field:
    return np.asarray(field * (x, y), np.float32)


def _striking(grid: Pixels) -> Field:
    """Local contrast, smoothed."""
    sigma = max(grid.shape) / 20.0
    values = grid.astype(np.float32)
    away = np.abs(values - cv2.GaussianBlur(values, (0, 0), sigma))
    return np.asarray(cv2.GaussianBlur(away, (0, 0), sigma), np.float32)


def _spread(values: Field) -> Field:
    """Each value's rank, 0…1."""
    ranks = np.empty(values.size, np.float32)
    ranks[np.argsort(values, axis=None, kind="stable")] = np.linspace(0.0, 1.0, values.size)
    return ranks.reshape(values.shape)
