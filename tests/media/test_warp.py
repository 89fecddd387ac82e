from __future__ import annotations

from functools import partial

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.media import i420
from understudy.media.i420 import Pixels
from understudy.media.warp import Blend, Field, Mosaic, lattice, sample

FOURS = st.integers(1, 10).map(lambda n: 4 * n)


def moved(frame: Pixels, motion: Field) -> Pixels:
    """The frame sampled at x + motion(x)."""
    out = np.empty_like(frame)
    Blend(frame, frame[::-1].copy()).draw((motion, motion), np.zeros((1, 1), np.float32), out)
    return out


def shifted(plane: Pixels, x: int, y: int) -> Pixels:
    """The plane moved by whole pixels, its edges repeated."""
    rows = np.clip(np.arange(plane.shape[0]) + y, 0, plane.shape[0] - 1)
    columns = np.clip(np.arange(plane.shape[1]) + x, 0, plane.shape[1] - 1)
    return plane[np.ix_(rows, columns)]


@settings(max_examples=50, deadline=None)
@given(FOURS, FOURS, st.integers(-20, 20), st.integers(-20, 20), st.integers(0, 99))
def test_whole_shifts_are_exact(width, height, x, y, seed):
    """Moving by an even number of pixels copies them, and repeats the edge's own pixels."""
    frame = i420.empty(width, height)
    frame[...] = np.random.default_rng(seed).integers(0, 256, frame.shape, np.uint8)
    motion = np.full((3, 5, 2), (2 * x, 2 * y), np.float32)
    found = i420.planes(moved(frame, motion))
    for plane, was, step in zip(found, i420.planes(frame), (2, 1, 1), strict=True):
        assert np.array_equal(plane, shifted(was, step * x, step * y))


def test_smooth_motion_matches_sampling_pixel_by_pixel(scene):
    """Packing by fours changes next to nothing against looking up every pixel."""
    width, height = 320, 180
    frame = i420.from_rgb(cv2.GaussianBlur(scene(2, width, height), (0, 0), 1.5))
    at = lattice(width, height)
    motion = np.asarray(6 * np.sin(at / 40), np.float32)
    exact = sample(frame[:height], at + motion)
    assert cv2.PSNR(exact, moved(frame, motion)[:height]) > 42


@pytest.mark.parametrize("weight", [0.0, 0.25, 0.5, 0.75, 1.0])
@pytest.mark.parametrize("stage", [Blend, partial(Mosaic, rows=2)])
def test_mix_follows_its_weight(scene, stage, weight):
    """A mix is the weighted mean, exact at both ends and within one code between."""
    frames = [i420.from_rgb(scene(seed)) for seed in (1, 2)]
    still, out = np.zeros((2, 2, 2), np.float32), i420.empty(64, 48)
    stage(*frames).draw((still, still), np.full((3, 4), weight, np.float32), out)
    exact = frames[0] * (1 - weight) + frames[1] * weight
    assert np.abs(out - exact).max() <= (1.6 if 0 < weight < 1 else 0)


@given(FOURS, FOURS, st.integers(1, 4), st.integers(0, 99))
def test_a_mosaic_is_a_blend(width, height, rows, seed):
    """Choosing a picture for each place gives the frame that mixing both everywhere gives."""
    random = np.random.default_rng(seed)
    frames = random.integers(0, 256, (2, height * 3 // 2, width), np.uint8)
    shifts = np.zeros((2, rows, 4, 2), np.float32)
    shifts[..., 0] = random.normal(0, 9, shifts.shape[:-1])
    weight = np.asarray(np.clip(random.normal(0.5, 1, (3, 5)), 0, 1), np.float32)
    found, wanted = np.empty_like(frames)
    Mosaic(frames[0], frames[1], rows).draw(tuple(shifts), weight, found)
    Blend(frames[0], frames[1]).draw(tuple(shifts), weight, wanted)
    assert np.abs(found.astype(int) - wanted).max() <= 1


@given(FOURS, FOURS, st.integers(1, 4), st.sampled_from([-500, 500]))
def test_a_mosaic_keeps_to_its_picture(width, height, rows, far):
    """However far above or below a picture one looks, the other picture is never seen there."""
    frames = np.full((height * 3 // 2, width), 10, np.uint8), np.full((height * 3 // 2, width), 90)
    ends = frames[0], frames[1].astype(np.uint8)
    shift = np.full((rows, 3, 2), far, np.float32)
    for weight, end in enumerate(ends):
        out = np.empty_like(end)
        Mosaic(*ends, rows).draw((shift, shift), np.full((1, 1), weight, np.float32), out)
        assert np.array_equal(out, end)


def test_sampling_beyond_the_edge():
    """Beyond a picture stands its edge, or the value that was asked for."""
    picture = np.array([[3.0, 7.0]], np.float32)
    where = np.array([[[-9, 0], [0.5, 0], [9, 0]]], np.float32)
    assert sample(picture, where).tolist() == [[3, 5, 7]]
    assert sample(picture, where, beyond=0.5).tolist() == [[0.5, 5, 0.5]]
