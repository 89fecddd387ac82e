"""Where the ffmpeg program is, and whether it can do what the house asks of it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

import imageio_ffmpeg

from understudy.errors import ConfigError

# Listing (the option that prints it) -> what must stand in it.
_NEEDED: Final = {
    "-encoders": ("libx264", "aac"),
    "-demuxers": ("concat", "rawvideo"),
    "-muxers": ("mp4",),
}


def find_ffmpeg(configured: str = "") -> Path:
    """The ffmpeg to use: the `configured` one, else the installed wheel's, else the system's.

    `configured` is a path, or a name looked up in the search path.
    Raises `ConfigError`, which says how to fix it, when there is none.
    """
    if configured:
        found = shutil.which(str(Path(configured).expanduser()))
        if found is None:
            raise ConfigError(
                f"no program at {configured!r}: set UNDERSTUDY_FFMPEG to the path of an ffmpeg, "
                "or unset it to use the one that comes with the package"
            )
        return Path(found).absolute()
    try:
        return Path(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise ConfigError(
            "no ffmpeg found: run `pip install imageio-ffmpeg`, install ffmpeg with your system's "
            "package manager, or set UNDERSTUDY_FFMPEG to its path"
        ) from error


def check_ffmpeg(path: Path) -> list[str]:
    """What this ffmpeg lacks, in words; an empty list means that it can do everything needed."""
    missing: list[str] = []
    for listing, names in _NEEDED.items():
        try:
            present = _listed(path, listing)
        except (OSError, subprocess.SubprocessError) as error:
            return [f"a program that runs ({error})"]
        missing += [f"{name} ({listing.strip('-')})" for name in names if name not in present]
    return missing


def _listed(path: Path, listing: str) -> set[str]:
    """The names in one of ffmpeg's listings: ` V....D libx264  description`."""
    printed = subprocess.run(  # noqa: S603 - the configured program itself
        [path, "-hide_banner", listing],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=True,
        timeout=20,
    ).stdout
    return {
        name
        for line in printed.splitlines()
        if len(words := line.split()) > 1
        for name in words[1].split(",")
    }
