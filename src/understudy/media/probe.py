"""What a file is, told from its content and never from its name."""

from __future__ import annotations

import re
import struct
import threading
import warnings
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

UNKNOWN: Final = "application/octet-stream"
HEAD: Final = 4096  # bytes that `sniff` wants to see

_FILTERS = threading.Lock()


@dataclass(frozen=True)
class Facts:
    """What is known of a file; None where it is not, or does not apply.

    Sizes are pixels, upright (after the orientation mark); the duration is in seconds.
    """

    media_type: str
    width: int | None = None
    height: int | None = None
    duration: float | None = None


_MAGIC: Final[tuple[tuple[bytes, str], ...]] = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"II+\0", "image/tiff"),
    (b"MM\0+", "image/tiff"),
    (b"OggS", "audio/ogg"),
    (b"fLaC", "audio/flac"),
    (b"ID3", "audio/mpeg"),
    (b"PK\x03\x04", "application/zip"),
    (b"PK\x05\x06", "application/zip"),
    (b"\x1f\x8b", "application/gzip"),
    (b"BZh", "application/x-bzip2"),
    (b"\xfd7zXZ\0", "application/x-xz"),
    (b"7z\xbc\xaf'\x1c", "application/x-7z-compressed"),
    (b"Rar!\x1a\x07", "application/vnd.rar"),
)
ARCHIVES: Final = frozenset(
    {
        "application/zip",
        "application/gzip",
        "application/x-bzip2",
        "application/x-xz",
        "application/x-7z-compressed",
        "application/vnd.rar",
        "application/x-tar",
    }
)
_RIFF: Final = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
_BRANDS: Final = {
    b"avif": "image/avif",
    b"avis": "image/avif",
    b"qt  ": "video/quicktime",
    b"M4A ": "audio/mp4",
} | dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"), "image/heic")
_QUICKTIME: Final = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip"})
_SVG = re.compile(rb"\s*(<\?xml[^>]*>\s*|<!--.*?-->\s*|<!DOCTYPE[^>]*>\s*)*<svg[\s>]", re.DOTALL)
_JSON = re.compile(r'\s*(\{\s*["}]|\[\s*[\[\]{"\-0-9tfn])')
_BINARY = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


def sniff(head: bytes) -> str:
    """The media type of the file that begins with `head` (`HEAD` bytes are plenty)."""
    for magic, media_type in _MAGIC:
        if head.startswith(magic):
            return media_type
    return _container(head) or _loose(head) or _text(head) or UNKNOWN


def _container(head: bytes) -> str | None:
    """Formats that name themselves a few bytes in."""
    if head.startswith(b"RIFF"):
        return _RIFF.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "video/mp4")
    if head[4:8] in _QUICKTIME:
        return "video/quicktime"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "video/webm" if b"webm" in head[:64] else "video/x-matroska"
    return None


def _loose(head: bytes) -> str | None:
    """Formats with a short or movable mark, which need a second look."""
    if head[257:262] == b"ustar":
        return "application/x-tar"
    if head.startswith(b"BM") and head[14:18] in _BITMAP_HEADERS:
        return "image/bmp"
    if b"%PDF-" in head[:1024]:
        return "application/pdf"
    if _SVG.match(head):
        return "image/svg+xml"
    # An MPEG frame: 11 sync bits, then a version, layer, bit rate and sample rate that exist.
    if len(head) > 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        known = head[1] & 0x18 != 0x08 and head[1] & 0x06 == 0x02
        if known and head[2] >> 4 not in (0, 15) and head[2] & 0x0C != 0x0C:
            return "audio/mpeg"
    return None


_BITMAP_HEADERS: Final = frozenset(struct.pack("<I", n) for n in (12, 40, 52, 56, 64, 108, 124))


def _text(head: bytes) -> str | None:
    """Text, if it is UTF-8 without control characters; `head` may end inside a character."""
    for cut in range(min(4, len(head))):
        try:
            text = head[: len(head) - cut].decode("utf-8-sig")
        except UnicodeDecodeError:
            continue
        if _BINARY.search(text):
            return None
        return "application/json" if _JSON.match(text) else "text/plain"
    return None


# The plugins are called by name because `Image.open` refuses by its own global pixel limit, which
# hides the size that an error message should give, and warns where it does not refuse.
_DECODERS: Final[dict[str, Callable[[BinaryIO], Image.Image]]] = {
    "image/jpeg": JpegImagePlugin.jpeg_factory,
    "image/png": PngImagePlugin.PngImageFile,
    "image/webp": WebPImagePlugin.WebPImageFile,
    "image/tiff": TiffImagePlugin.TiffImageFile,
    "image/bmp": BmpImagePlugin.BmpImageFile,
    "image/gif": GifImagePlugin.GifImageFile,
}
if AvifImagePlugin.SUPPORTED:
    _DECODERS["image/avif"] = AvifImagePlugin.AvifImageFile


def open_image(file: BinaryIO, media_type: str) -> Image.Image | None:
    """The image in `file`, its header read and no pixel decoded; None for what is no image here.

    There is no pixel limit: look at `size` before anything else. Broken files raise whatever the
    decoder felt like.
    """
    decoder = _DECODERS.get(media_type)
    return None if decoder is None else decoder(file)


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 when there is none or it is damaged."""
    if image.format == "TIFF":  # already turned: Pillow applies it while it decodes
        return 1
    try:
        mark = image.getexif().get(0x0112, 1)
    except Exception:  # noqa: BLE001 - a damaged block raises anything, and the picture is still good
        return 1
    return mark if isinstance(mark, int) and 1 <= mark <= 8 else 1


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height in pixels as a viewer shows them."""
    width, height = image.size
    return (height, width) if orientation(image) >= 5 else (width, height)


def probe(path: Path) -> Facts:
    """Media type, size and duration of a file. Odd files raise nothing: unknown facts are None."""
    with path.open("rb") as file:
        media_type = sniff(file.read(HEAD))
        look = _LOOKS.get(media_type)
        if look is None:
            return Facts(media_type)
        file.seek(0)
        try:
            return look(path, file, media_type)
        except Exception:  # noqa: BLE001 - a stranger's file may break its decoder in any way
            return Facts(media_type)


def _look_image(_path: Path, file: BinaryIO, media_type: str) -> Facts:
    # Decoders complain, through filters that all threads share, of what no caller can change.
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = open_image(file, media_type)
        return Facts(media_type) if image is None else Facts(media_type, *upright_size(image))


def _look_movie(path: Path, _file: BinaryIO, media_type: str) -> Facts:
    from understudy.media.mp4 import read_track  # noqa: PLC0415 - loads OpenCV, 0.1 s that few need

    track = read_track(path)
    return Facts(media_type, track.width, track.height, track.duration)


def _look_wave(_path: Path, file: BinaryIO, media_type: str) -> Facts:
    with wave.open(file) as sound:
        return Facts(media_type, duration=sound.getnframes() / sound.getframerate())


_LOOKS: Final[dict[str, Callable[[Path, BinaryIO, str], Facts]]] = {
    **dict.fromkeys(_DECODERS, _look_image),
    "video/mp4": _look_movie,
    "video/quicktime": _look_movie,
    "audio/wav": _look_wave,
}
