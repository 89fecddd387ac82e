from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.errors import InputError, MediaError, StorageFull
from understudy.media import i420
from understudy.media.clip import ClipJob, count_frames, render_clip
from understudy.media.flow import Transition
from understudy.media.i420 import Pixels


@pytest.fixture
def job(tmp_path, scene, ffmpeg):
    for seed, name in ((1, "first"), (2, "second")):
        cv2.imwrite(str(tmp_path / f"{name}.png"), scene(seed)[..., ::-1])
    return ClipJob(
        first=tmp_path / "first.png",
        second=tmp_path / "second.png",
        target=tmp_path / "clip.mp4",
        width=64,
        height=48,
        fps=30,
        hold=3,
        transition=6,
        ending="next",
        style="auto",
        ffmpeg=ffmpeg,
    )


def silent(_frames: int) -> None:
    """Hears progress and keeps it."""


def apart(frame: Pixels, photo: Pixels) -> float:
    """Mean difference in codes of a decoded frame from a photo."""
    return float(np.abs(frame.astype(int) - i420.from_rgb(photo)).mean())


def test_a_clip_stops_before_the_next_photo(job, scene, decode):
    """A clip holds its first photo and moves on; the second photo is left to the next clip."""
    facts = render_clip(replace(job, transition=3), silent)
    frames = decode(job.target)
    assert facts.frames == len(frames) == 6
    assert facts.style == "melt"
    assert len(facts.config) == 64
    for frame in frames[:4]:
        assert apart(frame, scene(1)) < 8
    ways = [apart(frame, scene(2)) for frame in frames[3:]]
    assert ways == sorted(ways, reverse=True)
    assert ways[0] > 20
    assert ways[-1] > 10


@pytest.mark.parametrize(("hold", "frames"), [(0, 3), (3, 9)])
def test_the_last_clip_ends_on_its_photo(job, scene, decode, hold, frames):
    """The end of a film shows the last photo, held as long as the others."""
    render_clip(replace(job, ending="photo", hold=hold, transition=3), silent)
    shown = decode(job.target)
    assert len(shown) == frames
    for frame in shown[-max(1, hold) :]:
        assert apart(frame, scene(2)) < 8
    assert apart(shown[0], scene(1)) < 8


@given(st.integers(2, 40), st.integers(0, 50), st.integers(1, 200), st.booleans())
def test_a_film_has_the_frames_that_were_asked_for(photos, hold, transition, loop):
    """N photos and P pairs make P transitions and N holds, whatever the numbers."""
    pairs = photos if loop else photos - 1
    nowhere = Path("nowhere")
    pair = ClipJob(
        first=nowhere,
        second=nowhere,
        target=nowhere,
        width=64,
        height=48,
        fps=30,
        hold=hold,
        transition=transition,
        ending="next",
        style="auto",
        ffmpeg=nowhere,
    )
    jobs = [pair] * (pairs - 1) + [pair if loop else replace(pair, ending="photo")]
    assert sum(map(count_frames, jobs)) == pairs * transition + photos * hold


@pytest.mark.parametrize("ending", ["next", "photo"])
@pytest.mark.parametrize("hold", [0, 2])
def test_one_frame_of_transition(job, ending, hold):
    """The shortest transition works with every hold and ending."""
    short = replace(job, transition=1, hold=hold, ending=ending)
    assert render_clip(short, silent).frames == count_frames(short) >= 1


def test_held_frames_are_drawn_once(job, monkeypatch):
    """Holding a photo for long costs no drawing."""
    drawn: list[float] = []
    draw = Transition.frame

    def frame(way: Transition, t: float, out: Pixels) -> None:
        drawn.append(t)
        draw(way, t, out)

    monkeypatch.setattr(Transition, "frame", frame)
    render_clip(replace(job, hold=100, transition=2, ending="photo"), silent)
    assert drawn == [0.0, 0.5, 1.0]


def test_replays_give_the_same_bytes(job, tmp_path):
    """The same job run again makes the same file."""
    again = replace(job, target=tmp_path / "again.mp4")
    assert render_clip(job, silent) == render_clip(again, silent)
    assert job.target.read_bytes() == again.target.read_bytes()


@pytest.mark.parametrize("style", ["flow", "melt", "dissolve"])
def test_the_style_can_be_chosen(job, style):
    """A chosen style is used and reported."""
    assert render_clip(replace(job, style=style), silent).style == style


def test_progress_is_seldom_and_ends_with_all(job, monkeypatch):
    """Progress counts up, about ten times a second, and its last word is the whole clip."""
    ticks = iter(range(1_000))
    monkeypatch.setattr("understudy.media.clip.time.monotonic", lambda: next(ticks) * 0.04)
    heard: list[int] = []
    render_clip(job, heard.append)
    assert heard == [3, 6, 9, 9]


@pytest.mark.parametrize("change", [{"hold": -1}, {"transition": 0}, {"fps": 0}, {"width": 62}])
def test_impossible_jobs_are_refused(job, change):
    """Numbers that make no clip are the caller's fault, and nothing is written."""
    with pytest.raises(InputError):
        render_clip(replace(job, **change), silent)
    assert not job.target.exists()


def test_photos_that_do_not_fit(job):
    """A photo of another size, and a file that is none, are named."""
    with pytest.raises(InputError, match=r"first\.png has 64x48 pixels, not 128x48"):
        render_clip(replace(job, width=128), silent)
    for rubbish in (b"", b"no picture"):
        job.second.write_bytes(rubbish)
        with pytest.raises(InputError, match=r"second\.png is not a readable picture"):
            render_clip(job, silent)
    assert not job.target.exists()


def test_a_failure_while_encoding_leaves_nothing(job, tool, full_disk):
    """A broken encoder or a full disk ends in its typed error without a file."""
    with pytest.raises(MediaError):
        render_clip(replace(job, ffmpeg=tool(f"cat > '{job.target}'")), silent)
    assert not job.target.exists()
    with pytest.raises(MediaError, match="ended with 3"):
        render_clip(replace(job, ffmpeg=tool("exit 3")), silent)
    with pytest.raises(StorageFull):
        render_clip(replace(job, target=full_disk), silent)
    assert not job.target.exists()
    assert not full_disk.is_symlink()
