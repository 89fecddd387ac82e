from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, features

from understudy.errors import Error, InputError, MediaError, StorageError, StorageFull
from understudy.media import photo
from understudy.media.photo import Canvas, normalise

SMALL = Canvas(64, 48)


def picture() -> Image.Image:
    """A small picture with edges and colours."""
    image = Image.new("RGB", (120, 80), "#ff8800")
    image.paste("#0044cc", (30, 20, 90, 60))
    return image


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def refusal(folder: Path, data: bytes, name: str = "holiday.jpg") -> str:
    """The message that a file of these bytes is refused with; nothing is left behind."""
    source, target = folder / "stored", folder / "made.png"
    source.write_bytes(data)
    with pytest.raises(InputError) as refused:
        normalise(source, target, SMALL, name=name)
    assert name in refused.value.message
    assert not target.exists()
    return refused.value.message


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        (b"Dear diary", "text/plain"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"),
        (b"%PDF-1.7", "application/pdf"),
        (b"PK\x03\x04", "application/zip"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "export it as JPEG"),
        (b"\x89PNG\r\n\x1a\n", "cut off or damaged"),
        (b"\xff\xd8\xff", "cut off or damaged"),
        (encoded(picture(), "GIF"), "still photos only"),
    ],
)
def test_not_a_photo(tmp_path: Path, data: bytes, says: str) -> None:
    """What is no photo is refused by its name and by what it is."""
    assert says in refusal(tmp_path, data)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "AVIF"])
def test_animated(tmp_path: Path, kind: str) -> None:
    """Moving pictures are refused, whichever format hides them."""
    if kind == "AVIF" and not features.check("avif"):
        return
    frames = [Image.new("RGB", (64, 48), colour) for colour in ("red", "green", "blue")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=40)
    assert "still photos only" in refusal(tmp_path, data)


def test_pages_and_depth_maps_are_not_motion(tmp_path: Path) -> None:
    """The first page of a TIFF and the first picture of a phone's JPEG are the photo."""
    pages = [Image.new("RGB", (64, 48), "red"), Image.new("RGB", (64, 48), "blue")]
    for kind in ("TIFF", "MPO"):
        source = tmp_path / "pages"
        source.write_bytes(encoded(pages[0], kind, save_all=True, append_images=pages[1:]))
        normalise(source, tmp_path / "made.png", SMALL, name="pages")
        with Image.open(tmp_path / "made.png") as first:
            lowest = [low for low, _ in first.getextrema()]  # type: ignore[misc]
        assert lowest[0] > 240


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "AVIF"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated(tmp_path: Path, kind: str, share: float) -> None:
    """A file that was cut off is refused, not shown half grey."""
    if kind == "AVIF" and not features.check("avif"):
        return
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 255, (90, 120, 3), np.uint8))
    data = encoded(noise, kind)
    assert "cut off or damaged" in refusal(tmp_path, data[: int(share * len(data))])


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims this size."""
    image = encoded(Image.new("L", (1, 1)), "PNG")
    header = b"IHDR" + struct.pack(">LL", width, height) + image[24:29]
    return image[:12] + header + struct.pack(">L", zlib.crc32(header)) + image[33:]


def test_too_many_pixels(tmp_path: Path) -> None:
    """A picture of 20,000 x 20,000 is refused by its header, with its size and the limit."""
    message = refusal(tmp_path, png_header(20_000, 20_000))
    assert "20,000 x 20,000" in message
    assert "64,000,000" in message


def webp_header(width: int, height: int) -> bytes:
    """A WebP that claims this size."""
    simple = encoded(Image.new("RGB", (16, 16)), "WEBP")
    at = simple.index(b"VP8 ") + 14
    return simple[:at] + struct.pack("<HH", width, height) + simple[at + 4 :]


def test_formats_that_need_more_memory_have_a_lower_limit(tmp_path: Path) -> None:
    """A WebP of 36 megapixels, which would decode through four copies, is refused."""
    message = refusal(tmp_path, webp_header(6000, 6000))
    assert "the limit is 25,000,000 pixels for WEBP" in message


def test_too_many_pixels_while_opening(tmp_path: Path) -> None:
    """A decoder that refuses by its own limit while opening says the same thing."""
    assert "64,000,000" in refusal(tmp_path, webp_header(16_383, 16_383))


def test_too_many_bytes(tmp_path: Path) -> None:
    """A file over the limit is refused unread; its length costs nothing to know."""
    source = tmp_path / "stored"
    with source.open("wb") as file:
        file.write(b"\xff\xd8\xff")
        file.truncate(photo.BYTES + 1)
    with pytest.raises(InputError, match=f"{photo.BYTES:,}"):
        normalise(source, tmp_path / "made.png", SMALL, name="huge.jpg")


def test_odd_pixels_are_named(tmp_path: Path) -> None:
    """Pixels that have no one meaning (floats) are refused with a way out."""
    data = encoded(Image.new("F", (64, 48)), "TIFF")
    assert "8 bit RGB" in refusal(tmp_path, data)


def test_undecodable_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Pillow that was built without a format says so."""
    monkeypatch.setattr(photo, "open_image", lambda *_: None)
    assert "cannot decode" in refusal(tmp_path, encoded(picture(), "JPEG"))


def test_no_memory_is_not_the_photos_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Running out of memory may pass: it is a media error, which is tried again."""

    def full(*_: object) -> None:
        raise MemoryError

    source = tmp_path / "photo.png"
    picture().save(source)
    monkeypatch.setattr(photo, "open_image", full)
    with pytest.raises(MediaError, match=r"photo\.png"):
        normalise(source, tmp_path / "made.png", SMALL, name="photo.png")


def test_missing_source(tmp_path: Path) -> None:
    """A file that cannot be read is a storage error, not the photo's fault."""
    with pytest.raises(StorageError, match=r"reading the photo beach\.jpg"):
        normalise(tmp_path / "gone", tmp_path / "made.png", SMALL, name="beach.jpg")


def test_failing_disk_while_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An input error of the device while decoding is told apart from a damaged picture."""

    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    source = tmp_path / "photo.png"
    picture().save(source)
    monkeypatch.setattr(photo, "open_image", broken)
    with pytest.raises(StorageError, match="Input/output error"):
        normalise(source, tmp_path / "made.png", SMALL, name="photo.png")


def test_disk_full(tmp_path: Path) -> None:
    """No space left is its own error."""
    source, target = tmp_path / "photo.png", tmp_path / "full"
    picture().save(source)
    target.symlink_to("/dev/full")  # every write to it finds no space
    with pytest.raises(StorageFull, match=r"cat\.jpg"):
        normalise(source, target, SMALL, name="cat.jpg")
    assert not target.is_symlink()


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    kind=st.sampled_from(["JPEG", "PNG", "WEBP", "TIFF", "BMP"]),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=8),
    cut=st.floats(0.2, 1),
)
def test_damage_is_refused_or_survived(
    tmp_path: Path, kind: str, changes: list[tuple[float, int]], cut: float
) -> None:
    """Bytes changed anywhere give a picture of the right size or a typed error, never else."""
    exif = Image.Exif()
    exif[0x0112] = 6
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = bytearray(encoded(picture(), kind, exif=exif, icc_profile=icc))
    for place, value in changes:
        data[int(place * (len(data) - 1))] = value
    source, target = tmp_path / "stored", tmp_path / "made.png"
    source.write_bytes(data[: int(cut * len(data))])
    try:
        normalise(source, target, SMALL, name="x")
    except Error:
        assert not target.exists()
    else:
        with Image.open(target) as survived:
            assert survived.size == (64, 48)
        target.unlink()
