"""The documentation says what the code does: links lead somewhere, commands exist, examples run."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import shlex
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

import understudy
from understudy.cli.main import app

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
HOWTO = ROOT / "docs" / "howto" / "write-an-operation.md"


def text(page: Path) -> str:
    """A page's source."""
    return page.read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text(page), flags=re.DOTALL | re.MULTILINE)


def named(page: Path) -> str:
    """A page as the test's id."""
    return str(page.relative_to(ROOT))


def generator() -> ModuleType:
    """docs/generate.py, which is a script and not a package."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_in_step_with_the_code() -> None:
    """`make docs` would change nothing: commands, settings, errors and operations."""
    assert generator().out_of_step() == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    """Each relative link names a file that is there, and each anchor a heading in it."""
    for target in re.findall(r"\]\(([^)\s]+)\)", text(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        goal = (page.parent / path).resolve() if path else page
        assert goal.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", text(goal), flags=re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_make_targets_exist(page: Path) -> None:
    """Nobody is told to type a target that is not there."""
    targets = set(re.findall(r"^([a-z]+):", text(ROOT / "Makefile"), flags=re.MULTILINE))
    assert set(re.findall(r"`make ([a-z]+)", text(page))) <= targets
    assert set(re.findall(r"^make ([a-z]+)", text(page), flags=re.MULTILINE)) <= targets


def check_command(words: list[str]) -> None:
    """Follow a command line through the real commands: names and options must exist."""
    command: Any = typer.main.get_command(app)
    while words:
        word = words.pop(0)
        if word.startswith("-"):
            options = {name: p for p in command.params for name in p.opts if name.startswith("-")}
            assert word in options, word
            if not options[word].is_flag:
                words.pop(0)
        elif hasattr(command, "commands"):
            assert word in command.commands, word
            command = command.commands[word]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_command_lines_exist(page: Path) -> None:
    """Every `understudy …` line in a shell block has commands and options that exist."""
    for block in blocks(page, "sh"):
        for line in block.splitlines():
            if line.startswith("understudy "):
                check_command(shlex.split(line.partition(" > ")[0], comments=True)[1:])


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_python_examples_are_python(page: Path) -> None:
    """Every example at least parses; what is imported from the front door is there."""
    for block in blocks(page, "python"):
        tree = compile(
            block, named(page), "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        )
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module == "understudy":
                assert {alias.name for alias in node.names} <= set(understudy.__all__)


@pytest.mark.parametrize("page", [HOWTO, ROOT / "README.md"], ids=named)
def test_the_first_example_runs(page: Path, tmp_path: Path) -> None:
    """A reader's first file works as it is printed, with the command that is printed."""
    (tmp_path / "my_ops.py").write_text(blocks(page, "python")[0])
    command = next(line for line in blocks(page, "sh") if "my_ops.py run count" in line)
    words = shlex.split(command.replace("my_ops.py", str(tmp_path / "my_ops.py")))[1:]
    result = CliRunner().invoke(app, ["--home", str(tmp_path / "home"), *words])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["output"] == {"total": 499_500}


def test_the_example_with_files_runs(tmp_path: Path) -> None:
    """The howto's operation with a need and a file does what it says."""
    (tmp_path / "look.py").write_text(blocks(HOWTO, "python")[2])
    given = tmp_path / "given.txt"
    given.write_text("hello")
    line = ["--home", tmp_path / "home", "--load", tmp_path / "look.py", "run", "look", given]
    result = CliRunner().invoke(app, [*map(str, line), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["output"]["size"] == 5


def test_the_drawn_floors_are_the_checked_floors() -> None:
    """AGENTS.md, the picture in the architecture and the import contract name the same rooms."""
    project = tomllib.loads(text(ROOT / "pyproject.toml"))
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    agents = re.sub(r"\s+", " ", text(ROOT / "AGENTS.md"))
    assert ", ".join(f"`{layer}`" for layer in layers) in agents
    drawn = text(ROOT / "docs" / "architecture.md").partition("flowchart TB")[2].partition("```")[0]
    assert {room for layer in layers for room in layer.split(" | ")} <= set(
        re.findall(r"\w+", drawn)
    )


def test_every_public_call_of_the_context_is_in_the_howto() -> None:
    """What an author can call is written where authors look."""
    from understudy import Context

    calls = [name for name in vars(Context) if not name.startswith("_")]
    missing = [name for name in calls if f"ctx.{name}" not in text(HOWTO)]
    assert missing == []


def test_the_changelog_keeps_its_form() -> None:
    """What is unreleased stands first, under the headings of Keep a Changelog."""
    changes = text(ROOT / "CHANGELOG.md")
    assert re.findall(r"^## (.+)$", changes, flags=re.MULTILINE)[0] == "[Unreleased]"
    kinds = set(re.findall(r"^### (.+)$", changes, flags=re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_map_for_newcomers_stays_short() -> None:
    """AGENTS.md is read at every start: about a page."""
    assert len(text(ROOT / "AGENTS.md").splitlines()) <= 70
    assert text(ROOT / "CLAUDE.md") == "@AGENTS.md\n"
