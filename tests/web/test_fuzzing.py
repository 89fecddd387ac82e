"""The whole API, asked by schemathesis as its own description says it can be asked."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).with_name("fuzzing")
KEY = "a-key-for-schemathesis-0123456789"
CASES = 5_000


def asked(url: str, folder: Path, *words: str) -> str:
    """What schemathesis reports of the server at `url`; it ran in this folder, without a fault."""
    line = [sys.executable, "-m", "schemathesis.cli", "--no-color"]
    line += ["--config-file", str(HERE / "schemathesis.toml"), "run", f"{url}/openapi.json"]
    line += ["--request-timeout", "30", *words]
    environment = {**os.environ, "PYTHONPATH": str(HERE), "UNDERSTUDY_ADMIN_KEY": KEY}
    done = subprocess.run(
        line, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def cases(report: str) -> int:
    """How many requests were made of which the answers were checked."""
    found = re.search(r"(\d+) generated", report)
    assert found, report
    return int(found[1])


def test_the_api_is_as_it_is_described(served: Any, tmp_path: Path) -> None:
    """Examples, made-up requests and chains of them: every answer is one that was promised."""
    with served(UNDERSTUDY_ADMIN_KEY=KEY, UNDERSTUDY_KEY_PER_MINUTE="1000000") as url:
        words = ["--phases", "examples,fuzzing,stateful", "-n", "1", "--seed", "1"]
        assert cases(asked(url, tmp_path, *words)) > 50


@pytest.mark.prove
def test_the_api_is_as_it_is_described_in_full(served: Any, rounds: Any, tmp_path: Path) -> None:
    """The same with every edge of every schema, and at least five thousand requests."""
    wanted = rounds(CASES, 300)
    with served(UNDERSTUDY_ADMIN_KEY=KEY, UNDERSTUDY_KEY_PER_MINUTE="1000000") as url:
        words, made, seed = ["-n", str(max(2, wanted // 45))], 0, 0
        while made < wanted:
            seed += 1
            made += cases(asked(url, tmp_path, *words, "--seed", str(seed)))
            words = ["-n", "20", "--phases", "fuzzing"]
        sys.stdout.write(f"{made} requests, all answered as described\n")
