from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import wave
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, features

from understudy.media.ffmpeg import find_ffmpeg
from understudy.media.probe import UNKNOWN, Facts, open_image, probe, sniff


@pytest.mark.parametrize(
    ("head", "media_type"),
    [
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"GIF87a", "image/gif"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        (b"II*\0\x08\0\0\0", "image/tiff"),
        (b"MM\0*\0\0\0\x08", "image/tiff"),
        (b"BM" + bytes(12) + b"\x28\0\0\0", "image/bmp"),
        (b"\0\0\0\x20ftypavif", "image/avif"),
        (b"\0\0\0\x20ftypheic", "image/heic"),
        (b"\0\0\0\x20ftypmif1", "image/heic"),
        (b"<?xml version='1.0'?>\n<!-- by me -->\n<svg xmlns='x'>", "image/svg+xml"),
        (b"\0\0\0\x20ftypisom", "video/mp4"),
        (b"\0\0\0\x14ftypqt  ", "video/quicktime"),
        (b"\0\0\0\x08moov", "video/quicktime"),
        (b"\0\0\0\x20ftypM4A ", "audio/mp4"),
        (b"\x1a\x45\xdf\xa3\x9f\x42\x82\x84webm", "video/webm"),
        (b"\x1a\x45\xdf\xa3\x9f\x42\x82\x88matroska", "video/x-matroska"),
        (b"RIFF\0\0\0\0AVI LIST", "video/x-msvideo"),
        (b"RIFF\0\0\0\0WAVEfmt ", "audio/wav"),
        (b"ID3\x04", "audio/mpeg"),
        (b"\xff\xfb\x90\x44", "audio/mpeg"),
        (b"OggS\0\x02", "audio/ogg"),
        (b"fLaC\0", "audio/flac"),
        (b"%PDF-1.7\n", "application/pdf"),
        (b"\n\n%PDF-1.4", "application/pdf"),
        (b"PK\x03\x04\x14\0", "application/zip"),
        (b"PK\x05\x06", "application/zip"),
        (b"\x1f\x8b\x08", "application/gzip"),
        (bytes(257) + b"ustar\x0000", "application/x-tar"),
        (b'{"a": 1}', "application/json"),
        (b"\xef\xbb\xbf [ ]", "application/json"),
        (b"[1, 2", "application/json"),
        (b"{not json}", "text/plain"),
        (b"Hello", "text/plain"),
        ("Пример".encode()[:-1], "text/plain"),
        ("写".encode() * 9 + b"\xe5\x86", "text/plain"),
        (b"", UNKNOWN),
        (b"\0\1\2\3", UNKNOWN),
        (b"\xff", UNKNOWN),
        (b"BM what a day", "text/plain"),
        (b"\xff\xff\xff\xff", UNKNOWN),
        (b"\xff\xfb\xf0\0", UNKNOWN),
        (b"\xff\xfb\x9c\0", UNKNOWN),
        (b"RIFF\0\0\0\0CDDA", UNKNOWN),
        (b"caf\xe9 in Latin-1, and more of it", UNKNOWN),
    ],
)
def test_sniff(head: bytes, media_type: str) -> None:
    """The first bytes decide, and never the name."""
    assert sniff(head) == media_type


@given(st.binary(max_size=600))
def test_sniff_takes_anything(head: bytes) -> None:
    """Any bytes have a media type."""
    assert "/" in sniff(head)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda s: st.lists(s) | st.dictionaries(st.text(), s)
    )
)
def test_json_is_known(value: object) -> None:
    """Every JSON list or object is told from other text."""
    if isinstance(value, list | dict):
        assert sniff(json.dumps(value, indent=2).encode()) == "application/json"


@pytest.mark.parametrize(
    ("kind", "media_type"),
    [
        ("JPEG", "image/jpeg"),
        ("PNG", "image/png"),
        ("WEBP", "image/webp"),
        ("TIFF", "image/tiff"),
        ("BMP", "image/bmp"),
        ("GIF", "image/gif"),
        ("AVIF", "image/avif"),
    ],
)
def test_image(tmp_path: Path, kind: str, media_type: str) -> None:
    """An image's size comes from its header, whatever the file is called."""
    if kind == "AVIF" and not features.check("avif"):
        return
    path = tmp_path / "film.mp4"
    Image.new("RGB", (30, 20)).save(path, kind)
    assert probe(path) == Facts(media_type, 30, 20)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_image_size_is_upright(tmp_path: Path, kind: str) -> None:
    """A photo stored lying on its side is as high as it is shown."""
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "photo"
    Image.new("RGB", (30, 20)).save(path, kind, exif=exif)
    assert probe(path) == Facts(sniff(path.read_bytes()), 20, 30)


@pytest.mark.parametrize(("kind", "value"), [(3, 0), (3, 9), (2, ord("x"))])
def test_a_senseless_orientation_is_none(tmp_path: Path, kind: int, value: int) -> None:
    """An orientation that is no number from 1 to 8, or no number, is taken as upright."""
    entry = struct.pack("<HHLL", 0x0112, kind, 1, value)
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + entry + bytes(4)
    path = tmp_path / "photo"
    Image.new("RGB", (30, 20)).save(path, "JPEG", exif=exif)
    assert probe(path) == Facts("image/jpeg", 30, 20)


def test_a_damaged_mark_is_none(tmp_path: Path) -> None:
    """An EXIF block that cannot be read is ignored; the size still stands in the header."""
    path = tmp_path / "photo"
    Image.new("RGB", (30, 20)).save(path, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert probe(path) == Facts("image/jpeg", 30, 20)


def test_huge_image_is_only_measured(tmp_path: Path) -> None:
    """Nothing is decoded: a picture of 400 megapixels is told by its header, without a warning."""
    data = io.BytesIO()
    Image.new("RGB", (8, 8)).save(data, "BMP")
    head = bytearray(data.getvalue())
    head[18:26] = (20_000).to_bytes(4, "little") * 2
    path = tmp_path / "photo"
    path.write_bytes(head)
    assert probe(path) == Facts("image/bmp", 20_000, 20_000)


def test_movie(tmp_path: Path) -> None:
    """A film's size and seconds come from its index."""
    path = tmp_path / "film"
    source = "testsrc=size=64x48:rate=10:duration=2"
    command = [str(find_ffmpeg()), "-v", "error", "-f", "lavfi", "-i", source]
    subprocess.run([*command, "-c:v", "libx264", "-f", "mp4", str(path)], check=True)
    assert probe(path) == Facts("video/mp4", 64, 48, 2.0)


def test_sound(tmp_path: Path) -> None:
    """A WAV's seconds are its samples by its rate."""
    path = tmp_path / "sound"
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(2)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(4 * 4000))
    assert probe(path) == Facts("audio/wav", duration=0.5)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"just text",
        b"RIFF\xff\xff\xff\xffWAVEfmt ",
        b"\0\0\0\x18ftypisom" + bytes(40),
        b"\x89PNG\r\n\x1a\n" + bytes(40),
        b"\xff\xd8\xff" + bytes(40),
        b"II*\0\xff\xff\xff\xff",
    ],
)
def test_odd_files(tmp_path: Path, data: bytes) -> None:
    """A broken file has a media type and nothing else; nothing is raised."""
    path = tmp_path / "odd"
    path.write_bytes(data)
    assert probe(path) == Facts(sniff(data))


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    kind=st.sampled_from(["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"]),
    at=st.floats(0, 1),
    junk=st.binary(max_size=12),
)
def test_damage_never_raises(tmp_path: Path, kind: str, at: float, junk: bytes) -> None:
    """Whatever stands in a file, probing answers."""
    out = io.BytesIO()
    Image.new("RGB", (30, 20)).save(out, kind)
    data = bytearray(out.getvalue())
    place = int(at * len(data))
    data[place : place + len(junk)] = junk
    path = tmp_path / "odd"
    path.write_bytes(data)
    assert probe(path).duration is None


def test_no_image() -> None:
    """What is no image here is None to `open_image`."""
    assert open_image(io.BytesIO(os.urandom(20)), UNKNOWN) is None
