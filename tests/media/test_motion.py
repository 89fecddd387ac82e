from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from understudy.media import motion
from understudy.media.i420 import Pixels
from understudy.media.motion import Matrix
from understudy.media.warp import lattice, sample

SIZE = (320, 180)
MIDDLE = np.s_[40:140, 80:240]
MIRROR = np.array([[-1.0, 0, 319], [0, 1, 0], [0, 0, 1]])


def grid(scene: Callable[..., Pixels], seed: int) -> Pixels:
    return np.asarray(cv2.cvtColor(scene(seed, *SIZE), cv2.COLOR_RGB2GRAY), np.uint8)


def seen(picture: Pixels, matrix: Matrix) -> Pixels:
    """The picture from another place: what was at x is at matrix(x)."""
    border = cv2.BORDER_REFLECT_101
    return np.asarray(cv2.warpPerspective(picture, matrix, SIZE, borderMode=border), np.uint8)


def turned(degrees: float, zoom: float = 1.0, x: float = 0.0) -> Matrix:
    matrix = np.eye(3)
    matrix[:2] = cv2.getRotationMatrix2D((160, 90), degrees, zoom)
    matrix[0, 2] += x
    return matrix


@pytest.mark.parametrize("matrix", [turned(0, x=24), turned(12, 1.15), turned(-5, 0.9, 10)])
def test_a_camera_move_is_found(scene, matrix):
    """Turning, zooming and shifting one picture gives that motion, both ways, and agreement."""
    first = grid(scene, 3)
    second = seen(first, matrix)
    found = motion.related(first, second)
    at = lattice(*SIZE)
    there = cv2.perspectiveTransform(at, matrix) - at
    back = cv2.perspectiveTransform(at, np.linalg.inv(matrix)) - at
    for field, truth in ((found.forward, there), (found.backward, back)):
        assert np.median(np.linalg.norm(field - truth, axis=2)[MIDDLE]) < 0.3
    assert motion.agreement(found, first, second) > 0.6


def test_flow_corrects_what_a_homography_misses(scene):
    """A part that moves by itself is followed although the rest stands still."""
    first = grid(scene, 4)
    at = lattice(*SIZE)
    bump = np.exp(-(np.linalg.norm(at - (160, 90), axis=2) ** 2) / 900)
    where = at - np.dstack([4 * bump, 0 * bump]).astype(np.float32)
    found = motion.related(first, sample(first, where))
    assert np.allclose(found.forward[90, 160], (4, 0), atol=1.0)
    assert np.abs(found.forward[20, 20]).max() < 0.5


def test_unrelated_pictures_disagree(scene):
    """Pictures that share nothing have no motion worth the name."""
    first, second = grid(scene, 5), grid(scene, 6)
    assert motion.agreement(motion.related(first, second), first, second) < 0.15


@pytest.mark.parametrize("matrix", [turned(180), turned(90), MIRROR])
def test_far_turns_are_not_followed(scene, matrix):
    """Points go straight ways, so a picture turned over would shrink to nothing half way."""
    first = grid(scene, 7)
    second = seen(first, matrix)
    found = motion.related(first, second)
    assert motion.agreement(found, first, second) < 0.3


def test_empty_areas_do_not_agree(scene):
    """Two different things on the same white ground are unrelated."""
    pictures: list[Pixels] = []
    for seed in (8, 9):
        picture = np.full(SIZE[::-1], 255, np.uint8)
        picture[60:120, 110:210] = grid(scene, seed)[60:120, 110:210]
        pictures.append(picture)
    assert motion.agreement(motion.related(*pictures), *pictures) < 0.3


def test_nothing_to_match(scene):
    """Two empty pictures agree (a fade shows no ghost); an empty and a full one do not."""
    empty, full = np.full(SIZE[::-1], 40, np.uint8), grid(scene, 10)
    assert motion.agreement(motion.related(empty, empty + 100), empty, empty + 100) == 1.0
    assert motion.agreement(motion.related(empty, full), empty, full) < 0.1


def test_a_melt_is_calm(scene):
    """A melt's motion is bounded to a tenth of the grid and rests along the border."""
    found = motion.melting(grid(scene, 11), grid(scene, 12))
    for field in (found.forward, found.backward):
        assert 1 < np.linalg.norm(field, axis=2).max() <= 32
        for edge in (field[0], field[-1], field[:, 0], field[:, -1]):
            assert not edge.any()


@pytest.mark.parametrize("shape", [(1, 1), (2, 300), (300, 2), (23, 23), (24, 24), (30, 320)])
def test_any_shape_of_grid(shape):
    """Grids too small for a search stand still; none fails."""
    random = np.random.default_rng(0)
    first, second = (random.integers(0, 256, shape, np.uint8) for _ in range(2))
    for find in (motion.related, motion.melting):
        found = find(first, second)
        assert found.forward.shape == found.backward.shape == (*shape, 2)
        assert np.isfinite(found.forward).all()
        if min(shape) < 24:
            assert not found.forward.any()


@pytest.mark.parametrize(
    ("size", "wanted"), [((1280, 720), (320, 180)), ((200, 100), (200, 100)), ((4, 4000), (1, 320))]
)
def test_grids_are_small(size, wanted):
    """A grid has 320 cells along the longer side at most, and never none."""
    assert motion.grid_of(np.zeros(size[::-1], np.uint8)).shape == wanted[::-1]
