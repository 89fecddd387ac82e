from __future__ import annotations

from pathlib import Path

import imageio_ffmpeg
import pytest

from understudy.errors import ConfigError
from understudy.media.ffmpeg import check_ffmpeg, find_ffmpeg


def program(folder: Path, script: str) -> Path:
    path = folder / "ffmpeg"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_the_wheels_ffmpeg_is_found_and_complete() -> None:
    """Without any configuration there is an ffmpeg that can do everything needed."""
    assert check_ffmpeg(find_ffmpeg()) == []


def test_configured_path_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A configured path, or a name in the search path, is used and made absolute."""
    path = program(tmp_path, "exit 0")
    assert find_ffmpeg(str(path)) == path
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_ffmpeg("ffmpeg") == path


def test_configured_path_must_be_a_program(tmp_path: Path) -> None:
    """A configured path that is no program says so and how to fix it; nothing else is tried."""
    plain = tmp_path / "notes.txt"
    plain.write_text("no")
    for wrong in (tmp_path / "gone", plain):
        with pytest.raises(ConfigError, match="UNDERSTUDY_FFMPEG"):
            find_ffmpeg(str(wrong))


def test_no_ffmpeg_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """With no ffmpeg anywhere the error says what to install."""

    def none() -> str:
        raise RuntimeError("No ffmpeg exe could be found.")

    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", none)
    with pytest.raises(ConfigError, match="pip install imageio-ffmpeg"):
        find_ffmpeg()


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    """An ffmpeg built without an encoder is told apart from a good one."""
    listings = (
        'case "$2" in -encoders) echo " A....D aac  AAC";; *) echo " D concat,rawvideo x";; esac'
    )
    assert check_ffmpeg(program(tmp_path, listings)) == ["libx264 (encoders)", "mp4 (muxers)"]


@pytest.mark.parametrize("script", ["exit 3", "kill -9 $$"])
def test_a_program_that_fails(tmp_path: Path, script: str) -> None:
    """A program that cannot run is the one thing that is missing."""
    (missing,) = check_ffmpeg(program(tmp_path, script))
    assert missing.startswith("a program that runs")


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    """A path without a program is reported, not raised."""
    (missing,) = check_ffmpeg(tmp_path / "gone")
    assert missing.startswith("a program that runs")
