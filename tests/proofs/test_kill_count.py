"""Proof: a killed process's finished steps are never run again, and none is lost."""

from __future__ import annotations

import json
import random
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

STEPS = 200

OPERATION = """
    import asyncio, os
    from pydantic import BaseModel
    from understudy import Context, operation

    class Count(BaseModel):
        n: int

    class Counted(BaseModel):
        total: int

    async def add(i: int) -> int:
        log = os.open(os.environ["SIDE_EFFECTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(log, b"%d\\n" % i)
        os.close(log)
        await asyncio.sleep(0.002)
        return i

    @operation("count", version=1)
    async def count(ctx: Context, input: Count) -> Counted:
        total = 0
        for i in range(input.n):
            total += await ctx.step("add", add, i)
        return Counted(total=total)
"""

RUNS = "SELECT status, json(output) FROM runs"
FINISHED = "SELECT json(result) FROM steps WHERE state = 'succeeded'"


class Log:
    """What the steps did to the world, one line each."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def lines(self) -> list[int]:
        """The numbers that were added, in order, again and again if so."""
        return [int(line) for line in self.path.read_text().split()] if self.path.exists() else []


def moments(house: Any, log: Log, moment: Any, chance: random.Random) -> list[Any]:
    """Ways to choose a moment; the lines of the log say how far the run is."""
    start = chance.uniform(0.0, 0.8)
    line = chance.randrange(1, STEPS)
    commit = chance.randrange(1, STEPS // 2)
    commits = house.commits()
    return [
        moment(f"{start:.2f} s after the start", lambda seconds: seconds >= start),
        moment(f"commit {commit}", lambda _: commits() >= commit),
        moment(f"step {line}", lambda _: len(log.lines()) >= line),
        moment("the last step", lambda _: len(log.lines()) >= STEPS),
    ]


@pytest.mark.prove
def test_no_finished_step_runs_again(
    tmp_path: Path,
    rounds: Callable[[int, int], int],
    build: Callable[..., Any],
    moment: Any,
    everyone_dead: Callable[[Any], None],
    chance: random.Random,
) -> None:
    """200 counting steps, killed at seeded moments: each finished step ran once, the sum is right.

    Only the step that was in flight when the process died may run a second time.
    """
    own = tmp_path / "my_ops.py"
    own.write_text(textwrap.dedent(OPERATION))
    kills = repeated = 0
    for number in range(rounds(20, 2)):
        log = Log(tmp_path / f"{number}.log")
        house = build(tmp_path / f"home{number}", "--load", own, SIDE_EFFECTS=log.path)
        command: tuple[object, ...] = ("run", "count", "--set", f"n={STEPS}", "--json")
        first = moments(house, log, moment, chance)[(number + 2) % 4]
        again = [first, moments(house, log, moment, chance)[2]] if number % 3 == 0 else [first]
        died = 0
        for until in (*again, None):
            finished = {json.loads(value) for (value,) in house.rows(FINISHED)}
            begun = len(log.lines())
            ended = house.play(*command, until=until)
            repeats = finished.intersection(log.lines()[begun:])
            assert not repeats, f"finished steps ran again: {sorted(repeats)}"
            died += ended.killed
            if ended.killed:
                everyone_dead(ended.tree)
                print(f"run {number}, killed at {until.name}: {len(log.lines())} steps begun")  # noqa: T201
                # Killed before it had submitted anything, the person asks once more.
                command = ("runs", "resume", "--json") if house.rows(RUNS) else command
            else:
                assert ended.code == 0, ended.output
        assert house.rows(RUNS) == [("succeeded", f'{{"total":{sum(range(STEPS))}}}')]
        assert sorted(set(log.lines())) == list(range(STEPS)), "a step is lost"
        assert len(log.lines()) - STEPS <= died, "more ran again than was in flight"
        house.check_clean()
        kills, repeated = kills + died, repeated + len(log.lines()) - STEPS
    print(f"{kills} kills, {repeated} of the steps in flight ran again, none that had finished")  # noqa: T201
    assert kills >= rounds(20, 2)
