"""`backup` and `restore`, as a person types them, and as real processes."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from understudy.cli import live

OPERATIONS = Path(__file__).with_name("operations_of_a_stranger.py")

Typed = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def typed(tmp_path: Path) -> Typed:
    """Runs a command line as a process, in a home of that name."""

    def run(home: str, *words: object, code: int = 0) -> subprocess.CompletedProcess[str]:
        line = ["--home", tmp_path / home, "--load", OPERATIONS, *words]
        command = [sys.executable, "-m", "understudy", *map(str, line)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == code, (done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done

    return run


def test_a_killed_run_ends_in_the_restored_home(typed: Typed, tmp_path: Path) -> None:
    """After kill -9: backup, restore elsewhere, resume: each finished step has run once."""
    log, file = tmp_path / "log", tmp_path / "backup.zip"
    killing = ["--set", f"log={log}", "--set", f"signal={signal.SIGKILL}", "--set", "at=12"]
    typed("old", "run", "count", "--set", "n=20", *killing, code=-signal.SIGKILL)
    assert typed("old", "backup", file).stdout == "backed up: 1 runs, 12 steps, 0 files (0 B)\n"
    # A home that was only looked into is as good as none.
    typed("new", "runs", "ls")
    assert typed("new", "restore", file).stdout.startswith("restored: 1 runs, 12 steps")
    (run,) = json.loads(typed("new", "runs", "resume", "--json").stdout)
    assert run["output"] == {"total": 190}
    numbers = [int(line) for line in log.read_text().split()]
    assert sorted(numbers) == sorted([*range(20), 12])


def test_what_is_said_as_json(understudy: Any, tmp_path: Path) -> None:
    """One document: where, how many rows of what, how many bytes; errors in the same form."""
    file = tmp_path / "backup.zip"
    understudy("run", "count", "--set", "n=3")
    said = understudy.json("backup", file)
    assert (said["file"], said["done"], said["rows"]["steps"]) == (str(file), "backed up", 3)
    again = understudy.json("backup", file, code=1)
    assert (again["error"]["code"], again["error"]["category"]) == ("input", "input")
    understudy.home = tmp_path / "new"
    checked = understudy.json("restore", file, "--check")
    assert (checked["done"], checked["rows"]) == ("sound", said["rows"])
    assert not understudy.home.exists()
    assert understudy.json("restore", file)["done"] == "restored"
    assert understudy.json("runs", "show")["output"] == {"total": 3}
    assert understudy.json("restore", file, code=1)["error"]["code"] == "conflict"
    (tmp_path / "text").write_text("no zip")
    result = understudy("restore", tmp_path / "text")
    assert result.exit_code == 1
    assert "is no backup" in result.stderr


def test_missing_files_are_told(understudy: Any, tmp_path: Path) -> None:
    """Whoever restores later should have heard of it when there was still time."""
    photos = tmp_path / "photo.txt"
    photos.write_text("x")
    understudy("run", "morph", photos, "--detach")
    stored = [path for path in (understudy.home / "artifacts").rglob("*") if path.is_file()]
    for path in stored:
        path.unlink()
    result = understudy("backup", tmp_path / "backup.zip")
    assert stored
    assert f"{len(stored)} files were gone or damaged" in result.stderr


def test_counting_that_comes_often(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bar on a terminal; elsewhere some twenty lines, however often it is told."""
    with live.counting_to("saved") as tell:
        for done in range(1001):
            tell(done, 1000)
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "saved: 1000 of 1000"
    assert len(lines) == 20
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True)
    monkeypatch.setattr(live, "Console", lambda **_: console)
    with live.counting_to("saved") as tell:
        tell(5, 10)
    assert "5/10" in screen.getvalue()
