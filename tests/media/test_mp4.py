from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from understudy.errors import InputError, MediaError
from understudy.media import mp4
from understudy.media.mp4 import Expected, check_clip, read_track

MANY = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def box(kind: bytes, *payload: bytes) -> bytes:
    data = b"".join(payload)
    return struct.pack(">I4s", 8 + len(data), kind) + data


def table(kind: bytes, count: int, *numbers: int) -> bytes:
    return box(kind, struct.pack(f">II{len(numbers)}I", 0, count, *numbers))


def movie(
    *,
    stts: tuple[int, ...] = (1, 9, 512),
    handler: bytes = b"vide",
    timescale: int = 15_360,
    extra: bytes = b"",
) -> bytes:
    """The smallest index that our reader understands; 9 frames of 64 x 48."""
    entry = box(b"avc1", bytes(24), struct.pack(">HH", 64, 48), bytes(50), box(b"avcC", b"config"))
    stsd = box(b"stsd", struct.pack(">II", 0, 1), entry)
    sizes = box(b"stsz", struct.pack(">III", 0, 100, 9))
    stbl = box(b"stbl", stsd, table(b"stts", *stts), sizes, extra)
    mdhd = box(b"mdhd", struct.pack(">IIIIII", 0, 0, 0, timescale, 9 * 512, 0))
    hdlr = box(b"hdlr", bytes(8), handler, bytes(12))
    return box(b"moov", box(b"trak", box(b"mdia", mdhd, hdlr, box(b"minf", stbl))))


@pytest.fixture
def read(tmp_path):
    def from_bytes(data):
        path = tmp_path / "made.mp4"
        path.write_bytes(data)
        return read_track(path)

    return from_bytes


@pytest.fixture(scope="module")
def real(tmp_path_factory, ffmpeg):
    """The bytes of a real clip."""
    from understudy.media import i420
    from understudy.media.encode import Encoder

    target = tmp_path_factory.mktemp("real") / "clip.mp4"
    with Encoder(target, ffmpeg=ffmpeg, width=64, height=48, fps=30) as encoder:
        for _ in range(3):
            frame = i420.empty(64, 48)
            frame.fill(99)
            encoder.write(frame)
    return target.read_bytes()


def test_a_small_index(read):
    """All that a joiner needs is read, and equal runs of intervals count as one."""
    track = read(movie(stts=(3, 2, 512, 3, 512, 4, 512), extra=table(b"stss", 2, 1, 5)))
    assert track.deltas == ((9, 512),)
    assert (track.width, track.height, track.samples, track.timescale) == (64, 48, 9, 15_360)
    assert track.sync == (1, 5)
    assert track.duration == pytest.approx(0.3)
    assert len(track.config) == 64


def test_other_codecs_have_no_configuration(read):
    """A track that is not H.264 still has a size and a duration."""
    data = movie().replace(b"avcC", b"hvcC")
    assert (read(data).config, read(data).sync) == ("", None)


def test_long_forms(read):
    """64-bit box sizes, a last box without a size and a 64-bit clock are understood."""
    short = movie()
    long = struct.pack(">I4sQ", 1, b"moov", len(short) + 8) + short[8:]
    open_ended = struct.pack(">I4s", 0, b"moov") + short[8:]
    old = box(b"mdhd", struct.pack(">IIIIII", 0, 0, 0, 15_360, 9 * 512, 0))
    new = box(b"mdhd", struct.pack(">IQQIQI", 1 << 24, 0, 0, 15_360, 9 * 512, 0))
    assert read(long) == read(open_ended) == read(short)
    assert mp4._clock(memoryview(new)[8:]) == mp4._clock(memoryview(old)[8:])


def test_order_of_index_and_pictures(read):
    """Fast start means that the index comes first."""
    assert read(movie() + box(b"mdat", b"x")).faststart
    assert not read(box(b"mdat", b"x") + movie()).faststart


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        b"not a film at all, just words",
        box(b"mdat", bytes(99)),
        struct.pack(">I4s", 7, b"moov") + bytes(99),
        struct.pack(">I4sQ", 1, b"moov", 1 << 63) + bytes(99),
        struct.pack(">I4s", 1, b"moov"),
        box(b"moov"),
        box(b"moov", bytes(64)),
        box(b"free") * 20_000 + movie(),
        box(b"moov", box(b"free") * 20_000),
        movie(handler=b"soun"),
        movie(timescale=0),
        movie(stts=(4_000_000_000, 1, 512)),
        movie(extra=table(b"stss", 4_000_000_000, 1)),
        movie().replace(b"stsz", b"xxxx"),
        movie()[:-1],
    ],
)
def test_hostile_files(read, data):
    """Files that lie about sizes and counts, or are something else, are refused by name."""
    with pytest.raises(InputError, match=r"made\.mp4"):
        read(data)


def test_an_index_too_large_to_hold(tmp_path):
    """A sparse file that claims a giant index is refused before anything is read."""
    path = tmp_path / "giant.mp4"
    with path.open("wb") as file:
        file.write(struct.pack(">I4sQ", 1, b"moov", 1 << 30))
        file.truncate(1 << 30)
    with pytest.raises(InputError, match=r"giant\.mp4.*limit is 256 MiB"):
        read_track(path)


@MANY
@given(st.data())
def test_cut_anywhere(read, real, data):
    """A file cut short is refused or, past its index, still read; nothing else happens."""
    cut = data.draw(st.integers(0, len(real) - 1))
    with pytest.raises(InputError):
        read(real[:cut])


@MANY
@given(st.data())
def test_damaged_anywhere(read, real, data):
    """A damaged file gives a track or an InputError."""
    start = real.index(b"moov") - 4
    damaged = bytearray(real)
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(start, len(real) - 1))] = data.draw(st.integers(0, 255))
    try:
        track = read(bytes(damaged))
    except InputError:
        return
    assert track.samples >= 0


def test_the_contract_is_checked(make_clip):
    """A good clip passes; each fact that differs from what was asked for is named."""
    clip = make_clip()
    good = Expected(64, 48, 30, 5)
    assert check_clip(clip, good) == read_track(clip)
    for field, value in {"width": 60, "height": 44, "fps": 25, "frames": 6}.items():
        name = {"fps": "timescale"}.get(field, field)
        with pytest.raises(MediaError, match=rf"clip\.mp4 has {name} "):
            check_clip(clip, replace(good, **{field: value}))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (movie(stts=(2, 8, 512, 1, 700)), "uneven"),
        (movie(extra=table(b"stss", 1, 2)), "key frame"),
        (movie(extra=table(b"stss", 0)), "key frame"),
        (movie().replace(b"avcC", b"hvcC"), "not H.264"),
        (b"rubbish", "broken"),
    ],
)
def test_clips_that_break_the_contract(tmp_path, data, reason):
    """Clips that would not join cleanly are refused, with the reason."""
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(data)
    with pytest.raises(MediaError, match=rf"clip\.mp4.*{reason}"):
        check_clip(clip, Expected(64, 48, 30, 9))
