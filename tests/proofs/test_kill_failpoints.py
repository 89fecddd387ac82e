"""Proof: a process that gets SIGKILL at a failpoint leaves what another one can finish."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from understudy.db.driver import Driver
from understudy.db.postgres import PostgreSQL
from understudy.db.sqlite import SQLite
from understudy.errors import ConfigError
from understudy.testing.failpoints import POINTS
from understudy.testing.lives import ends, live
from understudy.testing.postgres import PostgresServer
from understudy.testing.scenarios import SCENARIOS, Scenario, World

PATIENCE = 60.0

CHILD = """
    import asyncio, sys
    from pathlib import Path
    from understudy.db.postgres import PostgreSQL
    from understudy.db.sqlite import SQLite
    from understudy.testing.failpoints import Kill
    from understudy.testing.lives import live
    from understudy.testing.scenarios import SCENARIOS, World

    url, name, point, nth, book = sys.argv[1:]

    async def scenario(person):
        (wanted,) = [one for one in SCENARIOS if one.__name__ == name]
        await wanted(person)
        if point.startswith("beats"):
            await asyncio.sleep(5)

    server = url.startswith("postgresql")
    driver = PostgreSQL(url, own_clock=False) if server else SQLite(url)
    lease = 0.15 if server and point.startswith("beats") else 1e6
    asyncio.run(live(World(Path(book)), driver, scenario, (point, int(nth), Kill()), lease=lease))
"""


@pytest.fixture(scope="module")
def durable() -> Iterator[PostgresServer]:
    """A PostgreSQL as in production: a commit that was told is on the disk."""
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(PostgresServer(durable=True))
        except ConfigError as error:
            pytest.skip(str(error))
        yield server


def seen(folder: Path) -> dict[Scenario, Counter[str]]:
    """How often each scenario passes each point when nobody is killed."""

    async def look(number: int, scenario: Scenario) -> Counter[str]:
        driver = SQLite(f"sqlite:///{folder / f'{number}.db'}")
        return (await live(World(), driver, scenario)).passes

    return {one: asyncio.run(look(number, one)) for number, one in enumerate(SCENARIOS)}


def die(arguments: list[str], folder: Path, environment: dict[str, str]) -> bool:
    """Whether a process with these arguments was ended by SIGKILL; else it came to its end."""
    script = folder / "child.py"
    script.write_text(textwrap.dedent(CHILD))
    with (folder / "child.log").open("wb") as log:
        code = subprocess.run(
            [sys.executable, str(script), *arguments],
            check=False,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            timeout=PATIENCE,
        ).returncode
    assert code in {0, -signal.SIGKILL}, (folder / "child.log").read_text()[-4000:]
    return code == -signal.SIGKILL


class Trial:
    """Kills on one kind of database, each on a database of its own."""

    def __init__(self, passes: dict[Scenario, Counter[str]], chance: random.Random) -> None:
        self._passes = passes
        self._chance = chance
        self.kills = 0
        self.again = 0

    def choose(self, point: str) -> tuple[Scenario, int]:
        """A scenario that passes the point, and one of the passes."""
        scenario = self._chance.choice([one for one in SCENARIOS if self._passes[one][point]])
        exact = not point.startswith(("beats", "commit"))  # how writes share commits is chance
        return scenario, self._chance.randint(1, self._passes[scenario][point]) if exact else 1

    def run(self, point: str, url: str, folder: Path, environment: dict[str, str]) -> None:
        """Kill a process there, then finish its work in this one."""
        scenario, nth = self.choose(point)
        book = folder / "book"
        arguments = [url, scenario.__name__, point, str(nth), str(book)]
        assert die(arguments, folder, environment), f"{scenario.__name__} {point} {nth}: not passed"
        self.kills += 1
        asyncio.run(self._finish(World(book), scenario, url))

    async def _finish(self, world: World, scenario: Scenario, url: str) -> None:
        begun = sum(world.executions.values())
        await live(world, driver_of(url), scenario)
        await ends(world, driver_of(url))
        self.again += begun > 0


def driver_of(url: str) -> Driver:
    """The database, on the scenario's clock."""
    return SQLite(url) if url.startswith("sqlite") else PostgreSQL(url, own_clock=False)


@pytest.mark.prove
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_kill_at_any_failpoint_loses_and_repeats_nothing(
    database: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    rounds: Callable[[int, int], int],
    build: Callable[..., Any],
    chance: random.Random,
) -> None:
    """SIGKILL at each point: no accepted run is lost, no body runs after its result was stored."""
    began = time.monotonic()
    environment = build(tmp_path).environment
    trial = Trial(seen(tmp_path), chance)
    for number, point in enumerate(chance.sample(POINTS, rounds(len(POINTS), 2))):
        folder = tmp_path / f"kill{number}"
        folder.mkdir()
        url = f"sqlite:///{folder / 'understudy.db'}"
        if database == "postgresql":
            url = request.getfixturevalue("durable").create(f"kill{number}")
        trial.run(point, url, folder, environment)
    print(  # noqa: T201
        f"{database}: {trial.kills} SIGKILL at {trial.kills} of {len(POINTS)} failpoints,"
        f" {trial.again} of them after a body had begun; 0 runs lost, 0 finished steps repeated;"
        f" {time.monotonic() - began:.0f} s"
    )
