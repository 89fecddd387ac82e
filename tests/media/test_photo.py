from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, features

from understudy.media import photo
from understudy.media.photo import Canvas, PhotoFacts, normalise

SMALL = Canvas(64, 48)
PHOTOS = Path(__file__).parents[2] / "examples" / "photos"
_SAME_FOLDER = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def made(folder: Path, source: Path, canvas: Canvas = SMALL) -> Image.Image:
    """The picture that `normalise` makes of a file."""
    target = folder / "made.png"
    normalise(source, target, canvas, name=source.name)
    with Image.open(target) as picture:
        picture.load()
        return picture


def corners() -> Image.Image:
    """A picture whose four corners differ: red, green / blue, white; wider than high."""
    image = Image.new("RGB", (120, 80))
    colours = ("#ff0000", "#00ff00", "#0000ff", "#ffffff")
    for place, colour in zip(((0, 0), (60, 0), (0, 40), (60, 40)), colours, strict=True):
        image.paste(colour, (*place, place[0] + 60, place[1] + 40))
    return image


def close(colour: object, wanted: tuple[int, int, int], by: int = 6) -> bool:
    assert isinstance(colour, tuple)
    return all(abs(a - b) <= by for a, b in zip(colour, wanted, strict=True))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("mark", range(1, 9))
def test_upright(tmp_path: Path, kind: str, mark: int) -> None:
    """A photo stored turned or mirrored, with a mark that says so, comes out upright."""
    if kind == "AVIF" and not features.check(
        "avif"
    ):  # a Pillow built without it refuses, tested below
        return
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = corners().transpose(undo[mark]) if mark in undo else corners()
    exif = Image.Exif()
    exif[0x0112] = mark
    source = tmp_path / "turned"
    stored.save(source, kind, exif=exif, quality=95)
    target = tmp_path / "made.png"
    facts = normalise(source, target, Canvas(120, 80), name="turned")
    assert (facts.width, facts.height) == (120, 80)
    with Image.open(target) as upright:
        assert close(upright.getpixel((10, 10)), (255, 0, 0), 40)
        assert close(upright.getpixel((110, 10)), (0, 255, 0), 40)
        assert close(upright.getpixel((10, 70)), (0, 0, 255), 40)


def saved(folder: Path, image: Image.Image, kind: str = "PNG", **options: object) -> Path:
    path = folder / f"photo.{kind.lower()}"
    image.save(path, kind, **options)
    return path


def _sixteen(folder: Path) -> Path:
    return saved(folder, Image.fromarray(np.full((90, 120), 32896, np.uint16)))


def _sixteen_big_endian(folder: Path) -> Path:
    path = folder / "photo.tiff"
    pixels = np.full((90, 120), 32896, ">u2").tobytes()
    tags = [(256, 120), (257, 90), (258, 16), (259, 1), (262, 1), (273, 8), (277, 1), (278, 90)]
    tags.append((279, len(pixels)))
    body = b"MM\0*" + struct.pack(">L", 8 + len(pixels)) + pixels + struct.pack(">H", len(tags))
    for tag, value in tags:
        body += struct.pack(">HHLL", tag, 4, 1, value)
    path.write_bytes(body + bytes(4))
    return path


def _palette(folder: Path) -> Path:
    return saved(folder, Image.new("RGB", (120, 90), (10, 200, 30)).quantize(4))


def _palette_clear(folder: Path) -> Path:
    image = Image.new("P", (120, 90), 1)
    image.putpalette([0, 0, 0, 9, 9, 9])
    return saved(folder, image, transparency=1)


def _grey_clear(folder: Path) -> Path:
    return saved(folder, Image.new("L", (120, 90), 77), transparency=77)


def _cmyk(folder: Path) -> Path:
    return saved(folder, Image.new("CMYK", (120, 90), (0, 255, 255, 0)), "JPEG", quality=95)


@pytest.mark.parametrize(
    ("source", "colour"),
    [
        (_sixteen, (128, 128, 128)),
        (_sixteen_big_endian, (128, 128, 128)),
        (_palette, (10, 200, 30)),
        (_palette_clear, (255, 255, 255)),
        (_grey_clear, (255, 255, 255)),
        (_cmyk, (255, 0, 0)),
        (lambda d: saved(d, Image.new("L", (120, 90), 77)), (77, 77, 77)),
        (lambda d: saved(d, Image.new("1", (120, 90), 1)), (255, 255, 255)),
        (lambda d: saved(d, Image.new("LA", (120, 90), (0, 51))), (204, 204, 204)),
        (lambda d: saved(d, Image.new("RGBA", (120, 90), (255, 0, 0, 128))), (255, 127, 127)),
        (lambda d: saved(d, Image.new("RGBA", (120, 90), (9, 9, 9, 0)), "WEBP"), (255,) * 3),
        (lambda d: saved(d, Image.new("RGB", (120, 90), (1, 2, 250)), "BMP"), (1, 2, 250)),
        (lambda d: saved(d, Image.new("CMYK", (120, 90), (255, 0, 0, 0)), "TIFF"), (0, 255, 255)),
    ],
)
@pytest.mark.parametrize("fit", ["cover", "contain"])
def test_modes(
    tmp_path: Path,
    source: Callable[[Path], Path],
    colour: tuple[int, int, int],
    fit: str,
) -> None:
    """Every mode comes out as 8 bit RGB of the right colour, transparency over white."""
    canvas = Canvas(60, 44, "cover" if fit == "cover" else "contain")
    picture = made(tmp_path, source(tmp_path), canvas)
    assert (picture.mode, picture.size) == ("RGB", (60, 44))
    assert close(picture.getpixel((30, 22)), colour)


def test_sixteen_bits_keep_their_tones(tmp_path: Path) -> None:
    """A 16 bit ramp spreads over all 8 bit tones instead of clipping at the 255th."""
    ramp = np.linspace(0, 65535, 512).astype(np.uint16)[None].repeat(64, 0)
    picture = made(tmp_path, saved(tmp_path, Image.fromarray(ramp)), Canvas(512, 64))
    tones = np.asarray(picture)[32, :, 0].astype(int)
    assert tones[0] == 0
    assert tones[-1] == 255
    assert np.abs(np.diff(tones)).max() <= 1


def test_transparent_edges_do_not_bleed(tmp_path: Path) -> None:
    """The hidden colour of transparent pixels does not leak into their neighbours."""
    image = Image.new("RGBA", (400, 400), (0, 255, 0, 0))
    image.paste((255, 255, 255, 255), (0, 0, 200, 400))
    picture = made(tmp_path, saved(tmp_path, image), Canvas(40, 40))
    assert picture.getextrema() == ((255, 255),) * 3


def profile(red: tuple[float, ...], green: tuple[float, ...], blue: tuple[float, ...]) -> bytes:
    """A minimal ICC profile for RGB with these primaries (XYZ, D50) and a gamma of 1.8."""

    def fixed(*values: float) -> bytes:
        return b"".join(struct.pack(">i", round(v * 65536)) for v in values)

    curve = b"curv" + bytes(4) + struct.pack(">LHH", 1, round(1.8 * 256), 0)
    text = b"text" + bytes(4) + b"none\0" + bytes(3)
    desc = b"desc" + bytes(4) + struct.pack(">L", 5) + b"test\0" + bytes(8 + 2 + 1 + 67) + bytes(1)
    tags = {
        b"rXYZ": b"XYZ " + bytes(4) + fixed(*red),
        b"gXYZ": b"XYZ " + bytes(4) + fixed(*green),
        b"bXYZ": b"XYZ " + bytes(4) + fixed(*blue),
        b"wtpt": b"XYZ " + bytes(4) + fixed(0.9642, 1.0, 0.8249),
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
        b"cprt": text,
        b"desc": desc + bytes(-len(desc) % 4),
    }
    at, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for name, data in tags.items():
        table += name + struct.pack(">LL", at + len(body), len(data))
        body += data
    head = struct.pack(">L", at + len(body)) + bytes(4) + struct.pack(">L", 0x02100000)
    head += b"mntrRGB XYZ " + struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    head += fixed(0.9642, 1.0, 0.8249)
    return head.ljust(128, b"\0") + struct.pack(">L", len(tags)) + table + body


SRGB = ((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141))


def test_colour_profile(tmp_path: Path) -> None:
    """Colours are converted by the photo's own profile: here red and blue are exchanged."""
    icc = profile(SRGB[2], SRGB[1], SRGB[0])
    image = Image.new("RGB", (120, 90), (255, 0, 0))
    for kind in ("JPEG", "PNG", "WEBP", "TIFF"):
        picture = made(tmp_path, saved(tmp_path, image, kind, icc_profile=icc))
        assert close(picture.getpixel((20, 20)), (0, 0, 255), 4), kind


def test_colour_profile_is_what_the_library_says(tmp_path: Path) -> None:
    """A gamma of 1.8 is really taken into account, to the tone that Little CMS computes."""
    icc = profile(*SRGB)
    image = Image.new("RGB", (120, 90), (100, 150, 200))
    wanted = ImageCms.profileToProfile(
        image, ImageCms.ImageCmsProfile(io.BytesIO(icc)), ImageCms.createProfile("sRGB")
    )
    assert wanted is not None
    exact = wanted.getpixel((0, 0))
    assert isinstance(exact, tuple)
    assert exact != (100, 150, 200)
    picture = made(tmp_path, saved(tmp_path, image, icc_profile=icc))
    assert close(picture.getpixel((20, 20)), exact, 2)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "icc", [b"nonsense", profile(*SRGB)[:200], profile(*SRGB) + bytes(photo.PROFILE_BYTES)]
)
def test_bad_profiles_are_ignored(tmp_path: Path, icc: bytes) -> None:
    """A broken, cut or huge colour profile changes nothing."""
    image = Image.new("RGB", (120, 90), (100, 150, 200))
    picture = made(tmp_path, saved(tmp_path, image, "TIFF", icc_profile=icc))
    assert close(picture.getpixel((20, 20)), (100, 150, 200), 2)


def test_profile_of_another_mode_is_ignored(tmp_path: Path) -> None:
    """An RGB profile in a grey photo says nothing about it."""
    image = Image.new("L", (120, 90), 77)
    picture = made(tmp_path, saved(tmp_path, image, icc_profile=profile(*SRGB)))
    assert close(picture.getpixel((20, 20)), (77, 77, 77), 1)


def test_no_metadata(tmp_path: Path) -> None:
    """Where and when a photo was taken does not reach the result."""
    exif = Image.Exif()
    exif[0x010E] = "SECRET-PLACE"
    exif.get_ifd(0x8825)[1] = "N"
    source = tmp_path / "photo.jpg"
    corners().save(source, exif=exif, comment="SECRET-PLACE", icc_profile=profile(*SRGB))
    assert b"SECRET-PLACE" in source.read_bytes()
    picture = made(tmp_path, source)
    assert picture.info == {}
    chunks = (tmp_path / "made.png").read_bytes()
    assert b"SECRET-PLACE" not in chunks
    assert not any(name in chunks for name in (b"eXIf", b"tEXt", b"iCCP", b"zTXt", b"iTXt"))


def test_cover_takes_the_middle(tmp_path: Path) -> None:
    """Cover fills the canvas with the middle; what stands over is cut off on both sides."""
    image = Image.new("RGB", (300, 100), "red")
    image.paste("blue", (100, 0, 200, 100))
    picture = made(tmp_path, saved(tmp_path, image), Canvas(100, 100, "cover"))
    assert picture.getpixel((3, 50)) == (0, 0, 255)
    assert picture.getpixel((96, 50)) == (0, 0, 255)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_contain_shows_all(tmp_path: Path, mode: str) -> None:
    """Contain shows the whole photo; what is left is a darkened ground made of the photo."""
    image = corners().convert(mode)
    picture = made(tmp_path, saved(tmp_path, image, "TIFF"), Canvas(120, 240, "contain"))
    inside = picture.crop((0, 80, 120, 160)).convert("L")
    whole = np.asarray(corners().convert("L")).astype(int)
    assert np.abs(np.asarray(inside).astype(int) - whole).mean() < 4
    ground = np.asarray(picture.crop((0, 0, 120, 70)).convert("L")).astype(int)
    assert 20 < ground.mean() < 0.75 * whole.mean()


def test_contain_without_a_rest_is_the_photo(tmp_path: Path) -> None:
    """A photo of the canvas' own shape and size comes out pixel for pixel, either way."""
    source = saved(tmp_path, corners())
    for canvas in (Canvas(120, 80, "contain"), Canvas(120, 80, "cover")):
        assert np.array_equal(np.asarray(made(tmp_path, source, canvas)), np.asarray(corners()))


@_SAME_FOLDER
@given(
    size=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    canvas=st.builds(
        Canvas,
        st.integers(1, 50).map(lambda n: 4 * n),
        st.integers(1, 50).map(lambda n: 4 * n),
        st.sampled_from(["cover", "contain"]),
    ),
    mode=st.sampled_from(["RGB", "L", "RGBA", "P", "1", "I;16"]),
)
def test_any_shape(tmp_path: Path, size: tuple[int, int], canvas: Canvas, mode: str) -> None:
    """Whatever the shapes, the result has exactly the canvas' size."""
    source = saved(tmp_path, Image.new(mode, size))
    assert made(tmp_path, source, canvas).size == (canvas.width, canvas.height)


def test_extreme_shapes(tmp_path: Path) -> None:
    """A line of 60,000 pixels is a photo like another, and costs no more."""
    for size in ((60_000, 1), (1, 60_000)):
        source = saved(tmp_path, Image.new("RGB", size, "teal"))
        for canvas in (Canvas(64, 48, "cover"), Canvas(64, 48, "contain")):
            assert made(tmp_path, source, canvas).size == (64, 48)


def test_same_bytes_again(tmp_path: Path) -> None:
    """The same photo gives the same bytes, so that a replay finds what it left."""
    source = PHOTOS / "05-cat.jpg"
    made(tmp_path, source)
    first = (tmp_path / "made.png").read_bytes()
    made(tmp_path, source)
    assert (tmp_path / "made.png").read_bytes() == first


def test_memory_is_bounded(tmp_path: Path) -> None:
    """The largest photo allowed, with transparency, takes no more than 450 MB."""
    source = saved(tmp_path, Image.new("RGBA", (8000, 8000), (9, 90, 9, 128)), compress_level=1)
    program = (
        "import sys; from pathlib import Path\n"
        "from understudy.media.photo import Canvas, normalise\n"
        "normalise(Path(sys.argv[1]), Path(sys.argv[2]), Canvas(1920, 1080), name='x')\n"
        "print(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])"
    )
    peak = subprocess.run(
        [sys.executable, "-c", program, source, tmp_path / "made.png"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    assert int(peak) < 450 << 10


def test_facts(tmp_path: Path) -> None:
    """What the photo was is told: its own size and kind."""
    facts = normalise(PHOTOS / "06-rocket.jpg", tmp_path / "made.png", SMALL, name="rocket")
    assert facts == PhotoFacts(640, 427, "image/jpeg")
