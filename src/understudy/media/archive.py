"""Photos out of a ZIP that nobody vouches for.

Nothing that the archive says about itself is believed: names never become paths, sizes are
counted while they stream, and the directory is measured before anything is built from it.
"""

from __future__ import annotations

import errno
import re
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from understudy.errors import InputError
from understudy.media.probe import ARCHIVES, HEAD, sniff
from understudy.media.writing import storage_error, writing
from understudy.naming import natural_key


@dataclass(frozen=True)
class ArchiveLimits:
    """How much of an archive is read, at most."""

    photos: int = 2000
    """Files taken out; the directory may list three times as many (folders, macOS' twins)."""
    member_bytes: int = 256 << 20
    total_bytes: int = 8 << 30
    ratio: int = 100
    """Bytes out for one byte of the archive, once `_RATIO_FROM` bytes are out."""


@dataclass(frozen=True)
class Member:
    """One file: its name inside the archive, and where its bytes are now."""

    name: str
    path: Path


_CHUNK: Final = 256 << 10
_RATIO_FROM: Final = 1 << 20
_ENTRY_BYTES: Final = 1024  # of the directory, for one entry: name, extra fields and all
_END: Final = struct.Struct("<4s4H2LH")
_END_64: Final = struct.Struct("<4sQ2H2L4Q")
_LOCATOR: Final = struct.Struct("<4sLQL")
_ENCRYPTED: Final = 0x1 | 0x40
_UTF_8: Final = 0x800
_JUNK: Final = frozenset({".ds_store", "thumbs.db", "desktop.ini"})
_PACKED_NAMES: Final = (".zip", ".rar", ".7z", ".tar", ".gz", ".tgz", ".bz2", ".xz")
_METHODS: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})


def unpack_photos(archive: Path, folder: Path, limits: ArchiveLimits, *, name: str) -> list[Member]:
    """Unpack a ZIP's files into `folder` (which exists), in the natural order of their names.

    `name` is what messages call the archive. Folders and the files that systems leave behind
    (`__MACOSX/`, `.DS_Store`) are passed over. Raises `InputError`, which names the file and the
    limit, or `StorageError`; nothing is left in `folder` then.
    """
    members: list[Member] = []
    try:
        with _reading(name), archive.open("rb") as file:
            _measure(file, limits, name)
            with zipfile.ZipFile(file) as opened:
                wanted = _chosen(opened.infolist(), limits, name)
                budget = _Budget(name, limits, archive.stat().st_size)
                for number, (member, info) in enumerate(wanted, start=1):
                    path = folder / f"{number:05d}"
                    _extract(opened, info, path, budget.member(member))
                    members.append(Member(member, path))
    except BaseException:
        for unpacked in members:
            unpacked.path.unlink(missing_ok=True)
        raise
    return members


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """What `zipfile` throws at a bad archive, as one error that names it."""
    try:
        yield
    except (
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        EOFError,
        NotImplementedError,  # a version or method from the future
        RuntimeError,  # a password is wanted
        ValueError,  # offsets and names that cannot be
        OverflowError,
    ) as error:
        raise InputError(f"{name} is not a readable ZIP archive: {error}") from error
    except OSError as error:
        if error.errno == errno.EINVAL:  # a place before the file's beginning was sought
            raise InputError(f"{name} is not a readable ZIP archive: its index is wrong") from error
        raise storage_error(error, f"reading the archive {name}") from error


def _measure(file: BinaryIO, limits: ArchiveLimits, name: str) -> None:
    """Refuse a directory that is too large before a list is built from it."""
    entries, size = _directory(file, name)
    most = 3 * limits.photos
    if entries > most or size > most * _ENTRY_BYTES:
        raise InputError(
            f"{name} lists {entries:,} entries in {size:,} bytes; the limit is {most:,} entries "
            f"for at most {limits.photos:,} photos"
        )
    file.seek(0)


def _directory(file: BinaryIO, name: str) -> tuple[int, int]:
    """Entries and bytes of the central directory, as the archive's end claims them."""
    length = file.seek(0, 2)
    start = max(0, length - _END.size - 0xFFFF - _LOCATOR.size - _END_64.size)
    file.seek(start)
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) < at + _END.size:
        raise InputError(f"{name} is not a ZIP archive, or it is cut off")
    entries, size = _END.unpack_from(tail, at)[4:6]
    if tail[max(0, at - _LOCATOR.size) : at].startswith(b"PK\x06\x07"):
        before = at - _LOCATOR.size - _END_64.size
        # The standard lets the wide record stand anywhere; readers disagree on which one counts.
        if _LOCATOR.unpack_from(tail, at - _LOCATOR.size)[2] != start + before or before < 0:
            raise InputError(f"{name} is not a readable ZIP archive: its index is misplaced")
        wide = _END_64.unpack_from(tail, before)
        entries, size = max(entries, wide[7]), max(size, wide[8])
    return entries, size


def _chosen(
    infos: list[zipfile.ZipInfo], limits: ArchiveLimits, name: str
) -> list[tuple[str, zipfile.ZipInfo]]:
    """The photos among the entries, by name, in natural order; every entry is judged."""
    if len(infos) > 3 * limits.photos:
        raise InputError(f"{name} lists {len(infos):,} entries; the limit is {3 * limits.photos:,}")
    chosen: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        member = _named(info)
        _check_path(member, info, name)
        if _is_junk(member):
            continue
        _check_kind(member, info, limits, name)
        if member in chosen:
            raise InputError(f"{name} holds two files named {member!r}")
        chosen[member] = info
    if not chosen:
        raise InputError(f"{name} holds no files")
    if len(chosen) > limits.photos:
        raise InputError(f"{name} holds {len(chosen):,} files; the limit is {limits.photos:,}")
    return sorted(chosen.items(), key=lambda item: natural_key(item[0]))


def _named(info: zipfile.ZipInfo) -> str:
    """The entry's name with `/` between folders, in composed Unicode.

    Without the UTF-8 flag the standard says code page 437, yet most programs that omit the flag
    write UTF-8, which other text hardly ever is by accident.
    """
    name = info.orig_filename
    if not info.flag_bits & _UTF_8:
        with suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return unicodedata.normalize("NFC", name.replace("\\", "/"))


def _check_path(member: str, info: zipfile.ZipInfo, name: str) -> None:
    """Names never become paths here; one that tries to be is still a sign of an attack."""
    reason = ""
    if not member or "\0" in member:
        reason = "has a name that no file can have"
    elif member.startswith("/") or re.match(r"[A-Za-z]:", member):
        reason = "has an absolute name"
    elif ".." in member.split("/"):
        reason = "leads out of the archive"
    elif stat.S_IFMT(info.external_attr >> 16) not in {0, stat.S_IFREG, stat.S_IFDIR}:
        reason = "is a link or a device, not a file"
    if reason:
        raise InputError(f"{name}: the entry {member!r} {reason}")


def _is_junk(member: str) -> bool:
    last = member.rsplit("/", 1)[-1]
    return (
        member.endswith("/")
        or member.startswith("__MACOSX/")
        or last.startswith("._")
        or last.casefold() in _JUNK
    )


def _check_kind(member: str, info: zipfile.ZipInfo, limits: ArchiveLimits, name: str) -> None:
    """Refuse, by the directory alone, what would be refused later at a higher price."""
    reason = ""
    if info.flag_bits & _ENCRYPTED:
        reason = "is encrypted; pack the photos without a password"
    elif info.compress_type not in _METHODS:
        reason = f"is packed by method {info.compress_type}; only stored and deflated are read"
    elif member.casefold().endswith(_PACKED_NAMES):
        reason = "is an archive inside the archive; pack the photos themselves"
    elif info.file_size > limits.member_bytes:
        reason = f"is {info.file_size:,} bytes; the limit is {limits.member_bytes:,}"
    if reason:
        raise InputError(f"{name}: {member!r} {reason}")


class _Budget:
    """Counts what really comes out, of one file and of the whole archive."""

    def __init__(self, name: str, limits: ArchiveLimits, packed: int) -> None:
        self._name = name
        self._limits = limits
        self._most = max(_RATIO_FROM, limits.ratio * packed)
        self._total = 0
        self._left = 0
        self.label = ""

    def member(self, member: str) -> _Budget:
        """Start counting a file."""
        self.label = f"{self._name}: {member!r}"
        self._left = self._limits.member_bytes
        return self

    def spend(self, count: int) -> None:
        """Count bytes that came out; InputError past a limit."""
        self._left -= count
        self._total += count
        if self._left < 0:
            raise InputError(f"{self.label} is over {self._limits.member_bytes:,} bytes unpacked")
        if self._total > self._limits.total_bytes:
            raise InputError(f"{self.label}: over {self._limits.total_bytes:,} bytes unpacked")
        if self._total > self._most:
            raise InputError(
                f"{self.label}: the archive unpacks to over {self._limits.ratio} times its size"
            )


def _extract(opened: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, budget: _Budget) -> None:
    """Stream one file out, counted."""
    with (
        opened.open(info) as packed,
        writing(path, f"unpacking {budget.label}"),
        path.open("xb") as out,
    ):
        chunk = packed.read(HEAD)
        if sniff(chunk) in ARCHIVES:
            raise InputError(f"{budget.label} is an archive inside the archive")
        while chunk:
            budget.spend(len(chunk))
            out.write(chunk)
            chunk = packed.read(_CHUNK)
