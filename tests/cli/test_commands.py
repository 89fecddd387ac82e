"""The commands against the real app: a real database, real files, a user's own operations."""

from __future__ import annotations

import json
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from understudy.cli.emit import signal_data
from understudy.cli.main import app
from understudy.errors import InputError

Understudy = Callable[..., Result]


def document(result: Result, code: int = 0) -> Any:
    """The JSON on stdout of a command that ended with `code`."""
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def test_a_stranger_s_operation_runs(understudy: Understudy) -> None:
    """The whole run comes out as one JSON document, with the promised fields."""
    run = document(understudy("run", "count", "--set", "n=20", "--json"))
    promised = ["id", "operation", "status", "done", "input", "output", "error", "steps"]
    assert [name for name in promised if name in run] == promised
    assert {"created_at", "ended_at"} <= run.keys()
    assert (run["status"], run["done"], run["output"]) == ("succeeded", True, {"total": 190})
    assert len(run["steps"]) == 20


def test_a_result_is_said_in_plain_words(understudy: Understudy) -> None:
    """Stdout has the result alone; how it went is on stderr."""
    result = understudy("run", "count", "--set", "n=3")
    assert result.stdout == "total: 3\n"
    assert "count: succeeded" in result.stderr


def test_photos_become_a_film(understudy: Understudy, tmp_path: Path) -> None:
    """From files to a saved MP4, with nothing else in the folder; the run can be looked at."""
    photos = []
    for number, colour in enumerate(["red", "green"]):
        photos.append(tmp_path / f"{number}.png")
        Image.new("RGB", (64, 64), colour).save(photos[-1])
    out = tmp_path / "out"
    out.mkdir()
    film = out / "film.mp4"
    settings = ["--set", "size=64x64", "--set", "fps=30", "--set", "seconds_per_pair=0.2"]
    result = understudy("run", "morph", *photos, *settings, "-o", film)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(film)
    assert film.read_bytes()[4:8] == b"ftyp"
    assert list(out.iterdir()) == [film]
    shown = understudy("runs", "show").stdout
    assert "film.mp4, video/mp4, 64x64, 0.20 s" in shown
    assert "pair[0]" in shown


def test_a_bad_photo_leaves_nothing(understudy: Understudy, tmp_path: Path) -> None:
    """The error names the file, with no retry, which cannot mend it, and no output file."""
    good, bad = tmp_path / "a.png", tmp_path / "b\x1b[31m.png"
    Image.new("RGB", (64, 64)).save(good)
    bad.write_bytes(b"this is no image")
    result = understudy("run", "morph", good, bad, "--set", "size=64x64", "-o", tmp_path / "f.mp4")
    assert result.exit_code == 1
    assert "b\\x1b[31m.png" in result.stderr or "b[31m.png" in result.stderr
    assert "\x1b" not in result.output
    assert "runs retry" not in result.stderr
    assert not list(tmp_path.glob("*.mp4"))
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (
            ["run", "nothing"],
            "unknown_operation",
            "known: ask, copy, count, deliver-webhook, erase-user, gate, morph, retention, stay",
        ),
        (["run", "count"], "invalid_input", "count: n: Field required"),
        (["run", "count", "--set", "n=x"], "invalid_input", "n: Input should be a valid integer"),
        (["run", "count", "--set", "m=1"], "input", "--set m: no such field"),
        (["run", "copy", "missing.jpg"], "input", "missing.jpg: no such file"),
        (["run", "copy", "."], "input", ".: not a file"),
        (["run", "count", "--set", "n=1", "-o", "no/such/film"], "input", "there is no folder"),
        (["runs", "show", "zzz"], "not_found", "no run zzz"),
        (["emit", "x", "--data", "{"], "input", "--data: not JSON"),
        (["emit", "x", "--data", "@missing"], "input", "missing: cannot read it"),
    ],
)
def test_what_is_wrong_is_said_with_its_code(
    understudy: Understudy, words: list[str], code: str, message: str
) -> None:
    """Bad input ends at once with a typed error: nothing is submitted."""
    error = document(understudy(*words, "--json"), code=1)["error"]
    assert (error["code"], error["category"]) == (code, "input")
    assert message in error["message"]
    assert document(understudy("runs", "ls", "--json")) == []


@pytest.mark.parametrize(
    "words",
    [
        ["run", "count", "--detach", "-o", "x"],
        ["runs", "resume", "-o", "x"],
        ["runs", "cancel"],
        ["fly"],
    ],
)
def test_a_command_that_is_typed_wrong_ends_with_two(
    understudy: Understudy, words: list[str]
) -> None:
    """What makes no sense is told before anything is opened."""
    assert understudy(*words).exit_code == 2


def test_a_run_is_left_listed_canceled_and_retried(understudy: Understudy) -> None:
    """Detached work waits in the list; cancelled work can be taken up again."""
    run_id = understudy("run", "count", "--set", "n=2", "--detach").stdout.strip()
    listed = document(understudy("runs", "ls", "--status", "queued", "--json"))
    assert [run["id"] for run in listed] == [run_id]
    assert run_id in understudy("runs", "ls").stdout
    assert understudy("runs", "cancel", run_id[-6:]).stdout == f"{run_id} canceled\n"
    assert document(understudy("runs", "watch", "--json"), code=1)["status"] == "canceled"
    assert "was canceled" in understudy("runs", "resume", run_id).stderr
    assert understudy("runs", "retry", run_id, "--detach").stdout == f"{run_id} queued\n"
    assert document(understudy("runs", "resume", "--json"))[0]["output"] == {"total": 1}
    assert understudy("runs", "resume").stdout == "nothing is unfinished\n"
    assert understudy("runs", "retry", run_id).exit_code == 1


def test_a_failed_run_goes_on_from_what_it_knows(understudy: Understudy, tmp_path: Path) -> None:
    """The failure is told without a stranger's escapes, with the command that goes on."""
    key = tmp_path / "key"
    result = understudy("run", "gate", "--set", f"path={key}")
    assert result.exit_code == 1
    assert "failed in step look: \\x1b[31mkey is missing" in result.stderr
    assert "runs retry run_" in result.stderr
    run = document(understudy("runs", "show", "--json"))
    assert run["id"] in result.stderr
    assert run["error"]["step"] == "look"
    assert "error    internal: " in understudy("runs", "show").stdout
    assert "\\x1b[31mkey" in understudy("runs", "ls").stdout
    key.touch()
    assert understudy("runs", "retry", run["id"]).stdout == "firsts: 1\n"
    assert understudy("runs", "watch").stdout == "firsts: 1\n"
    assert understudy("runs", "resume", run["id"]).stdout == "firsts: 1\n"


def test_a_waiting_run_is_told_and_goes_on(understudy: Understudy, tmp_path: Path) -> None:
    """`resume` leaves a run that waits for the world; after the signal it ends."""
    understudy("run", "ask", "--detach")
    left = understudy("runs", "resume")
    assert left.exit_code == 0
    assert "waiting for the signal 'answer'" in left.stdout
    assert "waits    for the signal 'answer'" in understudy("runs", "show").stdout
    answer = tmp_path / "answer.json"
    answer.write_text('{"text": "yes"}')
    assert understudy("emit", "answer", "--data", f"@{answer}").stdout == "1 waiting run told\n"
    assert document(understudy("runs", "resume", "--json"))[0]["output"] == {"text": "yes"}
    assert document(understudy("emit", "answer", "--json")) == {"name": "answer", "woken": 0}


def test_a_signal_s_data_is_json_or_a_file_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file may be named with or without @; what parses as JSON is JSON, whatever files exist."""
    monkeypatch.chdir(tmp_path)
    Path("answer.json").write_text('{"text": "from a file"}')
    Path("7").write_text('"from a file"')
    Path("words").write_text("no json")
    assert signal_data("answer.json") == signal_data("@answer.json") == {"text": "from a file"}
    assert signal_data("7") == 7
    assert signal_data("@7") == "from a file"
    with pytest.raises(InputError, match=r"^words: not JSON: "):
        signal_data("words")
    for neither in ("", ".", "{" * 5000, "\0"):
        with pytest.raises(InputError, match=r"^--data: not JSON, nor a file: "):
            signal_data(neither)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_says_how_to_go_on_and_does(
    understudy: Understudy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
) -> None:
    """Ctrl-C hands the run back; the command it names finishes it, and repeats no finished step."""
    monkeypatch.setenv("UNDERSTUDY_DRAIN_SECONDS", "0")
    log, out = tmp_path / "log", tmp_path / "out.json"
    words = ["--set", "n=6", "--set", f"log={log}", "--set", f"signal={number}", "--set", "at=3"]
    stopped = understudy("run", "count", *words, "-o", out)
    assert stopped.exit_code == 128 + number
    assert not out.exists()
    hint = stopped.stderr.strip().splitlines()[-1].partition("resume with: ")[2].split()
    assert hint[:2] == ["understudy", "--home"]
    resumed = CliRunner().invoke(app, hint[1:])
    assert resumed.exit_code == 0, resumed.output
    assert json.loads(out.read_text()) == {"total": 15}
    assert sorted(log.read_text().split()) == ["0", "1", "2", "3", "3", "4", "5"]


def test_runs_whose_code_is_missing_are_named(tmp_path: Path, understudy: Understudy) -> None:
    """Without its file an operation cannot go on; the list says so and the exit code is 1."""
    understudy("run", "count", "--set", "n=1", "--detach")
    result = CliRunner().invoke(app, ["--home", str(tmp_path / "home"), "runs", "resume"])
    assert result.exit_code == 1
    assert "no operation 'count' here: name its file with --load" in result.stdout


def test_what_several_files_need_is_a_folder(understudy: Understudy, tmp_path: Path) -> None:
    """Two results cannot be one file: the error says so, and the files are kept."""
    one, two = tmp_path / "1.txt", tmp_path / "2.txt"
    one.write_text("one")
    two.write_text("two")
    folder = tmp_path / "folder"
    folder.mkdir()
    refused = understudy("run", "copy", one, two, "-o", tmp_path / "out")
    assert refused.exit_code == 1
    assert "made 2 files; name a folder" in refused.stderr
    assert understudy("run", "copy", one, two, "-o", folder).exit_code == 0
    assert (folder / "copy of 1.txt").read_text() == "one"
    assert (folder / "copy of 2.txt").read_text() == "two"


def test_operations_are_listed_and_explained(understudy: Understudy) -> None:
    """Each has a line; one in full has its fields, its needs and its examples."""
    listed = understudy("operations").stdout
    assert "count" in listed
    assert "Add up the numbers below n" in listed
    assert [one["name"] for one in document(understudy("operations", "--json"))][-1] == "stay"
    shown = understudy("operations", "morph").stdout
    assert "list of file" in shown
    assert "needs: Film, Artifacts" in shown
    assert "example two photos:" in shown
    assert document(understudy("operations", "copy", "--json"))["needs"] == {"files": "Artifacts"}


def test_doctor_finds_a_sound_house(understudy: Understudy) -> None:
    """Each check is a row, and all are well here."""
    checks = document(understudy("doctor", "--json"))
    assert {"python", "database", "ffmpeg", "worker"} <= {check["name"] for check in checks}
    assert all(check["ok"] for check in checks)
    assert understudy("doctor").stdout.count("ok ") >= len(checks)


def test_doctor_says_what_is_wrong_and_how_to_mend_it(
    understudy: Understudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong setting shows as a failed check with its fix, and in the exit code."""
    monkeypatch.setenv("UNDERSTUDY_FFMPEG", str(tmp_path / "missing"))
    result = understudy("doctor")
    assert result.exit_code == 1
    assert "failed" in result.stdout
    assert "ffmpeg: " in result.stderr


def test_migrate_brings_a_database_up_to_date(understudy: Understudy, tmp_path: Path) -> None:
    """The first time from nothing, then never again; one of the future is refused."""
    done = document(understudy("migrate", "--json"))
    assert done["from"] is None
    assert done["applied"][-1] == done["to"]
    assert understudy("migrate").stdout == f"{done['to']}: up to date\n"
    connection = sqlite3.connect(tmp_path / "home" / "understudy.db")
    connection.execute("UPDATE alembic_version SET version_num = '9999_future'")
    connection.commit()
    connection.close()
    assert document(understudy("migrate", "--json"), code=1)["error"]["code"] == "schema_too_new"
    assert document(understudy("runs", "ls", "--json"), code=1)["error"]["code"] == "schema_too_new"
