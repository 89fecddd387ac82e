"""What somebody outside sees of the real command: processes, signals, full and read-only disks."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

import understudy
from understudy.cli.main import app

NOBODY = 65_534
PATIENCE = 60.0

# The operation of the design, with a plain or an async step; `SIDE_EFFECTS` gets a line a step and
# `KILL_AT` ends the process inside that step, once.
MY_OPS = """
    import os, signal
    from pydantic import BaseModel
    from understudy import Context, operation

    class Count(BaseModel):
        n: int

    class Counted(BaseModel):
        total: int

    {define} add(i: int) -> int:
        path = os.environ.get("SIDE_EFFECTS")
        if path:
            first = not os.path.exists(path) or str(i) not in open(path).read().split()
            with open(path, "a") as log:
                log.write("%d\\n" % i)
            if first and str(i) == os.environ.get("KILL_AT"):
                os.kill(os.getpid(), signal.SIGKILL)
        return i

    @operation("count", version=1)
    async def count(ctx: Context, input: Count) -> Counted:
        total = 0
        for i in range(input.n):
            total += await ctx.step("add", add, i)
        return Counted(total=total)

    class Question(BaseModel):
        pass

    class Asked(BaseModel):
        text: str

    @operation("ask")
    async def ask(ctx: Context, input: Question) -> Asked:
        ctx.progress(0, 1, "asking")
        return Asked(text=(await ctx.wait("answer"))["text"])
"""


@dataclasses.dataclass(frozen=True)
class Shell:
    """A command line of one home and one file of operations."""

    home: Path
    operations: Path
    environment: dict[str, str]

    def start(self, *words: object, limit: int | None = None) -> subprocess.Popen[str]:
        """A process, its output read by the test; `limit` is the largest file it may write."""
        command = ["--home", self.home, "--load", self.operations, *words]
        process = subprocess.Popen(
            [sys.executable, "-m", "understudy", *map(str, command)],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if limit is not None:
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, limit))
        return process

    def run(self, *words: object, code: int = 0, limit: int | None = None) -> tuple[str, str]:
        """What a command prints on stdout and stderr, once it has ended with `code`."""
        return ended(self.start(*words, limit=limit), code)


def ended(process: subprocess.Popen[str], code: int) -> tuple[str, str]:
    """Wait for a process; it ends with `code` and shows no traceback."""
    try:
        out, err = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode == code, (out, err)
    assert "Traceback" not in out + err
    return out, err


@pytest.fixture(params=["def", "async def"])
def shell(tmp_path: Path, request: pytest.FixtureRequest) -> Shell:
    """A home that does not exist yet, and an operation with plain steps or async ones."""
    return made(tmp_path, request.param)


@pytest.fixture
def home(tmp_path: Path) -> Shell:
    """The same with async steps."""
    return made(tmp_path, "async def")


def made(folder: Path, define: str) -> Shell:
    """A shell whose files are in a folder."""
    operations = folder / "my_ops.py"
    operations.write_text(textwrap.dedent(MY_OPS).format(define=define))
    sources = str(Path(understudy.__file__).parents[1])
    return Shell(folder / "home", operations, os.environ | {"PYTHONPATH": sources})


def test_the_file_of_an_outsider_works_unchanged(shell: Shell) -> None:
    """A thousand steps come out as one JSON document with the promised fields."""
    out, _ = shell.run("run", "count", "--set", "n=1000", "--json")
    run = json.loads(out)
    promised = "id, operation, status, done, input, output, error, steps, created_at, ended_at"
    assert set(promised.split(", ")) <= run.keys()
    assert (run["operation"], run["status"], run["done"]) == ("count", "succeeded", True)
    assert (run["input"], run["output"], run["error"]) == ({"n": 1000}, {"total": 499_500}, None)
    assert len(run["steps"]) == 1000


def test_what_was_killed_half_way_is_resumed(shell: Shell, tmp_path: Path) -> None:
    """Only the step that was running when the process died runs again."""
    log = tmp_path / "log"
    shell.environment.update(SIDE_EFFECTS=str(log), KILL_AT="250")
    shell.run("run", "count", "--set", "n=500", "--json", code=-signal.SIGKILL)
    out, _ = shell.run("runs", "resume", "--json")
    assert [(run["status"], run["output"]["total"]) for run in json.loads(out)] == [
        ("succeeded", 124_750)
    ]
    done = [int(line) for line in log.read_text().split()]
    assert sorted([*range(500), 250]) == sorted(done)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_command_says_how_to_go_on(home: Shell, number: int, code: int) -> None:
    """The hint is a command that works: another process, given the answer, finishes the run."""
    process = home.start("run", "ask")
    said = until_it_says(process, "waiting")
    process.send_signal(number)
    _, err = ended(process, code)
    hint = next(line for line in (said + err).splitlines() if "resume with: " in line)
    words = hint.partition("resume with: understudy ")[2].split()
    home.run("emit", "answer", "--data", '{"text": "yes"}')
    command = [sys.executable, "-m", "understudy", *words]
    resumed = subprocess.run(
        command, env=home.environment, check=True, capture_output=True, text=True, timeout=PATIENCE
    )
    assert "yes" in resumed.stdout


def test_a_second_process_is_told_who_works_and_can_do_the_rest(home: Shell) -> None:
    """While one process works, another reads, submits, signals and cancels, and is heard."""
    worker = home.start("run", "ask")
    said = until_it_says(worker, "waiting")
    try:
        first = said.split()[0]
        _, err = home.run("runs", "resume", code=1)
        assert f"process {worker.pid}" in err
        assert first in home.run("runs", "ls")[0]
        submitted = home.run("run", "count", "--set", "n=3", "--detach")[0].strip()
        follower = home.start("runs", "watch", submitted)
        ended(follower, 0)
        doomed = home.run("run", "ask", "--detach")[0].strip()
        home.run("runs", "cancel", doomed)
        shown = json.loads(home.run("runs", "show", doomed, "--json")[0])
        assert shown["status"] == "canceled"
        home.run("emit", "answer", "--data", '{"text": "from outside"}')
        out, _ = ended(worker, 0)
        assert "from outside" in out
    finally:
        worker.kill()
        worker.communicate()


def test_who_follows_takes_over(home: Shell) -> None:
    """A command that only followed drives the run itself once the worker has been killed."""
    worker = home.start("run", "ask")
    until_it_says(worker, "waiting")
    follower = home.start("run", "count", "--set", "n=2", "--json")
    out, err = ended(follower, 0)
    assert f"process {worker.pid}" in err
    assert json.loads(out)["output"] == {"total": 1}
    orphan = home.start("run", "ask")
    until_it_says(orphan, "taking over when it ends")
    worker.kill()
    worker.communicate()
    until_it_says(orphan, "waiting")
    home.run("emit", "answer", "--data", '{"text": "taken over"}')
    out, _ = ended(orphan, 0)
    assert "taken over" in out


def until_it_says(process: subprocess.Popen[str], what: str) -> str:
    """Read stderr up to the line with these words; all that was read."""
    assert process.stderr is not None
    read = ""
    for line in process.stderr:
        read += line
        if what in line:
            return read
    raise AssertionError(f"it ended without saying {what!r}: {read}")


@dataclasses.dataclass(frozen=True)
class SmallDisk:
    """A home on little room: a file system of its own, or a limit on files where none may be made.

    `limit` is the largest file, None on a real small disk; `grow` makes room.
    """

    home: Path
    limit: int | None
    grow: Callable[[], None]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], SmallDisk]]:
    """Make a disk of so many KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = []

    def mount(options: str) -> bool:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0

    def grow() -> None:
        assert mount("remount,size=256m")

    def disk(size: int) -> SmallDisk:
        if os.geteuid() == 0 and shutil.which("mount") and mount(f"size={size}k"):
            mounted.append(folder)
            return SmallDisk(folder / "home", None, grow)
        return SmallDisk(folder / "home", size * 1024, lambda: None)

    yield disk
    for one in mounted:
        subprocess.run(["umount", str(one)], check=True)


def test_a_disk_that_fills_up_while_committing(
    home: Shell, small_disk: Callable[[int], SmallDisk], tmp_path: Path
) -> None:
    """The command gives up and says why; with room again the run goes on, and no step is lost."""
    disk, log = small_disk(1500), tmp_path / "log"
    small = dataclasses.replace(
        home, home=disk.home, environment=home.environment | {"SIDE_EFFECTS": str(log)}
    )
    _, err = small.run("run", "count", "--set", "n=3000", code=1, limit=disk.limit)
    assert "resume with: " in err
    assert disk.limit or f"no space is left for the database {disk.home}" in err
    disk.grow()
    small.run("runs", "resume")
    done = [int(line) for line in log.read_text().split()]
    assert sorted(set(done)) == list(range(3000))
    assert len(done) <= 3001
    with contextlib.closing(sqlite3.connect(disk.home / "understudy.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_disk_that_fills_up_while_encoding(
    home: Shell, small_disk: Callable[[int], SmallDisk], tmp_path: Path
) -> None:
    """The failed pair is named and nothing half-made stays; with room again it is retried alone."""
    disk = small_disk(1200)
    # The journal lies elsewhere: it is the film that does not fit.
    url = f"sqlite:///{tmp_path / 'roomy' / 'runs.db'}"
    small = dataclasses.replace(
        home, home=disk.home, environment=home.environment | {"UNDERSTUDY_DATABASE_URL": url}
    )
    photos = [noise(tmp_path / f"{name}.png", seed) for seed, name in enumerate("ab")]
    settings = ["size=320x320", "fps=30", "seconds_per_pair=20", "style=dissolve"]
    film = tmp_path / "film.mp4"
    words = ["run", "morph", *photos, *(word for one in settings for word in ("--set", one))]
    _, err = small.run(*words, "-o", film, code=1, limit=disk.limit)
    assert "pair 1 (a.png to b.png)" in err
    assert disk.limit or "no space is left" in err
    assert not film.exists()
    assert not list((disk.home / "tmp").iterdir())
    disk.grow()
    (run,) = json.loads(small.run("runs", "ls", "--json")[0])
    small.run("runs", "retry", run["id"], "-o", film)
    assert film.read_bytes()[4:8] == b"ftyp"


def noise(path: Path, seed: int) -> Path:
    """A picture that no encoder can make small."""
    tile = Image.effect_noise((320, 320), 90 + seed).convert("RGB")
    tile.save(path)
    return path


@pytest.fixture
def readonly() -> Iterator[Path]:
    """A folder in which this user (nobody, when the tests run as root) may only read."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    user = os.geteuid()

    def seal() -> None:
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)

    try:
        # Everything that a command imports is imported before the change of user.
        made = CliRunner().invoke(app, ["--home", str(folder / "old"), "runs", "ls"])
        assert made.exit_code == 0, made.output
        seal()
        if user == 0:
            os.seteuid(NOBODY)
        yield folder
    finally:
        os.seteuid(user)
        shutil.rmtree(folder)


@pytest.mark.parametrize("name", ["old", "new"])
@pytest.mark.parametrize("words", ["runs ls", "runs resume", "run morph a.png b.png"])
def test_a_home_that_this_user_may_not_write(readonly: Path, name: str, words: str) -> None:
    """One line says what to change; nothing is written."""
    before = sorted(readonly.rglob("*"))
    ended = CliRunner().invoke(app, ["--home", str(readonly / name), *words.split()])
    assert ended.exit_code == 1
    assert "cannot write the database" in ended.stderr
    assert "--home" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert sorted(readonly.rglob("*")) == before


def test_a_database_of_a_newer_release(home: Shell) -> None:
    """It is refused by every command, in one line, and stays as it was."""
    home.run("run", "count", "--set", "n=2")
    database = home.home / "understudy.db"
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999_later'")
        connection.commit()
    before = database.read_bytes()
    for words in (["run", "count", "--set", "n=2"], ["runs", "ls"], ["runs", "resume"]):
        _, err = home.run(*words, code=1)
        assert "newer" in err
        assert len(err.splitlines()) == 1
    out, _ = home.run("runs", "ls", "--json", code=1)
    assert json.loads(out)["error"]["code"] == "schema_too_new"
    assert database.read_bytes() == before
