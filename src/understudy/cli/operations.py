"""`understudy operations`: what can be run, and how."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy.cli import terminal
from understudy.cli.options import AsJson
from understudy.cli.session import perform

if TYPE_CHECKING:
    from understudy.app import App
    from understudy.engine.operation import Operation


def operations(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(help="Show this one in full.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the operations, or show one: its input, its output and its examples."""

    async def work(app: App) -> None:
        if name is not None:
            _show(app.registry.get(name), as_json=as_json)
        elif as_json:
            terminal.say_json([described(operation) for operation in app.registry])
        else:
            rows = [(one.name, one.version, one.summary) for one in app.registry]
            terminal.say_table(("NAME", "VERSION", "WHAT IT DOES"), rows)

    perform(ctx, work, as_json=as_json)


def described(operation: Operation[Any, Any]) -> dict[str, Any]:
    """An operation as JSON: its schemas, its examples by name, and what it needs."""
    return {
        "name": operation.name,
        "version": operation.version,
        "summary": operation.summary,
        "input": operation.input.model_json_schema(),
        "output": operation.output.model_json_schema(),
        "examples": {
            title: example.model_dump(mode="json") for title, example in operation.examples.items()
        },
        "needs": {name: need.__name__ for name, need in operation.needs.items()},
    }


def fields(schema: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """The fields of an input as rows: name, type, default, meaning."""
    required = schema.get("required", [])
    return [
        (
            name,
            _type(schema, field),
            "required" if name in required else json.dumps(field.get("default")),
            field.get("description", ""),
        )
        for name, field in schema.get("properties", {}).items()
    ]


def _type(root: dict[str, Any], field: dict[str, Any]) -> str:
    if "$ref" in field:
        return _type(root, root["$defs"][field["$ref"].rpartition("/")[2]])
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(_type(root, option) for option in field["anyOf"]))
    if field.get("format") == "artifact-id":
        return "file"
    if "enum" in field:
        return " | ".join(map(str, field["enum"]))
    if field.get("type") == "array":
        return f"list of {_type(root, field.get('items', {}))}"
    return str(field.get("const", field.get("type", "any")))


def _show(operation: Operation[Any, Any], *, as_json: bool) -> None:
    known = described(operation)
    if as_json:
        terminal.say_json(known)
        return
    terminal.say(f"{operation.name}, version {operation.version}: {operation.summary}")
    terminal.say("")
    terminal.say_table(("INPUT", "TYPE", "DEFAULT", "MEANING"), fields(known["input"]))
    terminal.say("")
    terminal.say_table(("OUTPUT", "TYPE", "DEFAULT", "MEANING"), fields(known["output"]))
    terminal.say("")
    terminal.say(f"needs: {', '.join(known['needs'].values()) or 'nothing'}")
    for title, example in known["examples"].items():
        terminal.say(f"example {title}: {json.dumps(example, ensure_ascii=False)}")
