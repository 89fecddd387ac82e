"""The commands through a server: the same words, with `--server URL` before them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from understudy.cli.main import app
from understudy.testing.serving import Served

OPERATIONS = Path(__file__).with_name("operations_of_a_stranger.py")
KEY = "a-key-for-the-tests-of-the-command-line-0123"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that these tests share."""
    home = tmp_path_factory.mktemp("served") / "home"
    with Served(home, OPERATIONS, admin_key=KEY) as server:
        yield server


class Commands:
    """Command lines that know a server and its key, and no data of their own."""

    def __init__(self, url: str, home: Path) -> None:
        self.url = url
        self.home = home

    def __call__(self, *words: object) -> Result:
        """How a command ends."""
        line = ["--server", self.url, "--home", self.home, *words]
        result = CliRunner().invoke(app, [*map(str, line)], env={"UNDERSTUDY_KEY": KEY})
        assert not self.home.exists()
        return result

    def json(self, *words: object, code: int = 0) -> Any:
        """The JSON on stdout of a command that ends with `code`."""
        result = self(*words, "--json")
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)


@pytest.fixture
def there(served: Served, tmp_path: Path) -> Commands:
    """Command lines for the server."""
    return Commands(served.url, tmp_path / "no home")


def test_a_run_is_seen_through(there: Commands) -> None:
    """Its result is on stdout, how it went on stderr, and it can be shown and listed."""
    result = there("run", "count", "--set", "n=20", "--user", "ann")
    assert (result.exit_code, result.stdout) == (0, "total: 190\n")
    assert "count: succeeded" in result.stderr
    shown = there("runs", "show").stdout
    assert "total: 190" in shown
    assert "add#20" in shown
    seen = there.json("runs", "show")
    assert (seen["user"], len(seen["steps"])) == ("ann", 20)
    assert there.json("runs", "show", seen["id"]) == there.json("runs", "show", seen["id"][-8:])
    listed = there("runs", "ls", "--operation", "count").stdout
    assert seen["id"] in listed
    assert there.json("runs", "ls", "--limit", 1, "--status", "succeeded")[0]["id"] == seen["id"]


def test_photos_become_a_film(there: Commands, tmp_path: Path) -> None:
    """They are uploaded, and the film is downloaded to where `-o` says."""
    photos = []
    for number, colour in enumerate(["red", "green"]):
        photos.append(tmp_path / f"{number}.png")
        Image.new("RGB", (64, 64), colour).save(photos[-1])
    settings = ["--set", "size=64x64", "--set", "fps=30", "--set", "seconds_per_pair=0.2"]
    film = tmp_path / "film.mp4"
    result = there("run", "morph", *photos, *settings, "-o", film)
    assert (result.exit_code, result.stdout.strip()) == (0, str(film)), result.output
    assert film.read_bytes()[4:8] == b"ftyp"
    assert "film.mp4, video/mp4, 64x64, 0.20 s" in there("runs", "show").stdout


def test_what_a_run_made_is_saved(there: Commands, tmp_path: Path) -> None:
    """Several files into a folder, a result without files as JSON; else it says what is missing."""
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(name)
    both = ("run", "copy", tmp_path / "a.txt", tmp_path / "b.txt", "-o")
    out = tmp_path / "out"
    out.mkdir()
    assert there(*both, out).exit_code == 0
    assert sorted(path.name for path in out.iterdir()) == ["copy of a.txt", "copy of b.txt"]
    result = there(*both, tmp_path / "one")
    assert result.exit_code == 1
    assert "made 2 files; name a folder" in result.stderr
    assert there("run", "count", "--set", "n=3", "-o", tmp_path / "sum.json").exit_code == 0
    assert json.loads((tmp_path / "sum.json").read_text()) == {"total": 3}


def test_a_run_is_left_to_the_server(there: Commands) -> None:
    """Detached, told a signal, watched, canceled: each from another command."""
    run_id = there("run", "ask", "--detach").stdout.strip()
    assert there.json("emit", "answer", "--data", '{"text": "yes"}')["name"] == "answer"
    lines = there("runs", "watch", run_id, "--json").stdout.splitlines()
    assert json.loads(lines[-1])["output"] == {"text": "yes"}
    assert there("runs", "watch", run_id).stdout == "text: yes\n"
    waiting = there.json("run", "ask", "--detach")
    assert there("runs", "cancel", waiting["id"]).stdout == f"{waiting['id']} canceled\n"
    assert there.json("runs", "cancel", waiting["id"])["status"] == "canceled"
    late = there.json("run", "ask", "--detach", "--delay", "1h", "--idempotency-key", "late")
    assert there.json("run", "ask", "--detach", "--delay", "1h", "--idempotency-key", "late") == {
        **late,
        **{name: there.json("runs", "show", late["id"])[name] for name in ("waiting_for",)},
    }
    assert "0 waiting runs told" in there("emit", "nobody").stdout


def test_a_failure_says_how_to_go_on(there: Commands, tmp_path: Path) -> None:
    """With the same server, and never with the key; the retry goes on there."""
    gate = tmp_path / "gate"
    result = there("run", "gate", "--set", f"path={gate}")
    assert result.exit_code == 1
    assert f"--server {there.url} runs retry" in result.stderr
    assert KEY not in result.output
    assert "gate is missing" in there("runs", "ls", "--status", "failed").stdout
    failed = there.json("runs", "ls", "--status", "failed", "--operation", "gate")[0]
    assert there.json("runs", "watch", failed["id"], code=1)["status"] == "failed"
    assert there("runs", "retry", failed["id"], "--detach").stdout.startswith(failed["id"])
    assert there.json("runs", "watch", failed["id"], code=1)["status"] == "failed"
    gate.touch()
    assert there("runs", "retry", failed["id"]).stdout == "firsts: 1\n"


def test_who_leaves_is_told_how_to_come_back(there: Commands) -> None:
    """Ctrl-C ends the following and not the run, which goes on at the server."""
    line = ["env", f"UNDERSTUDY_KEY={KEY}", sys.executable, "-m", "understudy"]
    process = subprocess.Popen(
        [*line, "--server", there.url, "run", "ask"], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    run_id = process.stderr.readline().split()[0]
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 128 + signal.SIGINT
    assert f"understudy --server {there.url} runs watch {run_id}" in said
    assert not there.json("runs", "show", run_id)["done"]
    assert there.json("runs", "cancel", run_id)["status"] == "canceled"


def test_operations_are_the_servers(there: Commands) -> None:
    """A list, and one with its fields."""
    assert "Add up the numbers" in there("operations").stdout
    assert "count, version 1" in there("operations", "count").stdout
    assert there.json("operations", "count")["name"] == "count"
    assert "count" in [one["name"] for one in there.json("operations")]


def test_an_id_that_fits_several_runs(there: Commands) -> None:
    """It is not guessed which one was meant."""
    there("run", "count", "--set", "n=1", "--detach")
    there("run", "count", "--set", "n=1", "--detach")
    assert "give more of the id" in there.json("runs", "show", "run_", code=1)["error"]["message"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["run", "nothing"], "unknown_operation", "nothing"),
        (["run", "count"], "invalid_input", "n: Field required"),
        (["run", "count", "--set", "m=1"], "input", "--set m: no such field"),
        (["run", "copy", "missing.jpg"], "input", "missing.jpg: no such file"),
        (["run", "copy", "."], "input", ".: not a file"),
        (["run", "count", "--set", "n=1", "-o", "no/such/film"], "input", "there is no folder"),
        (["runs", "show", "zzz"], "not_found", "no run zzz"),
        (["top"], "config", "this works on a machine's own data"),
        (["migrate"], "config", "leave out --server"),
    ],
)
def test_what_is_wrong_is_said_with_its_code(
    there: Commands, words: list[str], code: str, message: str
) -> None:
    """Whoever found it: the same document, and the exit code of a failure."""
    error = there.json(*words, code=1)["error"]
    assert error["code"] == code
    assert message in error["message"]


def test_who_has_no_key_is_told_how_to_give_one(served: Served) -> None:
    """The server's word, and the options of this command."""
    line = ["--server", served.url, "operations"]
    result = CliRunner().invoke(app, line)
    assert result.exit_code == 1
    assert "give a key with UNDERSTUDY_KEY or --key" in result.stderr
    assert CliRunner().invoke(app, ["--key", KEY, *line]).exit_code == 0


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    """One clear line after some tries, and nothing made at home."""
    nowhere = Commands("ftp://127.0.0.1", tmp_path / "no home")
    assert nowhere.json("runs", "ls", code=1)["error"]["code"] == "input"
