"""What the command line's tests share: command lines in this process, in a home of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from understudy.cli.main import app

OPERATIONS = Path(__file__).with_name("operations_of_a_stranger.py")


class Commands:
    """Runs command lines with one home and one file of operations."""

    def __init__(self, home: Path, operations: Path = OPERATIONS) -> None:
        self.home = home
        self.operations = operations

    def __call__(self, *words: object, typed: str | None = None) -> Result:
        """How a command ends to which somebody types this."""
        line = ["--home", self.home, "--load", self.operations, *words]
        return CliRunner().invoke(app, [*map(str, line)], input=typed)

    def json(self, *words: object, code: int = 0) -> Any:
        """The JSON on stdout of a command that ends with `code`."""
        result = self(*words, "--json")
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)


@pytest.fixture
def understudy(tmp_path: Path) -> Commands:
    """Command lines in a home that does not exist yet."""
    return Commands(tmp_path / "home")
