"""Options that come in groups."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer
from typer.testing import CliRunner

from understudy.cli.gathering import gathered


@dataclasses.dataclass(frozen=True)
class Group:
    """Two options."""

    colour: Annotated[str, typer.Option(help="Which one.")] = "red"
    loud: bool = False


def test_a_group_becomes_options_and_comes_back_as_one_value() -> None:
    """The command gets the dataclass, filled from the command line or its defaults."""
    taken: list[object] = []
    app = typer.Typer()

    @app.command()
    @gathered
    def paint(what: str, group: Group = Group(), times: int = 1) -> None:
        taken.append((what, group, times))

    for line in (["wall"], ["wall", "--colour", "blue", "--loud", "--times", "2"]):
        result = CliRunner().invoke(app, line)
        assert result.exit_code == 0, result.output
    assert taken == [("wall", Group(), 1), ("wall", Group("blue", loud=True), 2)]
    assert "Which one." in CliRunner().invoke(app, ["--help"]).output
