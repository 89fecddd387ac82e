"""One change to many runs: they are shown first, then all changed, each by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from understudy.cli.runs import many


@pytest.fixture
def runs(understudy: Any) -> list[str]:
    """The ids of three runs that count and two that ask, all queued."""
    counts = [understudy("run", "count", "--set", f"n={n}", "--detach") for n in range(3)]
    asks = [understudy("run", "ask", "--detach") for _ in range(2)]
    return [result.stdout.strip() for result in (*counts, *asks)]


def statuses(understudy: Any) -> list[str]:
    """How the runs stand, the oldest first."""
    return [run["status"] for run in reversed(understudy.json("runs", "ls"))]


def test_without_yes_they_are_only_shown(understudy: Any, runs: list[str]) -> None:
    """How many, of what, and the first ids; off a terminal nothing is asked and nothing done."""
    result = understudy("runs", "cancel", "--all-matching")
    assert result.exit_code == 1
    assert [line.split() for line in result.stdout.splitlines()[:3]] == [
        ["OPERATION", "STATUS", "RUNS"],
        ["ask", "queued", "2"],
        ["count", "queued", "3"],
    ]
    assert f"the oldest: {', '.join(runs)}" in result.stdout
    assert result.stderr == "error: add --yes to cancel these 5 runs\n"
    told = understudy.json("runs", "cancel", "--operation", "ask", code=1)
    assert told["error"]["message"] == "add --yes to cancel these 2 runs"
    assert (told["matched"], told["first"]) == (2, runs[3:])
    assert statuses(understudy) == ["queued"] * 5


@pytest.mark.parametrize(("typed", "code", "after"), [("y\n", 0, "canceled"), ("n\n", 1, "queued")])
def test_a_person_is_asked(
    understudy: Any,
    runs: list[str],
    monkeypatch: pytest.MonkeyPatch,
    typed: str,
    code: int,
    after: str,
) -> None:
    """On a terminal the answer decides."""

    class Terminal:
        """A stdin at which somebody sits."""

        stdin = type("Stdin", (), {"isatty": lambda _: True})()

    monkeypatch.setattr(many, "sys", Terminal)
    result = understudy("runs", "cancel", "--operation", "ask", typed=typed)
    assert result.exit_code == code
    assert "cancel 2 runs? [y/N]" in result.stderr
    assert statuses(understudy) == ["queued"] * 3 + [after] * 2


def test_with_yes_all_that_fit_are_changed(
    understudy: Any, runs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over several pages and batches, with progress on stderr; then they can be queued again."""
    monkeypatch.setattr(many, "_PAGE", 2)
    monkeypatch.setattr(many, "_BATCH", 2)
    result = understudy("runs", "cancel", "--operation", "count", "--yes")
    assert result.stdout == "3 runs canceled\n"
    assert result.stderr.splitlines() == ["canceled: 2 of 3", "canceled: 3 of 3"]
    assert statuses(understudy) == ["canceled"] * 3 + ["queued"] * 2
    assert understudy("runs", "retry", "--all-matching", "--yes").stdout == "no run to retry fits\n"
    told = understudy.json("runs", "retry", "--status", "canceled", "--yes")
    assert (told["matched"], told["changed"], told["failures"]) == (3, 3, [])
    assert told["groups"] == [{"operation": "count", "status": "canceled", "count": 3}]
    assert statuses(understudy) == ["queued"] * 5


def test_the_time_of_creation_selects(understudy: Any, runs: list[str]) -> None:
    """Since and until, as a time or as how long ago."""
    created = {run["id"]: run["created_at"] for run in understudy.json("runs", "ls")}
    third = created[runs[2]]
    told = understudy.json("runs", "cancel", "--since", third, code=1)
    assert told["first"] == runs[2:]
    told = understudy.json("runs", "cancel", "--until", third, code=1)
    assert told["first"] == runs[:2]
    assert understudy.json("runs", "cancel", "--until", "1h")["matched"] == 0
    assert understudy.json("runs", "cancel", "--since", "1h", code=1)["matched"] == 5


def test_who_could_not_be_changed_is_told_by_name(
    understudy: Any, runs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are changed; the exit code says that not all were."""
    find_all = many.find_all

    async def quicker(app: Any, *wanted: Any) -> many.Found:
        found = await find_all(app, *wanted)
        await app.engine.cancel(runs[0])
        await app.engine.retry(runs[0])
        return found

    understudy("runs", "cancel", "--operation", "count", "--yes")
    monkeypatch.setattr(many, "find_all", quicker)
    result = understudy("runs", "retry", "--status", "canceled", "--yes")
    assert result.exit_code == 1
    assert result.stdout == "2 runs queued again\n"
    assert f"{runs[0]}: {runs[0]} is queued; only a failed or canceled run" in result.stderr


def test_a_child_is_left_to_its_parent(understudy: Any, tmp_path: Path) -> None:
    """What is done to a run is done to its children; they are not counted again."""
    operations = tmp_path / "family.py"
    operations.write_text(FAMILY)
    understudy.operations = operations
    understudy("run", "parent", "--detach")
    assert understudy("runs", "resume").exit_code == 0
    assert sorted(run["operation"] for run in understudy.json("runs", "ls")) == ["child", "parent"]
    told = understudy.json("runs", "cancel", "--all-matching", "--yes")
    assert told["groups"] == [{"operation": "parent", "status": "waiting", "count": 1}]
    assert statuses(understudy) == ["canceled", "canceled"]


FAMILY = """
from pydantic import BaseModel
from understudy import Context, operation

class Nothing(BaseModel):
    pass

@operation("child")
async def child(ctx: Context, input: Nothing) -> Nothing:
    await ctx.wait("never")
    return input

@operation("parent")
async def parent(ctx: Context, input: Nothing) -> Nothing:
    return await ctx.call(child, input)
"""


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["cancel"], 2, "name a run, or say which ones"),
        (["retry", "--yes"], 2, "name a run, or say which ones"),
        (["cancel", "x", "--operation", "count"], 2, "not both"),
        (["retry", "--all-matching", "-o", "x"], 2, "name the run"),
        (["cancel", "--status", "failed"], 1, "cancel is for runs that are queued or running or"),
        (["retry", "--status", "queued"], 1, "retry is for runs that are failed or canceled"),
        (["cancel", "--since", "noon"], 1, "--since noon: write a time like"),
    ],
)
def test_what_makes_no_sense_is_said(
    understudy: Any, words: list[str], code: int, message: str
) -> None:
    """An id and a selection exclude each other, and a state must allow the change."""
    result = understudy("runs", *words)
    assert result.exit_code == code
    assert message in " ".join(result.stderr.replace("│", " ").split())
