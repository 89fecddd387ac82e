from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.errors import InputError
from understudy.media import i420
from understudy.media.flow import Transition, ease
from understudy.media.i420 import Pixels

WIDTH, HEIGHT = 640, 360


def frame_at(transition: Transition, t: float, width: int = WIDTH, height: int = HEIGHT) -> Pixels:
    out = i420.empty(width, height)
    transition.frame(t, out)
    return out


def camera(photo: Pixels, s: float) -> Pixels:
    """One photo under a camera that turns, zooms and shifts with s."""
    view = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), 6 * s, 1.2 * 1.12**s)
    view[0, 2] += 32 * s
    border = cv2.BORDER_REFLECT_101
    return np.asarray(cv2.warpAffine(photo, view, (WIDTH, HEIGHT), borderMode=border), np.uint8)


def likeness(a: Pixels, b: Pixels) -> float:
    """Structural similarity of two luma planes."""
    x, y = a.astype(float), b.astype(float)

    def mean(z: Any) -> Any:
        return cv2.GaussianBlur(z, (11, 11), 1.5)

    mx, my = mean(x), mean(y)
    vx, vy, both = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    top = (2 * mx * my + 6.5) * (2 * both + 58.5)
    return float(np.mean(top / ((mx**2 + my**2 + 6.5) * (vx + vy + 58.5))))


def coloured(scene: Callable[..., Pixels], seed: int, blue: int, red: int) -> Pixels:
    """A detailed picture all in one hue, so that every pixel tells where it came from."""
    luma = scene(seed, WIDTH, HEIGHT)[..., :1] // 3 + 60
    return np.asarray(np.clip(luma + np.array([red, 0, blue]), 0, 255), np.uint8)


def test_a_known_middle_frame(scene):
    """Between two views of one scene the morph shows the view half way, border included."""
    photo = cv2.GaussianBlur(scene(1, WIDTH, HEIGHT), (0, 0), 1.0)
    first, truth, second = (camera(photo, s) for s in (0.0, 0.5, 1.0))
    transition = Transition(first, second)
    assert transition.used == "flow"
    found, wanted = frame_at(transition, 0.5)[:HEIGHT], i420.from_rgb(truth)[:HEIGHT]
    assert cv2.PSNR(found, wanted) >= 24
    assert likeness(found, wanted) >= 0.82
    fade = frame_at(Transition(first, second, "dissolve"), 0.5)[:HEIGHT]
    assert cv2.PSNR(found, wanted) > cv2.PSNR(fade, wanted) + 4


def test_what_only_one_photo_shows_is_taken_from_it(scene):
    """Beyond one photo's edge the other shows the scene: nothing is smeared or seen double."""
    wide = cv2.GaussianBlur(scene(1, WIDTH + 120, HEIGHT), (0, 0), 1.0)
    first, truth, second = (wide[:, x : x + WIDTH].copy() for x in (0, 60, 120))
    middle = frame_at(Transition(first, second, "flow"), 0.5)[:HEIGHT]
    wanted = i420.from_rgb(truth)[:HEIGHT]
    for edge in (np.s_[:, :40], np.s_[:, -40:]):
        assert cv2.PSNR(middle[edge].copy(), wanted[edge].copy()) > 30


def test_unrelated_photos_melt_without_a_ghost(scene):
    """Half way nearly every place shows one photo or the other, with their full contrast."""
    ends = coloured(scene, 2, 120, 0), coloured(scene, 3, 0, 120)
    transition = Transition(*ends)
    assert transition.used == "melt"
    middle = frame_at(transition, 0.5)
    first, second = (i420.from_rgb(end) for end in ends)
    hues = [np.median(i420.planes(f)[2].astype(float)) for f in (first, middle, second)]
    place = (i420.planes(middle)[2] - hues[0]) / (hues[2] - hues[0])
    assert np.mean((place > 0.2) & (place < 0.8)) < 0.15
    around = (first[:HEIGHT].std() + second[:HEIGHT].std()) / 2
    assert middle[:HEIGHT].std() >= 0.9 * around


def test_a_melt_keeps_an_even_pace(scene):
    """The part of the picture that has changed grows steadily with time."""
    transition = Transition(coloured(scene, 4, 120, 0), coloured(scene, 5, 0, 120), "melt")
    ends = [float(i420.planes(frame_at(transition, t))[2].mean()) for t in (0.0, 1.0)]
    times = np.linspace(0, 1, 11)
    shown = np.array([i420.planes(frame_at(transition, t))[2].mean() for t in times])
    assert np.allclose((shown - ends[0]) / (ends[1] - ends[0]), times, atol=0.08)


@pytest.mark.parametrize("style", ["flow", "melt", "dissolve"])
def test_ends_are_the_photos(scene, style):
    """A transition begins with the first photo and ends on the second, to the bit."""
    ends = scene(6), scene(7)
    transition = Transition(*ends, style)
    assert transition.used == style
    for t, end in zip((0.0, 1.0), ends, strict=True):
        assert np.array_equal(frame_at(transition, t, 64, 48), i420.from_rgb(end))


@pytest.mark.parametrize("style", ["flow", "melt", "dissolve"])
def test_no_jumps(scene, style):
    """Neighbouring frames differ by a small part of the whole way, from first to last."""
    transition = Transition(scene(8, 128, 96), scene(9, 128, 96), style)
    frames = [frame_at(transition, i / 60, 128, 96).astype(float) for i in range(61)]
    whole = np.abs(frames[-1] - frames[0]).mean()
    steps = [np.abs(b - a).mean() for a, b in pairwise(frames)]
    assert max(steps) < 0.12 * whole


@pytest.mark.parametrize("style", ["auto", "flow", "melt"])
def test_replays_give_the_same_bytes(scene, style):
    """Two transitions between equal photos make equal frames, in whatever order asked."""
    first, second = (Transition(scene(1), scene(2), style) for _ in range(2))
    assert first.used == second.used
    wanted = {t: frame_at(first, t, 64, 48).tobytes() for t in (0.1, 0.5, 0.9)}
    for t in (0.9, 0.1, 0.5):
        assert frame_at(second, t, 64, 48).tobytes() == wanted[t]


def test_equal_photos_stand_still(scene):
    """Between two equal photos every frame is that photo, whatever the style."""
    photo = scene(3)
    transition = Transition(photo, photo.copy(), "melt")
    for t in (0.0, 0.3, 0.7, 1.0):
        assert np.array_equal(frame_at(transition, t, 64, 48), i420.from_rgb(photo))


@pytest.mark.parametrize("style", ["auto", "flow", "melt", "dissolve"])
@pytest.mark.parametrize("size", [(4, 4), (4, 256), (256, 4), (24, 24), (48, 32)])
def test_small_and_flat_photos(scene, style, size):
    """Tiny and empty photos change into each other like any others."""
    flat = np.full((size[1], size[0], 3), 200, np.uint8)
    for first, second in (
        (flat, flat // 2),
        (flat, scene(1, *size)),
        (scene(2, *size), scene(3, *size)),
    ):
        middle = frame_at(Transition(first, second, style), 0.5, *size)
        lowest = min(i420.from_rgb(end).min() for end in (first, second))
        assert middle.min() >= lowest - 2


def test_photos_must_be_of_one_size(scene):
    """Two sizes cannot become each other; the caller is told both."""
    with pytest.raises(InputError, match=r"48, 64.*48, 128"):
        Transition(scene(1, 64, 48), scene(1, 128, 48))


@given(st.floats(0, 1), st.floats(0, 1))
def test_ease(a, b):
    """Eased time runs from 0 to 1, never back, the same from either end, slow at both."""
    low, high = sorted((a, b))
    assert 0 <= ease(low) <= ease(high) <= 1
    assert ease(1 - a) == pytest.approx(1 - ease(a))
    assert ease(0.01) < 0.001
