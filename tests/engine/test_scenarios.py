"""docs/scenarios.md names tests that are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from understudy.testing.conformance.journal import JournalContract

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "scenarios.md"


def test_each_scenario_has_its_test() -> None:
    """Every row of the page names one, in the file that it says."""
    rows = [line for line in PAGE.read_text().splitlines() if re.match(r"\| [A-Z]", line)]
    assert len(rows) > 40
    for row in rows:
        (named,) = re.findall(r"`([\w/]+\.py)::(?:(\w+)::)?(\w+)`", row)
        path, group, name = named
        if group:
            assert hasattr(JournalContract, name), row
        else:
            tree = ast.parse((HERE / path).read_text())
            tests = {one.name for one in tree.body if isinstance(one, ast.AsyncFunctionDef)}
            assert name in tests, row
