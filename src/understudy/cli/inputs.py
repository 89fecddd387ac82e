"""An operation's input from the command line: `--set field=value` and files, by the JSON schema."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from understudy.errors import InputError

Schema = Mapping[str, Any]

_ARTIFACT = "artifact-id"


def assigned(schema: Schema, settings: Iterable[str]) -> dict[str, Any]:
    """The input as far as `--set` gives it.

    Dotted paths reach into objects. A text field takes its value as it is; any other takes JSON,
    and what is not JSON as text, for the operation's own types to read. Raises `InputError`.
    """
    data: dict[str, Any] = {}
    for setting in settings:
        path, equals, value = setting.partition("=")
        if not equals or not path:
            raise InputError(f"--set {setting}: write it as field=value")
        _put(data, path, _value(_field(schema, path), value))
    return data


def placed(schema: Schema, data: Mapping[str, Any], files: Sequence[str]) -> dict[str, Any]:
    """The input with `files` (artifact ids) in the fields that take files, in order.

    A single field takes one, a list takes all that later fields do not need; what `--set` gave is
    left alone. Raises `InputError` when the operation cannot take as many.
    """
    free = [(name, many) for name, many in _file_fields(schema) if name not in data]
    result, left = dict(data), list(files)
    for position, (name, many) in enumerate(free):
        needed_later = sum(not other for _, other in free[position + 1 :])
        take = max(0, len(left) - needed_later) if many else min(1, len(left))
        if take:
            result[name] = left[:take] if many else left[0]
            del left[:take]
    if left:
        room = len(files) - len(left)
        raise InputError(f"{len(files)} files given, and this operation takes {room or 'none'}")
    return result


def _file_fields(schema: Schema) -> Iterator[tuple[str, bool]]:
    """The top-level fields that take files: name, and whether many."""
    for name, field in schema.get("properties", {}).items():
        for option in _options(schema, field):
            if option.get("format") == _ARTIFACT:
                yield name, False
                break
            items = _options(schema, option.get("items", {}))
            if any(item.get("format") == _ARTIFACT for item in items):
                yield name, True
                break


def _options(root: Schema, schema: Schema) -> list[Schema]:
    """The alternatives of a schema, references followed."""
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        return _options(root, root["$defs"][name])
    branches = [*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())]
    return [option for branch in branches for option in _options(root, branch)] or [schema]


def _field(root: Schema, path: str) -> list[Schema]:
    """What a dotted path may hold."""
    options: list[Schema] = _options(root, root)
    walked: list[str] = []
    for part in path.split("."):
        found = [schema for option in options for schema in _child(option, part)]
        if not found:
            raise InputError(_no_such_field(".".join([*walked, part]), options, walked))
        walked.append(part)
        options = [option for schema in found for option in _options(root, schema)]
    return options


def _child(schema: Schema, name: str) -> list[Schema]:
    if name in schema.get("properties", {}):
        return [schema["properties"][name]]
    extra = schema.get("additionalProperties", False)
    return [] if extra is False else [{} if extra is True else extra]


def _no_such_field(path: str, options: list[Schema], walked: list[str]) -> str:
    known = [name for option in options for name in option.get("properties", {})]
    near = difflib.get_close_matches(path.rpartition(".")[2], known, n=1)
    prefix = "".join(f"{part}." for part in walked)
    if near:
        return f"--set {path}: no such field; did you mean {prefix}{near[0]}?"
    return f"--set {path}: no such field; known: {', '.join(prefix + n for n in known) or 'none'}"


def _value(options: list[Schema], text: str) -> Any:
    types = {option.get("type") for option in options}
    if text == "null" and "null" in types:
        return None
    if types - {"null"} == {"string"}:
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _put(data: dict[str, Any], path: str, value: Any) -> None:
    *folders, last = path.split(".")
    place = data
    for folder in folders:
        inner = place.setdefault(folder, {})
        if not isinstance(inner, dict):
            raise InputError(f"--set {path}: {folder} is already set to a plain value")
        place = inner
    if last in place:
        raise InputError(f"--set {path}: given twice")
    place[last] = value
