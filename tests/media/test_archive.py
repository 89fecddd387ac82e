from __future__ import annotations

import os
import stat
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from understudy.errors import InputError, StorageError, StorageFull
from understudy.media import archive as module
from understudy.media.archive import ArchiveLimits, Member, unpack_photos

LIMITS = ArchiveLimits()
PIXELS = b"\xff\xd8\xff" + os.urandom(2000)
_SAME_FOLDER = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def packed(folder: Path, *entries: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    path = folder / "photos.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in entries:
            out.writestr(name, data)
    return path


def unpack(archive: Path, limits: ArchiveLimits = LIMITS) -> list[Member]:
    folder = archive.parent / "out"
    folder.mkdir(exist_ok=True)
    return unpack_photos(archive, folder, limits, name="photos.zip")


def refusal(archive: Path, limits: ArchiveLimits = LIMITS) -> str:
    """The message that an archive is refused with; it names it, and nothing is left behind."""
    with pytest.raises(InputError) as refused:
        unpack(archive, limits)
    assert "photos.zip" in refused.value.message
    assert list((archive.parent / "out").iterdir()) == []
    return refused.value.message


def entry(name: str, mode: int = stat.S_IFREG | 0o644) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = mode << 16
    return info


def test_photos_in_natural_order(tmp_path: Path) -> None:
    """Files come out byte for byte, in the order a person expects, folders and junk passed over."""
    contents = {name: os.urandom(50_000) for name in ("img10.jpg", "img2.jpg", "IMG1.jpg")}
    junk = ("__MACOSX/._img2.jpg", ".DS_Store", "Thumbs.db", "sub/._x", "sub/desktop.ini")
    path = packed(
        tmp_path,
        ("sub/", b""),
        *contents.items(),
        *((name, b"junk") for name in junk),
        ("sub/img3.jpg", PIXELS),
    )
    members = unpack(path)
    assert [m.name for m in members] == ["IMG1.jpg", "img2.jpg", "img10.jpg", "sub/img3.jpg"]
    assert all(m.path.read_bytes() == {**contents, "sub/img3.jpg": PIXELS}[m.name] for m in members)
    assert {m.path for m in members} == set((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("../evil.jpg", "leads out"),
        ("a/../../evil.jpg", "leads out"),
        ("a\\..\\..\\evil.jpg", "leads out"),
        ("/etc/evil.jpg", "absolute"),
        ("\\evil.jpg", "absolute"),
        ("C:evil.jpg", "absolute"),
        ("c:\\evil.jpg", "absolute"),
        ("../__MACOSX/junk", "leads out"),
        ("more.zip", "archive inside"),
        ("more.TAR.GZ", "archive inside"),
    ],
)
def test_bad_names(tmp_path: Path, name: str, says: str) -> None:
    """A name that reaches out of the archive, or hides another one, refuses the whole."""
    message = refusal(packed(tmp_path, ("fine.jpg", PIXELS), (name, PIXELS)))
    assert says in message
    assert not (tmp_path / "evil.jpg").exists()


def test_name_with_a_null(tmp_path: Path) -> None:
    """A name with a null byte, which other programs cut there, is refused."""
    path = packed(tmp_path, ("evilXjpg", PIXELS))
    path.write_bytes(path.read_bytes().replace(b"evilXjpg", b"evil\0jpg"))
    assert "no file can have" in refusal(path)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_links_and_devices(tmp_path: Path, kind: int) -> None:
    """Symlinks and devices are refused, whatever they point to."""
    path = packed(
        tmp_path, (entry("a.jpg"), PIXELS), (entry("b.jpg", kind | 0o777), b"/etc/passwd")
    )
    assert "link or a device" in refusal(path)


@pytest.mark.parametrize(
    "head",
    [b"PK\x03\x04", b"\x1f\x8b", b"7z\xbc\xaf'\x1c", b"Rar!\x1a\x07", b"\0" * 257 + b"ustar"],
)
def test_nested_archives_under_other_names(tmp_path: Path, head: bytes) -> None:
    """An archive inside is known by its content, and what was unpacked before it is removed."""
    path = packed(tmp_path, ("a.jpg", PIXELS), ("b.jpg", head + bytes(500)))
    assert "'b.jpg' is an archive inside" in refusal(path)


def test_duplicates(tmp_path: Path) -> None:
    """Two files of one name are refused, also when only their Unicode forms differ."""
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = packed(tmp_path, ("a.jpg", PIXELS), ("a.jpg", PIXELS))
    assert "two files named 'a.jpg'" in refusal(path)
    path = packed(tmp_path, ("\u00e9.jpg", PIXELS), ("e\u0301.jpg", PIXELS))
    assert "two files" in refusal(path)


def test_same_name_in_two_folders(tmp_path: Path) -> None:
    """Equal names in different folders are two photos."""
    members = unpack(packed(tmp_path, ("b/1.jpg", PIXELS), ("a/1.jpg", PIXELS)))
    assert [m.name for m in members] == ["a/1.jpg", "b/1.jpg"]


def test_names_in_other_scripts(tmp_path: Path) -> None:
    """Names with the UTF-8 flag, UTF-8 without it, and true code page 437 are all read."""
    path = packed(tmp_path, ("тест.jpg", PIXELS), ("xxxx.jpg", PIXELS), ("yyyyyy.jpg", PIXELS))
    data = path.read_bytes().replace(b"xxxx", b"\x81\x82\x83\x84")
    path.write_bytes(data.replace(b"yyyyyy", "写真".encode()))
    assert {m.name for m in unpack(path)} == {"тест.jpg", "üéâä.jpg", "写真.jpg"}


def flagged(path: Path, flag: int = 0, method: int | None = None) -> Path:
    """The archive with a flag or method set in all its headers."""
    data = bytearray(path.read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = data.find(mark)
        while start >= 0:
            data[start + at] |= flag
            if method is not None:
                data[start + at + 2] = method
            start = data.find(mark, start + 4)
    path.write_bytes(data)
    return path


def test_encrypted(tmp_path: Path) -> None:
    """An encrypted file is refused with what to do instead."""
    assert "without a password" in refusal(flagged(packed(tmp_path, ("a.jpg", PIXELS)), flag=1))


@pytest.mark.parametrize("method", [1, 9, 12, 14, 93, 99])
def test_other_methods(tmp_path: Path, method: int) -> None:
    """Methods that need much memory or other programs are refused by number."""
    path = flagged(packed(tmp_path, ("a.jpg", PIXELS)), method=method)
    assert f"method {method}" in refusal(path)


def test_bomb_by_ratio(tmp_path: Path) -> None:
    """A file that unpacks to a thousand times its size stops as soon as that shows."""
    path = packed(tmp_path, ("a.jpg", PIXELS), ("bomb.bmp", bytes(20 << 20)))
    assert "over 100 times its size" in refusal(path)


def test_bomb_by_count(tmp_path: Path) -> None:
    """Many files that are each harmless are stopped by their sum."""
    limits = ArchiveLimits(total_bytes=100_000)
    path = packed(tmp_path, *((f"{n}.jpg", os.urandom(30_000)) for n in range(5)))
    message = refusal(path, limits)
    assert "100,000 bytes" in message
    assert "'3.jpg'" in message


def test_bomb_declared(tmp_path: Path) -> None:
    """A file that says it is too large is refused before a byte is unpacked."""
    path = packed(tmp_path, ("a.jpg", bytes(5000)))
    assert "is 5,000 bytes; the limit is 4,000" in refusal(path, ArchiveLimits(member_bytes=4000))


def test_bomb_that_lies(tmp_path: Path) -> None:
    """Sizes in the headers are not believed: what comes out is counted."""
    path = packed(tmp_path, ("a.jpg", os.urandom(4 << 20)))
    real = struct.pack("<L", 4 << 20)
    assert path.read_bytes().count(real) == 2
    path.write_bytes(path.read_bytes().replace(real, struct.pack("<L", 100)))
    folder = tmp_path / "out"
    with pytest.raises(InputError, match=r"photos\.zip"):
        unpack(path, ArchiveLimits(member_bytes=1 << 20))
    assert list(folder.iterdir()) == []


def test_counting_does_not_depend_on_the_directory(tmp_path: Path) -> None:
    """The streaming counter stops a file by itself, were the declared size to pass."""
    path = packed(tmp_path, ("a.jpg", os.urandom(3000)))
    (tmp_path / "out").mkdir()
    budget = module._Budget("photos.zip", ArchiveLimits(member_bytes=2000), 10**6).member("a.jpg")
    with zipfile.ZipFile(path) as opened, pytest.raises(InputError, match="over 2,000 bytes"):
        module._extract(opened, opened.infolist()[0], tmp_path / "out" / "1", budget)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_hundred_thousand_entries(tmp_path: Path) -> None:
    """An archive of 100,000 entries is refused by its end record, in no time and memory."""
    path = tmp_path / "photos.zip"
    record = b"PK\x01\x02" + bytes(24) + struct.pack("<H", 9) + bytes(16) + b"%05d.jpg"
    directory = b"".join(record % n for n in range(100_000))
    end_64 = struct.pack(
        "<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 100_000, 100_000, len(directory), 0
    )
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, len(directory), 1)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    path.write_bytes(directory + end_64 + locator + end)
    assert "100,000 entries" in refusal(path)
    narrow = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 34_464, 34_464, len(directory), 0, 0)
    path.write_bytes(directory + narrow)
    assert "34,464 entries" in refusal(path)
    lying = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 3, 3, len(directory), 0, 0)
    path.write_bytes(directory + lying)
    assert "the limit is 60 entries" in refusal(path, ArchiveLimits(photos=20))


def test_a_directory_that_lists_more_than_it_says(tmp_path: Path) -> None:
    """A count in the end record that is too low does not raise the limit."""
    path = packed(tmp_path, *((f"{n}", PIXELS) for n in range(10)))
    data = path.read_bytes()
    path.write_bytes(data[:-14] + struct.pack("<HH", 1, 1) + data[-10:])
    assert "lists 10 entries; the limit is 9" in refusal(path, ArchiveLimits(photos=3))


def test_too_many_photos(tmp_path: Path) -> None:
    """More photos than the limit are refused before the first is unpacked."""
    path = packed(tmp_path, *((f"{n}.jpg", PIXELS) for n in range(4)))
    assert "holds 4 files; the limit is 3" in refusal(path, ArchiveLimits(photos=3))


@pytest.mark.parametrize("entries", [[], [("folder/", b""), (".DS_Store", b"x")]])
def test_nothing_inside(tmp_path: Path, entries: list[tuple[str, bytes]]) -> None:
    """An archive without a single file is refused."""
    assert "holds no files" in refusal(packed(tmp_path, *entries))


@pytest.mark.parametrize(
    "data", [b"", b"PK\x05\x06", b"\xff\xd8\xff" + bytes(999), b"PK\x03\x04abc"]
)
def test_not_a_zip(tmp_path: Path, data: bytes) -> None:
    """What is no ZIP is refused as such."""
    path = tmp_path / "photos.zip"
    path.write_bytes(data)
    assert "not a ZIP archive, or it is cut off" in refusal(path)


def test_truncated(tmp_path: Path) -> None:
    """A ZIP that lost its end, or its middle, is refused."""
    path = packed(tmp_path, ("a.jpg", os.urandom(50_000)), ("b.jpg", PIXELS))
    data = path.read_bytes()
    path.write_bytes(data[:-30])
    assert "cut off" in refusal(path)
    path.write_bytes(data[:100] + data[20_000:])
    assert "not a readable ZIP" in refusal(path)


def test_a_misplaced_index(tmp_path: Path) -> None:
    """A second, wide index elsewhere, which only some readers would believe, is refused."""
    path = packed(tmp_path, ("a.jpg", PIXELS))
    data = path.read_bytes()
    for place in (0, 2**40):
        locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, place, 1)
        path.write_bytes(data[:-22] + locator + data[-22:])
        assert "its index is misplaced" in refusal(path)


def test_a_wide_index(tmp_path: Path) -> None:
    """A ZIP in the format for very large archives is read like any other."""
    path = packed(tmp_path, ("a.jpg", PIXELS))
    data = path.read_bytes()
    size, offset = struct.unpack("<LL", data[-10:-2])
    end_64 = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, size, offset)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, len(data) - 22, 1)
    path.write_bytes(data[:-22] + end_64 + locator + data[-22:])
    assert [m.name for m in unpack(path)] == ["a.jpg"]


def test_damaged_bytes(tmp_path: Path) -> None:
    """A checksum that does not fit refuses the archive, and what was unpacked goes away."""
    path = packed(tmp_path, ("a.jpg", PIXELS), ("b.jpg", os.urandom(5000)))
    data = bytearray(path.read_bytes())
    data[-700] ^= 0xFF
    path.write_bytes(data)
    assert "not a readable ZIP" in refusal(path)


def test_missing_archive(tmp_path: Path) -> None:
    """A file that cannot be read is a storage error, not a bad archive."""
    with pytest.raises(StorageError, match=r"reading the archive photos\.zip"):
        unpack(tmp_path / "gone.zip")


def test_disk_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No space left is its own error; what was unpacked before is removed."""
    path = packed(tmp_path, ("a.jpg", PIXELS), ("b.jpg", PIXELS))
    (tmp_path / "out").mkdir()
    original = Path.open

    def full(self: Path, mode: str = "r", **options: object) -> object:
        return original(Path("/dev/full") if self.name == "00002" else self, mode.replace("x", "w"))

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(StorageFull, match=r"b\.jpg"):
        unpack(path)
    assert list((tmp_path / "out").iterdir()) == []


def test_memory_and_time_stay_small(tmp_path: Path) -> None:
    """A bomb of gigabytes costs a fresh process little memory beyond the interpreter's own."""
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out, out.open("bomb", "w") as bomb:
        for _ in range(100):
            bomb.write(bytes(1 << 20))
    (tmp_path / "out").mkdir()
    program = (
        "import sys; from pathlib import Path\n"
        "from understudy.media.archive import *\n"
        "hwm = lambda: int(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])\n"
        "before = hwm()\n"
        "try: unpack_photos(Path(sys.argv[1]), Path(sys.argv[2]), ArchiveLimits(), name='x')\n"
        "except Exception as error: print(type(error).__name__, hwm() - before)"
    )
    name, grown = subprocess.run(
        [sys.executable, "-c", program, path, tmp_path / "out"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=True,
        text=True,
    ).stdout.split()
    assert name == "InputError"
    assert int(grown) < 20 << 10


@_SAME_FOLDER
@given(changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_damage_is_refused_or_survived(tmp_path: Path, changes: list[tuple[float, int]]) -> None:
    """Bytes changed anywhere give files or an `InputError`, and never anything half done."""
    path = packed(tmp_path, ("a.jpg", b"\xff\xd8\xffab"), ("写/2.jpg", b"\xff\xd8\xffcd"))
    data = bytearray(path.read_bytes())
    for place, value in changes:
        data[int(place * (len(data) - 1))] = value
    path.write_bytes(data)
    try:
        members = unpack(path)
    except InputError:
        members = []
    assert {m.path for m in members} == set((tmp_path / "out").iterdir())
    for member in members:
        member.path.unlink()
