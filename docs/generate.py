"""Write docs/reference from the code, or with --check say what is out of step.

    python docs/generate.py [--check]      (or `make docs`; `make lint` checks)

Whatever can be read off the product is written here and nowhere by hand.
"""
# ruff: noqa: INP001 - a script beside what it writes

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
import typer.main

import understudy.operations
from understudy import errors
from understudy.cli.main import app
from understudy.cli.operations import described, fields
from understudy.engine.operation import Operation
from understudy.engine.registry import Provide, Registry
from understudy.settings import Settings
from understudy.web import openapi
from understudy.web.app import routed
from understudy.web.problem import PROBLEMS

REFERENCE = Path(__file__).parent / "reference"
MADE = "<!-- Made by `make docs` from the code; edit that instead. -->"
WIDTH = 96


def table(headings: tuple[str, ...], rows: list[tuple[object, ...]]) -> str:
    """A Markdown table; a bar inside a cell is escaped."""
    lines = [headings, tuple("---" for _ in headings), *rows]
    cells = ([str(cell).replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def command_pages(command: Any, path: str) -> Iterator[str]:
    """The help of a command and of all below it, as a person sees it."""
    context = typer.Context(command, info_name=path, terminal_width=WIDTH, max_content_width=WIDTH)
    text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    yield f"## {path}\n\n```text\n{text}\n```"
    for name, inner in getattr(command, "commands", {}).items():
        yield from command_pages(inner, f"{path} {name}")


def cli() -> str:
    """Every command."""
    pages = "\n\n".join(command_pages(typer.main.get_command(app), "understudy"))
    return f"# The command line\n\n{pages}"


def settings() -> str:
    """Every setting and its variable."""
    rows: list[tuple[object, ...]] = []
    for name, field in Settings.model_fields.items():
        default = "from the machine" if field.default_factory else f"`{field.default}`"
        if field.default == "":
            default = "none"
        rows.append((f"`UNDERSTUDY_{name.upper()}`", default, field.description or ""))
    head = (
        "# Settings\n\nRead once at start, from the environment; options on the command line win."
    )
    return f"{head}\n\n{table(('Variable', 'Default', 'Meaning'), rows)}"


def error_page() -> str:
    """Every error with its facts."""
    rows: list[tuple[object, ...]] = [
        (
            f"`{error.code}`",
            error.__name__,
            error.status,
            "yes" if error.retriable else "no",
            (error.__doc__ or "").strip().split("\n")[0],
        )
        for error in errors.every_error()
    ]
    head = (
        "# Errors\n\nEvery surface gives `{code, category, message}`; the category is one of input,"
        " timeout, network, vendor, moderation, media, internal."
    )
    headings = ("Code", "Class", "HTTP", "Another try may help", "Meaning")
    return f"{head}\n\n{table(headings, rows)}"


def operations() -> list[Operation[Any, Any]]:
    """The operations that ship with the product, by name."""
    rooms = pkgutil.iter_modules(understudy.operations.__path__, "understudy.operations.")
    modules = [importlib.import_module(room.name) for room in rooms]
    values = [value for module in modules for value in vars(module).values()]
    found = {value.name: value for value in values if isinstance(value, Operation)}
    return [found[name] for name in sorted(found)]


def operation_page() -> str:
    """Every operation: what goes in, what comes out, and examples."""
    headings = ("Field", "Type", "Default", "Meaning")
    parts = ["# Operations"]
    for operation in operations():
        known = described(operation)
        parts += [f"## {operation.name}", operation.summary]
        parts += ["Input:", table(headings, [*fields(known["input"])])]
        parts += ["Output:", table(headings, [*fields(known["output"])])]
        for title, example in known["examples"].items():
            parts.append(f"Example {title}:\n\n```json\n{json.dumps(example, indent=2)}\n```")
    return "\n\n".join(parts)


def problem_page() -> str:
    """Every refusal of the HTTP API."""
    rows: list[tuple[object, ...]] = [
        (
            f"`{kind.code}`",
            kind.status,
            "yes" if kind.retriable else "no",
            kind.meaning.replace("\n", " "),
        )
        for kind in PROBLEMS.values()
    ]
    head = (
        "# Problems\n\nEvery refusal of the HTTP API is `application/problem+json` (RFC 9457):"
        " `type` (`/problems/CODE`, which answers with what is said here), `title`, `status`,"
        " `detail`, `instance`, `code`, `category`, `errors` and `retry_after` (seconds). Decide"
        " by `code`; `detail` is for people. `errors` names what is at fault: a JSON pointer into"
        " the body (`/input/times`), or `query:NAME`, `header:NAME`."
    )
    headings = ("Code", "Status", "Another try may help", "Meaning")
    return f"{head}\n\n{table(headings, rows)}"


def api_page() -> str:
    """Every route of the HTTP API."""
    # Nothing is run, so any object meets a need.
    provided: dict[type, Provide] = dict.fromkeys(needs(), lambda _: None)
    said = openapi.document(routed(), Registry(operations(), provided))
    head = (
        "# The HTTP API\n\nThe server has the whole description, with every schema and answer, at"
        " `/openapi.json` (OpenAPI 3.1). A scope is what the key must have; `admin` has all,"
        " `submit` implies `read`."
    )
    parts = [head]
    by_tag: dict[str, list[tuple[object, ...]]] = {}
    for path, methods in said["paths"].items():
        for method, route in methods.items():
            scopes = [one["bearer"][0] for one in route.get("security", ()) if "bearer" in one]
            what = route.get("description", "").partition("\n")[0]
            answers = ", ".join(sorted(route["responses"]))
            row = (f"`{method.upper()} {path}`", scopes[0] if scopes else "none", what, answers)
            by_tag.setdefault(route["tags"][0], []).append(row)
    for tag in said["tags"]:
        rows = by_tag.get(tag["name"], [])
        headings = ("Route", "Scope", "What it does", "Answers")
        parts += [f"## {tag['name']}", tag["description"], table(headings, rows)]
    return "\n\n".join(parts)


def needs() -> set[type]:
    """All that operations need."""
    return {need for operation in operations() for need in operation.needs.values()}


PAGES = {
    "api.md": api_page,
    "cli.md": cli,
    "errors.md": error_page,
    "operations.md": operation_page,
    "problems.md": problem_page,
    "settings.md": settings,
}


def out_of_step() -> list[str]:
    """The pages that differ from what the code says, and those that nothing writes."""
    known = {path.name for path in REFERENCE.glob("*")}
    stale = [name for name in PAGES if name not in known or written(name) != fresh(name)]
    return sorted({*stale, *(known - PAGES.keys())})


def written(name: str) -> str:
    """A page as it lies there."""
    return (REFERENCE / name).read_text(encoding="utf-8")


def fresh(name: str) -> str:
    """A page as the code says it."""
    return f"{MADE}\n{PAGES[name]()}\n"


def main() -> None:
    """Write, or check."""
    if "--check" not in sys.argv[1:]:
        REFERENCE.mkdir(exist_ok=True)
        for name in PAGES:
            (REFERENCE / name).write_text(fresh(name), encoding="utf-8")
    elif stale := out_of_step():
        sys.exit(
            f"docs/reference is out of step with the code: {', '.join(stale)}; run `make docs`"
        )


if __name__ == "__main__":
    main()
