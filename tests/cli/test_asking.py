"""For whom, when, and only once; and again as a new run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


def test_a_run_is_for_somebody_and_due_later(understudy: Any) -> None:
    """`--user` and `--delay` reach the run, which says what it waits for."""
    words = ["run", "count", "--set", "n=2", "--user", "ann", "--delay", "2h", "--detach"]
    run = understudy.json(*words)
    assert (run["user"], run["status"]) == ("ann", "queued")
    assert run["waiting_for"]["kind"] == "time"
    assert run["waiting_for"]["until"] > run["created_at"]
    assert "user     ann" in understudy("runs", "show").stdout
    assert "waits    for its time, 20" in understudy("runs", "show").stdout
    assert "waiting for its time, 20" in understudy("runs", "ls").stdout


def test_a_queued_run_without_a_worker_says_so(understudy: Any) -> None:
    """Who waits for nothing to happen learns that nothing will."""
    understudy("run", "count", "--set", "n=2", "--detach")
    assert "waits    for a worker: none is running" in understudy("runs", "show").stdout
    assert "waiting for a worker: none is running" in understudy("runs", "ls").stdout


def test_the_same_key_is_the_same_run(understudy: Any) -> None:
    """Asked again it is followed, not done again; with another input it is refused."""
    words = ["run", "count", "--idempotency-key", "order 7"]
    first = understudy.json(*words, "--set", "n=3")
    again = understudy.json(*words, "--set", "n=3")
    assert (first["id"], first["output"]) == (again["id"], again["output"])
    refused = understudy.json(*words, "--set", "n=4", code=1)["error"]
    assert refused["code"] == "idempotency_key_reused"
    assert first["id"] in refused["message"]


def test_the_same_signal_is_sent_once(understudy: Any) -> None:
    """A second emit under the same key wakes nobody."""
    understudy("run", "ask", "--detach")
    understudy("runs", "resume")
    words = ["emit", "answer", "--data", '{"text": "yes"}', "--idempotency-key", "k"]
    assert understudy.json(*words)["woken"] == 1
    assert understudy.json(*words)["woken"] == 0


def test_a_fork_keeps_what_came_before(understudy: Any, tmp_path: Path) -> None:
    """By default from the step that failed; the steps before it are not run again."""
    key = tmp_path / "key"
    understudy("run", "gate", "--set", f"path={key}")
    failed = understudy.json("runs", "show")
    key.touch()
    forked = understudy.json("runs", "fork", failed["id"])
    assert forked["id"] != failed["id"]
    assert forked["forked_from"] == failed["id"]
    assert (forked["status"], forked["output"]) == ("succeeded", {"firsts": 1})
    assert forked["steps"][0] == failed["steps"][0]
    assert f"forked   from {failed['id']}" in understudy("runs", "show", forked["id"]).stdout
    assert understudy.json("runs", "show", failed["id"])["status"] == "failed"


def test_a_fork_from_a_step_does_it_anew(understudy: Any, tmp_path: Path) -> None:
    """The named step and all after it run again; an unknown one is refused by name."""
    key = tmp_path / "key"
    key.touch()
    run = understudy.json("run", "gate", "--set", f"path={key}")
    left = understudy("runs", "fork", run["id"], "--step", "first", "--detach")
    assert left.stdout.endswith(" queued\n")
    fresh = understudy.json("runs", "show")
    assert (fresh["steps"], fresh["forked_from"]) == ([], run["id"])
    out = tmp_path / "out.json"
    assert understudy("runs", "fork", run["id"], "--step", "look", "-o", out).exit_code == 0
    assert out.exists()
    refused = understudy.json("runs", "fork", run["id"], "--step", "lock", code=1)["error"]
    assert "has no step 'lock'; it has: first, look" in refused["message"]


OPERATION = """
from pydantic import BaseModel
from understudy import Context, operation

class Nothing(BaseModel):
    pass

@operation("change")
async def change(ctx: Context, input: Nothing) -> Nothing:
    for name in {names!r}:
        await ctx.step(name, lambda: 1)
    await ctx.wait("go")
    return input
"""


@pytest.fixture
def diverged(understudy: Any, tmp_path: Path) -> str:
    """The id of a run whose code asks for `polish` where the journal remembers `draw`."""
    understudy.operations = tmp_path / "change.py"
    understudy.operations.write_text(OPERATION.format(names=["fetch", "draw", "cut"]))
    understudy("run", "change", "--detach")
    understudy("runs", "resume")
    understudy.operations.write_text(OPERATION.format(names=["fetch", "polish", "cut"]))
    understudy("emit", "go")
    understudy("runs", "resume")
    run_id: str = understudy.json("runs", "show")["id"]
    return run_id


def test_a_run_whose_code_has_changed_shows_where(understudy: Any, diverged: str) -> None:
    """What the journal remembers and what the code asks for, as a diff, and the ways on."""
    waits = understudy.json("runs", "show")["waiting_for"]
    assert (waits["kind"], waits["expected"], waits["found"]) == ("operator", "draw", "polish")
    shown = understudy("runs", "show").stdout
    assert "  fetch\n- draw\n+ polish\n  cut\n  go\n" in shown
    for way in ("resume", "fork", "cancel"):
        assert f" runs {way} {diverged}" in shown


def test_the_ways_on_lead_on(understudy: Any, diverged: str) -> None:
    """A fork from that step goes on with the new code; the run itself with the old one."""
    shown = understudy("runs", "show").stdout
    forking = next(line for line in shown.splitlines() if " runs fork " in line)
    words = forking.partition(" runs fork ")[2].split()
    fresh = understudy("runs", "fork", *words, "--detach").stdout.split()[0]
    understudy("emit", "go")
    done = understudy.json("runs", "resume", fresh)
    assert [step["key"] for step in done["steps"]] == ["fetch", "polish", "cut", "go"]
    understudy.operations.write_text(OPERATION.format(names=["fetch", "draw", "cut"]))
    assert understudy.json("runs", "resume", diverged)["status"] == "succeeded"
