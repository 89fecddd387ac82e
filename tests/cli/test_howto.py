"""The howto about flow control works as it is printed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "flow-control.md"


@pytest.fixture
def printed(understudy: Any, tmp_path: Path) -> Any:
    """Command lines with the operations of the page, in one file."""
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), flags=re.DOTALL | re.MULTILINE)
    understudy.operations = tmp_path / "flows.py"
    understudy.operations.write_text("\n".join(blocks))
    return understudy


def test_its_operations_load_and_run(printed: Any) -> None:
    """Each option is taken by the real `@operation`, and a run of each kind ends."""
    names = {one["name"] for one in printed.json("operations")}
    assert {"film", "voice", "card", "greeting", "poster", "risky", "report", "thanks"} <= names
    run = printed.json("run", "film", "--set", "order=7", "--user", "ann")
    assert run["output"] == {"text": "done"}


def test_its_signals_start_and_cancel(printed: Any) -> None:
    """A payment starts a run with the signal as input; a cancellation ends the order's run."""
    words = ["emit", "order.paid", "--data", '{"order": "7", "shop": "berlin", "paid": true}']
    assert printed.json(*words)["woken"] == 1
    assert printed.json("runs", "show")["input"]["order"] == "7"
    printed("run", "poster", "--set", "order=7", "--detach")
    printed("emit", "order.canceled", "--data", '{"order": "8"}')
    assert printed.json("runs", "show")["status"] == "queued"
    printed("emit", "order.canceled", "--data", '{"order": "7"}')
    assert printed.json("runs", "show")["status"] == "canceled"


def test_its_receipt_is_made_once(printed: Any) -> None:
    """The same order is the same run."""
    first, again = (printed.json("run", "receipt", "--set", "order=7") for _ in range(2))
    assert first["id"] == again["id"]
