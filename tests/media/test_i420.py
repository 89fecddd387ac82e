from __future__ import annotations

import numpy as np
import pytest

from understudy.errors import InputError
from understudy.media import i420


@pytest.mark.parametrize(
    ("colour", "wanted"),
    [
        ((0, 0, 0), (16, 128, 128)),
        ((255, 255, 255), (235, 128, 128)),
        ((255, 0, 0), (63, 102, 240)),
        ((0, 255, 0), (173, 42, 26)),
        ((0, 0, 255), (32, 240, 118)),
        ((128, 128, 128), (126, 128, 128)),
    ],
)
def test_primaries(colour, wanted):
    """Colours become the codes that BT.709 prints for them, in limited range."""
    frame = i420.from_rgb(np.full((8, 8, 3), colour, np.uint8))
    assert [np.unique(plane).tolist() for plane in i420.planes(frame)] == [[c] for c in wanted]


def test_luma_is_rounded_not_cut():
    """Every luma code is the nearest to the exact value, for any colours."""
    rgb = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    exact = 16 + 219 / 255 * (rgb @ np.array([0.2126, 0.7152, 0.0722]))
    assert np.abs(i420.planes(i420.from_rgb(rgb))[0] - exact).max() <= 0.501


def test_chroma_sits_on_even_columns():
    """Chroma is averaged around the even column it belongs to, as H.264 players place it."""
    rgb = np.zeros((4, 8, 3), np.uint8)
    rgb[:, 4:, 2] = 255  # blue from column 4 on
    blue = i420.planes(i420.from_rgb(rgb))[1][0]
    share = (blue.astype(float) - 128) / 112
    assert np.allclose(share, [0, 0, 0.75, 1], atol=0.01)


def test_planes_are_views():
    """Writing to a plane writes to the frame, in the order Y, U, V."""
    frame = i420.empty(8, 4)
    for value, plane in enumerate(i420.planes(frame)):
        plane[...] = value
    assert frame.tobytes() == bytes(32) + b"\1" * 8 + b"\2" * 8


@pytest.mark.parametrize("size", [(0, 4), (4, 0), (6, 4), (4, 6), (-4, 4)])
def test_odd_sizes_are_refused(size):
    """A size that 4:2:0 and the packing cannot hold is the caller's fault."""
    with pytest.raises(InputError, match="multiples of 4"):
        i420.empty(*size)
