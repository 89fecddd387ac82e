from __future__ import annotations

import subprocess

import numpy as np
import pytest

from understudy.errors import InputError, MediaError, StorageFull
from understudy.media.join import COMMENT, join
from understudy.media.mp4 import TICKS, read_track

NAMES = [
    "it's.mp4",
    'two "words".mp4',
    "back\\slash.mp4",
    "#%d {x}.mp4",
    "-y.mp4",
    "Übung 写真.mp4",
]


def test_clips_follow_each_other(make_clip, decode, tmp_path, ffmpeg):
    """A film is its clips' frames in order, undamaged, at one interval, ready to stream."""
    clips = [make_clip(f"{seed}.mp4", frames=n, seed=seed) for seed, n in ((1, 4), (2, 61), (3, 2))]
    film = join(clips, tmp_path / "film.mp4", ffmpeg)
    assert film == read_track(tmp_path / "film.mp4")
    assert (film.samples, film.deltas, film.faststart) == (67, ((67, TICKS),), True)
    assert film.sync == (1, 5, 65, 66)
    assert film.config == read_track(clips[0]).config
    shown = np.concatenate([decode(clip) for clip in clips])
    assert np.array_equal(decode(tmp_path / "film.mp4"), shown)


def test_one_clip(make_clip, tmp_path, ffmpeg):
    """A film of one clip is a film."""
    assert join([make_clip()], tmp_path / "film.mp4", ffmpeg).samples == 5


@pytest.mark.parametrize("frames", [1, 2, 4])
def test_hundreds_of_clips(make_clip, tmp_path, ffmpeg, frames):
    """A long film of short clips is shown frame by frame at one interval: nothing adds up."""
    film = tmp_path / "film.mp4"
    join([make_clip(frames=frames)] * 600, film, ffmpeg)
    command = [ffmpeg, "-loglevel", "error", "-i", film, "-enc_time_base", "1:30", "-f", "framecrc"]
    shown = subprocess.run([*command, "-"], check=True, capture_output=True, text=True).stdout
    times = [int(line.split(",")[2]) for line in shown.splitlines() if line[0] != "#"]
    assert times == list(range(600 * frames))
    command = [ffmpeg, "-loglevel", "error", "-i", film, "-c", "copy", "-f", "framecrc", "-"]
    stored = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    ticks = sorted(int(line.split(",")[2]) for line in stored.splitlines() if line[0] != "#")
    assert ticks == [TICKS * i for i in range(600 * frames)]


def test_awkward_names(make_clip, tmp_path, ffmpeg, monkeypatch):
    """Quotes, backslashes, patterns, options and other scripts in names are only names."""
    clips = [make_clip(name, frames=2, seed=i) for i, name in enumerate(NAMES)]
    monkeypatch.chdir(tmp_path)
    film = join([clip.relative_to(tmp_path) for clip in clips], tmp_path / "a 'film'.mp4", ffmpeg)
    assert film.samples == 2 * len(NAMES)


def test_a_line_break_in_a_name(make_clip, tmp_path, ffmpeg):
    """What the list of clips cannot say is refused and not smuggled in."""
    clip = make_clip().rename(tmp_path / "a\nfile b.mp4")
    with pytest.raises(InputError, match="line break"):
        join([clip], tmp_path / "film.mp4", ffmpeg)


def test_the_film_says_what_it_is(make_clip, tmp_path, ffmpeg):
    """The film is marked as generated, and nothing else is written into it."""
    join([make_clip()], tmp_path / "film.mp4", ffmpeg)
    data = (tmp_path / "film.mp4").read_bytes()
    assert COMMENT.encode() in data
    for word in (b"Lavf", b"Lavc", b"x264"):
        assert word not in data
    assert str(tmp_path).encode() not in data


@pytest.mark.parametrize("other", [{"fps": 25}, {"width": 68}, {"frames": 1}])
def test_clips_of_another_contract(make_clip, tmp_path, ffmpeg, other):
    """A clip that would play wrongly after the first is refused by name."""
    clips = [make_clip("one.mp4"), make_clip("two.mp4", **other)]
    with pytest.raises(MediaError, match=r"two\.mp4 was not made like the first, one\.mp4"):
        join(clips, tmp_path / "film.mp4", ffmpeg)
    assert not (tmp_path / "film.mp4").exists()


def test_uneven_clips(make_clip, tmp_path, ffmpeg):
    """A clip whose frames do not all last the same is refused."""
    clip = make_clip()
    data = clip.read_bytes()
    at = data.index(b"stts") + 16
    assert data[at : at + 4] == TICKS.to_bytes(4, "big")
    clip.write_bytes(data[:at] + (TICKS + 1).to_bytes(4, "big") + data[at + 4 :])
    with pytest.raises(MediaError, match=r"clip\.mp4 has uneven"):
        join([clip], tmp_path / "film.mp4", ffmpeg)


def test_no_clips_and_no_film(tmp_path, ffmpeg):
    """Nothing to join, and something that is no film, are the caller's fault."""
    with pytest.raises(InputError, match="at least one"):
        join([], tmp_path / "film.mp4", ffmpeg)
    (tmp_path / "clip.mp4").write_bytes(b"words")
    with pytest.raises(InputError, match=r"clip\.mp4"):
        join([tmp_path / "clip.mp4"], tmp_path / "film.mp4", ffmpeg)


def test_a_full_disk(make_clip, full_disk, ffmpeg):
    """A disk that fills up while joining is StorageFull, and nothing is left."""
    with pytest.raises(StorageFull, match=r"joining full\.mp4"):
        join([make_clip()], full_disk, ffmpeg)
    assert not full_disk.is_symlink()


def test_a_film_that_lost_frames(make_clip, tmp_path, tool):
    """The result is counted: a join that drops a clip is an error and leaves no file."""
    clip, film = make_clip(), tmp_path / "film.mp4"
    liar = tool(f"cat > /dev/null; cp '{clip}' '{film}'")
    with pytest.raises(MediaError, match=r"film\.mp4: 5 frames, not 10"):
        join([clip, clip], film, liar)
    assert not film.exists()
