"""`runs logs`: what a run said, kept beside the work, and nothing private in it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

OPERATIONS = '''
import logging
import structlog
from pydantic import BaseModel
from understudy import Context, Retry, operation

class Wish(BaseModel):
    prompt: str
    fail: bool = False

class Wished(BaseModel):
    n: int

@operation("wish")
async def wish(ctx: Context, input: Wish) -> Wished:
    """Say something, fail once, end."""
    tries = []

    async def draw() -> int:
        tries.append(1)
        structlog.get_logger().info("drawing", stroke=len(tries), api_key="hunter2")
        logging.getLogger("vendor").info("asked for %s", input.prompt)
        if input.fail or len(tries) == 1:
            raise ValueError(f"cannot draw {input.prompt!r}")
        return 1

    def shade() -> int:
        structlog.get_logger().info("shading")
        return 1

    n = await ctx.step("draw", draw, retry=Retry(attempts=2, first=0.0))
    structlog.get_logger().info("between")
    return Wished(n=n + await ctx.step("shade", shade))
'''
PROMPT = "a lighthouse in the rain"


@pytest.fixture
def wishing(understudy: Any, tmp_path: Path) -> Any:
    """Command lines that know the operation."""
    understudy.operations = tmp_path / "wish.py"
    understudy.operations.write_text(OPERATIONS)
    return understudy


def events(lines: list[dict[str, Any]]) -> list[str]:
    """What happened, in order."""
    return [line["event"] for line in lines]


def test_a_run_s_log_tells_its_life(wishing: Any) -> None:
    """What it said, what its libraries said, which step failed and why, how it ended."""
    run = wishing.json("run", "wish", "--set", f"prompt={PROMPT}")
    said = wishing.json("runs", "logs", run["id"])
    assert said["run"] == run["id"]
    lines = said["lines"]
    assert events(lines[:2]) == ["run_created", "run_begun"]
    assert sorted(events(lines[2:-1])) == [
        *["asked for [redacted]"] * 2,
        "between",
        *["drawing"] * 2,
        "shading",
        *("step_ended", "step_ended", "step_failed"),
    ]
    assert events(lines[-1:]) == ["run_ended"]
    said_in = {line["event"]: line.get("step") for line in lines}
    assert said_in["drawing"] == said_in["asked for [redacted]"] == "draw"
    assert said_in["shading"] == "shade"  # on a thread
    assert said_in["between"] is None
    assert {line["run"] for line in lines} == {run["id"]}
    failed = next(line for line in lines if line["event"] == "step_failed")
    assert (failed["level"], failed["try"]) == ("warning", 1)
    assert failed["error"] == "cannot draw '[redacted]'"
    assert {line.get("api_key") for line in lines if line["event"] == "drawing"} == {"[redacted]"}
    assert PROMPT not in json.dumps(said)


def test_it_is_shown_in_lines(wishing: Any) -> None:
    """A time, a level, what happened, and its facts; nothing that is the same in all of them."""
    wishing("run", "wish", "--set", f"prompt={PROMPT}", "--set", "fail=true")
    text = wishing("runs", "logs").stdout
    assert "warning  step_failed step=draw try=1" in text
    assert "status=failed" in text.splitlines()[-1]
    assert "category=internal" in text.splitlines()[-1]
    assert "tenant=" not in text
    assert "logger=" in text  # a library's
    assert "logger=understudy" not in text
    assert "run_0" not in text


def test_prompts_are_kept_when_the_operator_says_so(
    wishing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """UNDERSTUDY_LOG_PROMPTS is for development; keys are masked all the same."""
    monkeypatch.setenv("UNDERSTUDY_LOG_PROMPTS", "true")
    wishing("run", "wish", "--set", f"prompt={PROMPT}")
    text = wishing("runs", "logs").stdout
    assert f"asked for {PROMPT}" in text
    assert "hunter2" not in text


def test_without_a_file_the_journal_tells(wishing: Any) -> None:
    """On another machine, or after the days that logs are kept, what is durable is still known."""
    wishing("run", "wish", "--set", f"prompt={PROMPT}", "--set", "fail=true")
    wishing("run", "wish", "--set", f"prompt={PROMPT}", "--detach")
    shutil.rmtree(wishing.home / "logs")
    failed, queued = (run["id"] for run in reversed(wishing.json("runs", "ls")))
    lines = wishing.json("runs", "logs", failed)["lines"]
    assert events(lines) == ["run_created", "run_begun", "step_failed", "run_ended"]
    assert lines[-1]["error"] == "cannot draw '[redacted]'"
    assert events(wishing.json("runs", "logs", queued)["lines"]) == ["run_created"]


def test_looking_on_writes_no_log(wishing: Any) -> None:
    """Commands that change nothing leave no file behind."""
    wishing("run", "wish", "--set", "prompt=x", "--detach")
    wishing("runs", "ls")
    assert not (wishing.home / "logs").exists()
