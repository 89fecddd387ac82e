"""Any photo becomes one kind: upright, sRGB, 8 bits, no transparency, exactly the film's size.

The picture is made small before it is made right: conversions run on the pixels that the film
needs, or band by band, so that memory is bounded by one decoded picture (see `PIXELS`).
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from PIL import Image, ImageCms, ImageFilter

from understudy.errors import InputError, MediaError
from understudy.media.probe import (
    HEAD,
    open_image,
    orientation,
    sniff,
    upright_size,
)
from understudy.media.writing import storage_error, writing

PIXELS: Final = 64_000_000  # 256 MB once decoded, at Pillow's four bytes a pixel
PIXELS_HEAVY: Final = 25_000_000  # of WebP and AVIF: their decoders hold four copies at once
BYTES: Final = 256 << 20
PROFILE_BYTES: Final = 4 << 20

_READ: Final = frozenset(
    {"image/jpeg", "image/png", "image/webp", "image/tiff", "image/bmp", "image/avif"}
)
_HINTS: Final = {
    "image/gif": "a GIF: still photos only",
    "image/heic": "a HEIC photo: export it as JPEG",
}
_READ_NAMES: Final = "JPEG, PNG, WebP, TIFF, BMP and AVIF photos are read"
_BAND: Final = 1 << 20  # pixels converted at a time


@dataclass(frozen=True)
class Canvas:
    """The size of the film in pixels, and how a photo of another shape fills it.

    `cover` cuts off what stands over; `contain` shows the whole photo, the rest filled with a
    blurred and darkened enlargement of it.
    """

    width: int
    height: int
    fit: Literal["cover", "contain"] = "cover"


@dataclass(frozen=True)
class PhotoFacts:
    """What the photo was: its upright size in pixels, and its media type."""

    width: int
    height: int
    media_type: str


def normalise(source: Path, target: Path, canvas: Canvas, *, name: str) -> PhotoFacts:
    """Read the photo `source` and write `target`, an RGB PNG of the canvas' size, no metadata.

    `name` is what messages call the photo. Raises `InputError` when it is no still photo that can
    be read here or is too large, `StorageError` when the target cannot be written; a target is
    then not left behind.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # decoders complain about details that do no harm
        picture, facts = _read(source, canvas, name)
    with writing(target, f"writing the photo {name}"):
        picture.save(target, "PNG", compress_level=0)  # read twice, and twice as fast
    return facts


def _read(source: Path, canvas: Canvas, name: str) -> tuple[Image.Image, PhotoFacts]:
    try:
        with source.open("rb") as file:
            size = file.seek(0, io.SEEK_END)
            file.seek(0)
            media_type = _accepted(file.read(HEAD), size, name)
            file.seek(0)
            with _decoding(name), open_image(file, media_type) or _undecodable(name) as image:
                _check(image, name)
                facts = PhotoFacts(*upright_size(image), media_type)
                return _painted(image, canvas, name), facts
    except OSError as error:
        raise storage_error(error, f"reading the photo {name}") from error


def _accepted(head: bytes, size: int, name: str) -> str:
    """The media type, if it is one that may hold a still photo."""
    if size == 0:
        raise InputError(f"{name} is empty")
    if size > BYTES:
        raise InputError(f"{name} is {size:,} bytes; the limit is {BYTES:,} bytes a photo")
    media_type = sniff(head)
    if media_type in _HINTS:
        raise InputError(f"{name} is {_HINTS[media_type]}; {_READ_NAMES}")
    if media_type not in _READ:
        raise InputError(f"{name} is not a photo but {media_type}; {_READ_NAMES}")
    return media_type


def _undecodable(name: str) -> Image.Image:
    raise InputError(f"{name} is of a kind that this installation of Pillow cannot decode")


@contextmanager
def _decoding(name: str) -> Iterator[None]:
    """Whatever a decoder throws at a bad file is the file's fault, but for the machine's own."""
    try:
        yield
    except (InputError, MediaError):
        raise
    except MemoryError as error:
        raise MediaError(f"not enough memory to decode {name}") from error
    except Image.DecompressionBombError as error:
        raise InputError(f"{name} has too many pixels; the limit is {PIXELS:,} pixels") from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise InputError(f"{name} is cut off or damaged: {error}") from error


def _check(image: Image.Image, name: str) -> None:
    """Refuse by the header alone what must not be decoded."""
    width, height = image.size
    limit = PIXELS_HEAVY if image.format in {"WEBP", "AVIF"} else PIXELS
    if width * height > limit:
        raise InputError(
            f"{name} has {width:,} x {height:,} = {width * height:,} pixels; "
            f"the limit is {limit:,} pixels for {image.format}"
        )
    # Further pages of a TIFF, or pictures in a JPEG, are thumbnails and depth maps: not motion.
    if image.format in {"PNG", "WEBP", "AVIF"} and getattr(image, "is_animated", False):
        raise InputError(f"{name} is animated: still photos only")


def _painted(image: Image.Image, canvas: Canvas, name: str) -> Image.Image:
    """The picture on its canvas, in sRGB. Turned last, when it is small."""
    turn = _TURNS.get(orientation(image))
    size = (canvas.width, canvas.height)
    if orientation(image) >= 5:
        size = (canvas.height, canvas.width)
    profile = image.info.get("icc_profile")
    needed = _scaled(image.size, size, canvas.fit)
    image.draft(None, (2 * needed[0], 2 * needed[1]))  # JPEG decodes smaller far faster
    image.load()
    plain = _plain(image, needed, name)
    picture = _cover(plain, size) if canvas.fit == "cover" else _contain(plain, size)
    picture = _srgb(picture, profile)
    if turn is not None:
        picture = picture.transpose(turn)
    picture.info.clear()
    return picture


_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _scaled(have: tuple[int, int], want: tuple[int, int], fit: str) -> tuple[int, int]:
    """The size of the whole photo once scaled to fill, or to fit into, `want`."""
    ratios = (want[0] / have[0], want[1] / have[1])
    ratio = max(ratios) if fit == "cover" else min(ratios)
    return max(1, round(have[0] * ratio)), max(1, round(have[1] * ratio))


def _plain(image: Image.Image, needed: tuple[int, int], name: str) -> Image.Image:
    """The picture as grey, RGB or CMYK, the modes that scale and carry a colour profile.

    Other modes are converted a band of rows at a time and at once reduced by a whole factor, to
    no less than twice the size needed: a second full picture never exists.
    """
    if image.mode in {"L", "RGB", "CMYK"} and "transparency" not in image.info:
        return image
    convert = _CONVERSIONS.get(image.mode)
    if convert is None:
        raise InputError(f"{name} has pixels of the kind {image.mode}; save it as 8 bit RGB")
    width, height = image.size
    factor = max(1, min(width // (2 * needed[0]), height // (2 * needed[1])))
    rows = factor * max(1, _BAND // (width * factor))
    plain = Image.new(
        "L" if convert is _from_16_bits else "RGB", (-(-width // factor), -(-height // factor))
    )
    for top in range(0, height, rows):
        band = convert(image.crop((0, top, width, min(height, top + rows))))
        plain.paste(band.reduce(factor), (0, top // factor))
    return plain


def _from_16_bits(band: Image.Image) -> Image.Image:
    """Grey of 16 bits to 8: 65535 becomes 255, where Pillow's own conversion clips at 255."""
    return Image.fromarray(((np.asarray(band).astype(np.uint32) + 128) // 257).astype(np.uint8))


def _over_white(band: Image.Image) -> Image.Image:
    """What shows through transparency is white paper."""
    opaque = Image.new("RGBA", band.size, "white")
    opaque.alpha_composite(band.convert("RGBA"))
    return opaque.convert("RGB")


_CONVERSIONS: Final[dict[str, Callable[[Image.Image], Image.Image]]] = {
    **dict.fromkeys(("I;16", "I;16L", "I;16B", "I;16N"), _from_16_bits),
    **dict.fromkeys(("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa"), _over_white),
    **dict.fromkeys(("RGBX", "YCbCr", "HSV"), lambda band: band.convert("RGB")),
}


def _cover(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The middle of the picture, as large as the canvas' shape allows."""
    ratio = min(image.width / size[0], image.height / size[1])
    width, height = ratio * size[0], ratio * size[1]
    left, top = (image.width - width) / 2, (image.height - height) / 2
    box = (
        max(0.0, left),
        max(0.0, top),
        min(left + width, image.width),
        min(top + height, image.height),
    )
    return image.resize(size, Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)


def _contain(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The whole picture; beside it, itself: enlarged, blurred, darkened.

    Not black bars: a straight black edge is the strongest feature of a frame, so a morph would
    match bars instead of pictures, and upright beside wide photos would flash.
    """
    inner = image.resize(
        _scaled(image.size, size, "contain"), Image.Resampling.LANCZOS, reducing_gap=3.0
    )
    if inner.size == size:
        return inner
    small = (max(1, size[0] // 16), max(1, size[1] // 16))
    ground = _cover(image, small).filter(ImageFilter.GaussianBlur(2))
    dark = (lambda v: 255 - (255 - v) * 0.6) if image.mode == "CMYK" else (lambda v: v * 0.6)
    painted = ground.point(dark).resize(size, Image.Resampling.BICUBIC)
    painted.paste(inner, ((size[0] - inner.width) // 2, (size[1] - inner.height) // 2))
    return painted


def _srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """The picture in sRGB, by its own colour profile where that is sound and fits the mode."""
    if profile and len(profile) <= PROFILE_BYTES:
        try:
            converted = ImageCms.profileToProfile(
                picture,
                ImageCms.ImageCmsProfile(io.BytesIO(profile)),
                ImageCms.createProfile("sRGB"),
                renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
                outputMode="RGB",
                flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
            )
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            pass  # a broken or foreign profile says nothing: its colours are taken as they are
        else:
            return converted if converted is not None else picture
    return picture.convert("RGB")
