"""What every test gets: a clean environment, no network, `async def`, and a proof's budget.

The hooks are here and not in plugins because each is a few lines that the reader can see.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import itertools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from understudy.errors import ConfigError

if TYPE_CHECKING:
    from understudy.testing.postgres import PostgresServer

Rounds = Callable[[int, int], int]

_databases = itertools.count(1)

_LOOPBACK = {"127.0.0.1", "::1", "localhost", None}

_NETWORK = {"socket.bind", "socket.connect", "socket.getaddrinfo", "socket.gethostbyname"}


class NetworkUsed(BaseException):
    """A test reached for the network. Not an Exception, so that no code under test swallows it."""


def _closed(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in _NETWORK:
        return
    address = arguments[1] if event in {"socket.bind", "socket.connect"} else arguments[:2]
    if isinstance(address, str | bytes):  # a path: local to the machine
        return
    host = address[0].decode() if isinstance(address[0], bytes) else address[0]
    if host not in _LOOPBACK:
        raise NetworkUsed(f"{event} {address!r}")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--prove=1` runs the long proofs with their full counts, `--prove=0.1` with a tenth."""
    parser.addoption("--prove", type=float, default=None, help="share of a proof's full count")


def pytest_configure(config: pytest.Config) -> None:
    """Close the network for the whole process; paths and loopback stay open."""
    sys.addaudithook(_closed)


@pytest.fixture(scope="session")
def _working_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("working-folder")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, _working_folder: Path) -> None:
    """No setting of the developer's own reaches a test, and none writes beside the sources."""
    for name in [name for name in os.environ if name.startswith("UNDERSTUDY_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(_working_folder)


@pytest.fixture
def rounds(pytestconfig: pytest.Config) -> Rounds:
    """How often a proof repeats: `rounds(full, quick)` is `quick` in `make test`.

    `make prove` runs a share of `full`, never less than `quick`.
    """
    share: float | None = pytestconfig.getoption("--prove")
    return lambda full, quick: quick if share is None else max(quick, round(full * share))


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One PostgreSQL for all tests that ask for it; without fsync, as nobody cuts the power."""
    from understudy.testing.postgres import PostgresServer  # only they load its driver

    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(PostgresServer())
        except ConfigError as error:
            pytest.skip(str(error))
        yield server


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """The URL of an empty database, which is the test's own (about 30 ms)."""
    name = f"test_{next(_databases)}"
    yield postgres.create(name)
    postgres.drop(name)


def _finished(test: Callable[..., Any]) -> Callable[..., None]:
    """The same test as a plain function, on an event loop of its own."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        with asyncio.Runner(debug=False) as runner:
            runner.run(test(*args, **kwargs))

    return run


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run `async def` tests, and those that Hypothesis wraps."""
    given = getattr(pyfuncitem.obj, "hypothesis", None)
    if given is not None and inspect.iscoroutinefunction(given.inner_test):
        given.inner_test = _finished(given.inner_test)
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    wanted = pyfuncitem._fixtureinfo.argnames
    _finished(pyfuncitem.obj)(**{name: pyfuncitem.funcargs[name] for name in wanted})
    return True


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """On CI a skipped test is a failure: nobody would see that it no longer proves anything."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:
        return
    skipped = reporter.stats.get("skipped", [])
    if skipped and os.environ.get("CI") == "true" and exitstatus == pytest.ExitCode.OK:
        reporter.write_line(f"CI allows no skipped test; there are {len(skipped)}.", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
