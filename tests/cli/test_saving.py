"""`-o` writes a whole file or none."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from understudy.cli.saving import check_target, save_file, save_text
from understudy.errors import InputError, StorageError, StorageFull


def names_in(folder: Path) -> list[str]:
    """What a folder holds."""
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_copied_and_replaced_in_one_move(tmp_path: Path) -> None:
    """The result replaces what was there, and nothing else is left in the folder."""
    source, target = tmp_path / "source", tmp_path / "out" / "film.mp4"
    target.parent.mkdir()
    source.write_bytes(b"new")
    target.write_bytes(b"old")
    assert save_file(source, "ignored.mp4", target) == target
    assert target.read_bytes() == b"new"
    assert names_in(target.parent) == ["film.mp4"]


@pytest.mark.parametrize(
    ("name", "saved"),
    [("film.mp4", "film.mp4"), ("../../evil", "evil"), ("a\\b.mp4", "b.mp4"), ("..", "result")],
)
def test_a_folder_takes_the_file_under_its_name(tmp_path: Path, name: str, saved: str) -> None:
    """Only the last part of a stored name is used, so that none leads out of the folder."""
    source, folder = tmp_path / "source", tmp_path / "folder"
    source.write_bytes(b"film")
    folder.mkdir()
    assert save_file(source, name, folder) == folder / saved
    assert names_in(folder) == [saved]


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.ENOSPC, StorageFull), (errno.EIO, StorageError)]
)
def test_a_failed_copy_leaves_the_old_file_and_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[StorageError]
) -> None:
    """When the disk is full in the middle, what was there before is still whole."""

    def half(source: Path, partial: Path) -> None:
        partial.write_bytes(b"ne")
        raise OSError(number, os.strerror(number))

    source, target = tmp_path / "source", tmp_path / "out" / "film.mp4"
    target.parent.mkdir()
    target.write_bytes(b"old")
    monkeypatch.setattr(shutil, "copyfile", half)
    with pytest.raises(StorageError, match=os.strerror(number)) as caught:
        save_file(source, "film.mp4", target)
    assert type(caught.value) is kind
    assert target.read_bytes() == b"old"
    assert names_in(target.parent) == ["film.mp4"]


def test_text_is_written_whole(tmp_path: Path) -> None:
    """An output without files is saved as its JSON."""
    assert save_text("{}\n", tmp_path / "out.json").read_text() == "{}\n"
    with pytest.raises(StorageError, match="No such file"):
        save_text("{}", tmp_path / "missing" / "out.json")


def test_a_target_is_checked_without_a_trace(tmp_path: Path) -> None:
    """The check before the work leaves neither a file nor a change behind."""
    check_target(tmp_path / "film.mp4")
    check_target(tmp_path)
    assert names_in(tmp_path) == []


def test_an_impossible_target_is_refused_at_once(tmp_path: Path) -> None:
    """No folder, no file and no permission are all told before hours of work."""
    with pytest.raises(InputError, match="there is no folder"):
        check_target(tmp_path / "missing" / "film.mp4")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="not a file or a folder"):
        check_target(tmp_path / "pipe")


def test_an_unwritable_folder_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's own reason is passed on; root may write anywhere, so it is played here."""

    def refused(path: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "touch", refused)
    with pytest.raises(InputError, match="cannot write there: Permission denied"):
        check_target(tmp_path / "film.mp4")
