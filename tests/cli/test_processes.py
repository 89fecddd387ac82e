"""Several processes on one database, and processes that are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

OPERATIONS = Path(__file__).with_name("operations_of_a_stranger.py")


class Terminal:
    """Starts command lines on one home, and ends what is left of them."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._started: list[subprocess.Popen[str]] = []

    def start(self, *words: object, load: bool = True) -> subprocess.Popen[str]:
        """A running command; its output can be read while it runs."""
        loading = ["--load", str(OPERATIONS)] if load else []
        line = [sys.executable, "-m", "understudy", "--home", str(self._home), *loading]
        process = subprocess.Popen(
            [*line, *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._started.append(process)
        return process

    def run(self, *words: object) -> tuple[int, str, str]:
        """A command from start to end: exit code, stdout, stderr."""
        process = self.start(*words)
        out, err = process.communicate()
        return process.returncode, out, err

    def close(self) -> None:
        """Kill what still runs."""
        for process in self._started:
            process.kill()
            process.communicate()


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """A terminal in a home of its own."""
    opened = Terminal(tmp_path / "home")
    yield opened
    opened.close()


def doors(tmp_path: Path) -> tuple[list[Any], Path, Path]:
    """`run stay` with two named pipes: one tells that it runs, one ends it."""
    opened, closing = tmp_path / "opened", tmp_path / "closing"
    os.mkfifo(opened)
    os.mkfifo(closing)
    words = ["run", "stay", "--set", f"opened={opened}", "--set", f"closing={closing}"]
    return words, opened, closing


def line_with(text: str, process: subprocess.Popen[str]) -> str:
    """The next line on the process's stderr that has the text."""
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return line
    raise AssertionError(f"{text!r} was never said")


def test_a_killed_process_loses_nothing(terminal: Terminal, tmp_path: Path) -> None:
    """After kill -9 in the middle, `runs resume` ends the run and repeats no finished step."""
    log = tmp_path / "log"
    killing = ["--set", f"log={log}", "--set", f"signal={signal.SIGKILL}", "--set", "at=120"]
    assert terminal.run("run", "count", "--set", "n=200", *killing)[0] == -signal.SIGKILL
    code, out, _ = terminal.run("runs", "resume", "--json")
    assert code == 0
    assert json.loads(out)[0]["output"] == {"total": 19_900}
    numbers = [int(line) for line in log.read_text().split()]
    assert sorted(numbers) == sorted([*range(200), 120])


def test_a_second_process_hands_its_work_to_the_first(terminal: Terminal, tmp_path: Path) -> None:
    """It says who works, submits, follows, and prints the result as if it had worked itself."""
    words, opened, closing = doors(tmp_path)
    first = terminal.start(*words)
    assert opened.read_text() == "in"
    code, out, err = terminal.run("run", "count", "--set", "n=4")
    assert (code, out) == (0, "total: 6\n")
    assert f"process {first.pid}" in err
    assert "taking over when it ends" in err
    closing.write_text("end")
    assert first.communicate()[0] == "firsts: 3\n"


def test_looking_signalling_and_cancelling_need_no_worker(
    terminal: Terminal, tmp_path: Path
) -> None:
    """While one process works, another lists, signals, and cancels what the first one runs."""
    words, opened, _ = doors(tmp_path)
    first = terminal.start(*words[:-2], "--json")
    assert opened.read_text() == "in"
    assert "stay" in terminal.run("runs", "ls")[1]
    assert terminal.run("emit", "answer")[1] == "0 waiting runs told\n"
    assert "process" in json.loads(terminal.run("doctor", "--json")[1])[-2]["detail"]
    resumed = terminal.run("runs", "resume", "--json")
    assert json.loads(resumed[1])["error"]["code"] == "worker_held"
    run_id = json.loads(terminal.run("runs", "show", "--json")[1])["id"]
    canceling = terminal.start("runs", "cancel", run_id)
    assert canceling.communicate()[0] == f"{run_id} canceled\n"
    assert json.loads(first.communicate()[0])["status"] == "canceled"
    assert first.returncode == 1


def test_the_follower_takes_over_from_a_dead_worker(terminal: Terminal, tmp_path: Path) -> None:
    """When the process that works is killed, the one that follows drives its run to the end."""
    words, opened, _ = doors(tmp_path)
    first = terminal.start(*words)
    assert opened.read_text() == "in"
    # The first process could drive this one as well; this one is held up until the first is dead.
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    second = terminal.start("run", "stay", "--set", f"opened={gate}", "--set", f"closing={gate}")
    line_with("taking over when it ends", second)
    first.kill()
    first.wait()
    assert gate.read_text() == "in"
    gate.write_text("end")
    assert second.communicate()[0] == "firsts: 3\n"


@pytest.mark.parametrize("command", ["resume", "retry"])
def test_an_older_run_waits_for_the_first_process_to_end(
    terminal: Terminal, tmp_path: Path, command: str
) -> None:
    """Nobody is told that it runs elsewhere: it stays queued, and goes on once the lock is free."""
    older = terminal.run("run", "count", "--set", "n=4", "--detach")[1].strip()
    if command == "retry":
        terminal.run("runs", "cancel", older)
    words, opened, closing = doors(tmp_path)
    first = terminal.start(*words)
    assert opened.read_text() == "in"
    second = terminal.start("runs", command, older)
    said = line_with(f"process {first.pid}", second)
    assert said.endswith("; following, and taking over when it ends\n")
    closing.write_text("end")
    assert first.communicate()[0] == "firsts: 3\n"
    assert second.communicate()[0] == "total: 6\n"


def test_resuming_everything_can_be_stopped_and_gone_on_with(
    terminal: Terminal, tmp_path: Path
) -> None:
    """Ctrl-C in `runs resume` ends without a traceback, and names the command that goes on."""
    words, opened, closing = doors(tmp_path)
    terminal.run(*words, "--detach")
    resuming = terminal.start("runs", "resume")
    assert opened.read_text() == "in"
    line_with("running", resuming)
    resuming.send_signal(signal.SIGINT)
    closing.write_text("")  # the step may finish
    err = resuming.communicate()[1]
    assert resuming.returncode == 128 + signal.SIGINT
    assert "never retrieved" not in err
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("the runs are kept; resume with: understudy --home ")
    assert err.endswith(" runs resume\n")


def test_a_bare_help_loads_nothing_heavy() -> None:
    """`--help` answers at once: neither pictures nor the database are imported for it."""
    program = (
        "import sys, understudy.cli.main; heavy = {'alembic', 'cv2', 'numpy', 'pydantic_settings',"
        " 'sqlalchemy', 'structlog'}; print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    assert done.stdout.strip() == b"[]"


def test_the_package_runs_as_a_module(terminal: Terminal) -> None:
    """`python -m understudy` is the command line, with its version and its errors."""
    assert terminal.run("--version")[1].startswith("understudy ")
    code, _, err = terminal.run("fly")
    assert code == 2
    assert "No such command 'fly'" in err
    assert "Traceback" not in err
