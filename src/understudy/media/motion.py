"""Finds how one photo moves into another, on a coarse grid.

Related photos (two views of one thing) move by a homography, found from matched points, plus the
optical flow that remains. Unrelated photos have no true motion; for them a smooth, bounded flow
bends shapes towards each other. Nothing here is random: equal pictures give equal motion.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.media.i420 import Pixels
from understudy.media.warp import Field, lattice, sample

Matrix = NDArray[np.float64]

_GRID: Final = 320  # cells along the longer side; finer grids follow large motions worse
_SHORTEST: Final = 24  # below this the flow's patches do not fit
_POINTS: Final = 600
_SCALES: Final = 2  # an octave; the usual three cost a third more and find no better motion
_RATIO: Final = 0.75
_INLIERS: Final = 20
_NOWHERE: Final = 1e6  # cells, farther than any grid is wide
_RETURNS: Final = 1.5  # cells
_ALIKE: Final = 0.5
_DETAIL: Final = 12  # steps of brightness between neighbours


@dataclass(frozen=True)
class Motion:
    """Two fields of displacements in grid cells (rows x columns x (x, y)).

    A point x of the first photo is found at x + forward(x) in the second; `backward` is the same
    from the second photo to the first.
    """

    forward: Field
    backward: Field


def grid_of(luma: Pixels) -> Pixels:
    """A photo's luma reduced to the grid on which motion is found."""
    height, width = luma.shape
    factor = min(1.0, _GRID / max(width, height))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(cv2.resize(luma, size, interpolation=cv2.INTER_AREA), np.uint8)


def halved(grid: Pixels) -> Pixels:
    """A grid of half the size."""
    size = max(1, grid.shape[1] // 2), max(1, grid.shape[0] // 2)
    return np.asarray(cv2.resize(grid, size, interpolation=cv2.INTER_AREA), np.uint8)


def related(first: Pixels, second: Pixels) -> Motion:
    """The motion between two grids that may show one scene."""
    there = _homography(first, second)
    back = np.asarray(np.linalg.inv(there), np.float64)
    return Motion(_refined(first, second, there), _refined(second, first, back))


def melting(first: Pixels, second: Pixels) -> Motion:
    """A calm motion between two grids that show different things."""
    even = cv2.createCLAHE(2.0, (8, 8))
    a, b = (
        np.asarray(cv2.GaussianBlur(even.apply(grid), (0, 0), 1.0), np.uint8)
        for grid in (first, second)
    )
    return Motion(_calm(_flow(a, b)), _calm(_flow(b, a)))


def agreement(motion: Motion, first: Pixels, second: Pixels) -> float:
    """How far a motion is true: the part of one photo's detail (0…1) that the other shows too.

    Detail must return to where it began when sent there and back, and look alike there. Empty
    areas agree with anything, so they do not count; 1 if there is no detail at all. Of the two
    photos the one that shares more counts: the other may show more of the scene around it.
    """
    there = _shared(motion.forward, motion.backward, first, second)
    return max(there, _shared(motion.backward, motion.forward, second, first))


def _shared(out: Field, home: Field, mine: Pixels, other: Pixels) -> float:
    where = lattice(out.shape[1], out.shape[0]) + out
    gap = np.linalg.norm(out + sample(home, where, beyond=_NOWHERE), axis=2)
    seen = sample(other, where, beyond=0.0)
    same = (gap < _RETURNS) & (_correlation(mine, seen) > _ALIKE)
    detail = np.maximum(_edges(mine), _edges(seen)) > _DETAIL
    return float(np.mean(same[detail])) if detail.any() else 1.0


def _correlation(first: Pixels, second: Pixels) -> Field:
    """How the surroundings of each cell vary together, -1…1, whatever their brightness."""

    def mean(values: Field) -> Field:
        return np.asarray(cv2.blur(values, (9, 9)), np.float32)

    a, b = first.astype(np.float32), second.astype(np.float32)
    a, b = a - mean(a), b - mean(b)
    noise = np.float32(4.0)
    spread = np.sqrt((mean(a * a) + noise) * (mean(b * b) + noise))
    return np.asarray(mean(a * b) / spread, np.float32)


def _edges(grid: Pixels) -> Pixels:
    """The range of brightness around each cell."""
    around = np.ones((3, 3), np.uint8)
    return np.asarray(cv2.morphologyEx(grid, cv2.MORPH_GRADIENT, around), np.uint8)


def _flow(first: Pixels, second: Pixels) -> Field:
    if min(first.shape) < _SHORTEST:
        return np.zeros((*first.shape, 2), np.float32)
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    nothing = np.zeros((*first.shape, 2), np.float32)
    return np.asarray(search.calc(first, second, nothing), np.float32)


def _smooth(field: Field, sigma: float) -> Field:
    return np.asarray(cv2.GaussianBlur(field, (0, 0), sigma), np.float32)


def _calm(field: Field) -> Field:
    """Smoothed, bounded to a tenth of the grid, at rest along the border."""
    rows, columns = field.shape[:2]
    longer = max(rows, columns)
    field = _smooth(field, longer / 32.0)
    length = np.linalg.norm(field, axis=2)
    bound = longer / 10.0
    scale = bound * np.tanh(length / bound) / np.maximum(length, 1e-6)
    scale *= np.outer(_rise(rows), _rise(columns))
    return np.asarray(field * scale[..., None], np.float32)


def _rise(cells: int) -> NDArray[np.float64]:
    """0 at both ends, 1 from 8 % inwards."""
    place = np.arange(cells)
    return np.minimum(np.minimum(place, place[::-1]) / (0.08 * cells), 1.0)


def _homography(first: Pixels, second: Pixels) -> Matrix:
    """The 3x3 matrix that takes points of the first grid to the second; 1 if too few agree."""
    still = np.eye(3)
    sift = cv2.SIFT.create(_POINTS, _SCALES)
    a, words_a = sift.detectAndCompute(first, None)
    b, words_b = sift.detectAndCompute(second, None)
    if min(len(a), len(b)) < _INLIERS:
        return still
    pairs = cv2.BFMatcher().knnMatch(words_a, words_b, k=2)
    good = [near for near, far in pairs if near.distance < _RATIO * far.distance]
    if len(good) < _INLIERS:
        return still
    start = np.array([a[match.queryIdx].pt for match in good], np.float32)
    end = np.array([b[match.trainIdx].pt for match in good], np.float32)
    found, agree = cv2.findHomography(start, end, cv2.RANSAC, 2.0)
    if np.count_nonzero(agree) < _INLIERS:
        return still
    matrix = np.asarray(found, np.float64)
    return matrix if _sane(matrix, first.shape) else still


def _sane(matrix: Matrix, shape: tuple[int, ...]) -> bool:
    """Whether the frame stays a convex quadrangle of a comparable size, half way there too.

    Points travel in straight lines, so a picture that is turned far shrinks on its way.
    """
    rows, columns = shape
    corners = np.array([[[0, 0]], [[columns, 0]], [[columns, rows]], [[0, rows]]], np.float32)
    moved = np.asarray(cv2.perspectiveTransform(corners, matrix), np.float32)
    area, half = (
        cv2.contourArea(quad, oriented=True) / (rows * columns)
        for quad in (moved, (corners + moved) / 2)
    )
    return cv2.isContourConvex(moved) and 0.1 < area < 10.0 and half > 0.75 * area**0.5


def _refined(first: Pixels, second: Pixels, matrix: Matrix) -> Field:
    """The homography's displacement corrected by the flow that it leaves."""
    rows, columns = first.shape
    size, flags = (columns, rows), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    edge = cv2.BORDER_REPLICATE
    straight = cv2.warpPerspective(second, matrix, size, flags=flags, borderMode=edge)
    seen = cv2.warpPerspective(np.full_like(second, 255), matrix, size, flags=flags)
    # Beyond the second photo's edge there is nothing to match, so the homography alone holds.
    seen = cv2.erode(seen, np.ones((5, 5), np.uint8))
    rest = _flow(first, np.asarray(straight, np.uint8)) * (seen > 0)[..., None]
    at = lattice(columns, rows)
    return np.asarray(cv2.perspectiveTransform(at + _smooth(rest, 1.5), matrix) - at, np.float32)
