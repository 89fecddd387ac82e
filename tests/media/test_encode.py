from __future__ import annotations

import subprocess

import cv2
import numpy as np
import pytest

from understudy.errors import InputError, MediaError, StorageFull
from understudy.media import i420
from understudy.media.encode import Encoder, arguments, level
from understudy.media.mp4 import TICKS, Expected, check_clip

GREY = np.full((72, 64), 128, np.uint8)


@pytest.fixture
def encoder(tmp_path, ffmpeg):
    return Encoder(tmp_path / "clip.mp4", ffmpeg=ffmpeg, width=64, height=48, fps=30)


def test_contents_do_not_change_the_contract(make_clip):
    """Clips of other pictures and lengths carry the same decoder configuration and clock."""
    clips = [make_clip(f"{n}.mp4", frames=n, seed=n) for n in (1, 5, 70)]
    tracks = [
        check_clip(clip, Expected(64, 48, 30, n)) for clip, n in zip(clips, (1, 5, 70), strict=True)
    ]
    assert len({(t.config, t.timescale, t.deltas[0][1]) for t in tracks}) == 1
    assert tracks[2].sync == (1, 61)


@pytest.mark.parametrize("fps", [1, 12, 24, 25, 30, 60])
def test_every_rate_has_the_same_interval(make_clip, fps):
    """A frame lasts the same number of ticks at any rate, and the file its frames' time."""
    track = check_clip(make_clip(fps=fps), Expected(64, 48, fps, 5))
    assert track.deltas == ((5, TICKS),)
    assert track.duration == pytest.approx(5 / fps)


def test_nothing_leaks(make_clip):
    """The file names neither the encoder nor its version, and has no time of making."""
    data = make_clip().read_bytes()
    for word in (b"x264", b"Lavf", b"Lavc"):
        assert word not in data


def test_colours_come_back(tmp_path, ffmpeg, encoder):
    """A player that believes the file's colour tags sees the photo's colours."""
    colours = np.array([[200, 30, 40], [30, 160, 60], [40, 60, 200], [230, 230, 230]], np.uint8)
    picture = np.repeat(np.repeat(colours[None], 48, 0), 16, 1)
    with encoder:
        for _ in range(3):
            encoder.write(i420.from_rgb(picture))
    shown = tmp_path / "shown.png"
    command = [ffmpeg, "-loglevel", "error", "-i", tmp_path / "clip.mp4", "-frames:v", "1", shown]
    subprocess.run(command, check=True)
    seen = np.asarray(cv2.imread(str(shown), cv2.IMREAD_COLOR_RGB), int)[24, 8::16]
    assert np.abs(seen - colours).max() <= 6


def test_equal_frames_give_equal_bytes(make_clip):
    """Encoding is deterministic."""
    assert make_clip("a.mp4").read_bytes() == make_clip("b.mp4").read_bytes()


def test_threads_do_not_change_the_bytes(tmp_path, ffmpeg, scene):
    """A machine with more cores makes the same file."""
    made = []
    for threads in (1, 3):
        target = tmp_path / f"{threads}.mp4"
        with Encoder(
            target, ffmpeg=ffmpeg, width=64, height=48, fps=30, threads=threads
        ) as encoder:
            for seed in range(8):
                encoder.write(i420.from_rgb(scene(seed)))
        made.append(target.read_bytes())
    assert made[0] == made[1]


def test_an_exception_removes_the_partial_file(tmp_path, encoder):
    """Whatever goes wrong inside the block leaves no child and no file, and passes through."""

    def interrupted() -> None:
        with encoder:
            encoder.write(GREY)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert encoder._child._process.returncode is not None
    assert not (tmp_path / "clip.mp4").exists()


def test_a_full_disk(full_disk, ffmpeg):
    """A disk that fills up while encoding is StorageFull, and nothing is left."""
    with (
        pytest.raises(StorageFull, match=r"encoding full\.mp4"),
        Encoder(full_disk, ffmpeg=ffmpeg, width=64, height=48, fps=30) as encoder,
    ):
        encoder.write(GREY)
    assert not full_disk.is_symlink()


def test_a_frame_of_another_shape_is_refused(tmp_path, encoder):
    """A wrong buffer never reaches the encoder, which would cut it up into wrong frames."""
    with pytest.raises(MediaError, match=r"\(48, 64\), not \(72, 64\)"), encoder:
        encoder.write(GREY[:48])
    assert not (tmp_path / "clip.mp4").exists()


@pytest.mark.parametrize(
    ("film", "wanted"),
    [
        ((1920, 1080, 30), "4.0"),
        ((1080, 1920, 30), "4.0"),
        ((1280, 720, 60), "4.0"),
        ((1920, 1080, 60), "5.1"),
        ((2560, 1440, 30), "5.1"),
        ((3840, 2160, 30), "5.1"),
        ((4100, 64, 30), "5.1"),
    ],
)
def test_levels(film, wanted):
    """The lowest of the two levels that holds the film's size and rate is declared."""
    assert level(*film) == wanted


@pytest.mark.parametrize("film", [(3840, 2160, 60), (8000, 4000, 1), (20_000, 16, 1)])
def test_beyond_every_level(film):
    """A film that no common player decodes is refused, with the limit."""
    with pytest.raises(InputError, match="3840x2160 and 30"):
        level(*film)


@pytest.mark.parametrize("film", [(62, 48, 30), (64, 48, 0), (64, 48, -5), (0, 0, 30)])
def test_impossible_films_are_refused(film):
    """A size that is no multiple of 4, or no frames a second, is the caller's fault."""
    with pytest.raises(InputError):
        arguments(*film, threads=1)
