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
    from understudy.client import AsyncClient
    from understudy.engine.operation import Operation


def operations(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(help="Show this one in full.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the operations, or show one: its input, its output and its examples."""

    async def work(app: App) -> None:
        found = list(app.registry) if name is None else [app.registry.get(name)]
        _say(list(map(described, found)), one=name is not None, as_json=as_json)

    async def there(client: AsyncClient) -> None:
        found = await client.operations() if name is None else [await client.operation(name)]
        known = [operation.model_dump(mode="json") for operation in found]
        _say(known, one=name is not None, as_json=as_json)

    perform(ctx, work, as_json=as_json, remote=there)


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


def _say(known: list[dict[str, Any]], *, one: bool, as_json: bool) -> None:
    if as_json:
        terminal.say_json(known[0] if one else known)
    elif one:
        _show(known[0])
    else:
        rows = [(each["name"], each["version"], each["summary"]) for each in known]
        terminal.say_table(("NAME", "VERSION", "WHAT IT DOES"), rows)


def _show(known: dict[str, Any]) -> None:
    terminal.say(f"{known['name']}, version {known['version']}: {known['summary']}")
    terminal.say("")
    terminal.say_table(("INPUT", "TYPE", "DEFAULT", "MEANING"), fields(known["input"]))
    terminal.say("")
    terminal.say_table(("OUTPUT", "TYPE", "DEFAULT", "MEANING"), fields(known["output"]))
    terminal.say("")
    if "needs" in known:  # a server does not tell what it is made of
        terminal.say(f"needs: {', '.join(known['needs'].values()) or 'nothing'}")
    for title, example in known["examples"].items():
        terminal.say(f"example {title}: {json.dumps(example, ensure_ascii=False)}")
