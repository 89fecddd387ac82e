"""A form made from an operation's JSON Schema, and what comes back of it. Pure.

A field that HTML cannot ask for nicely is asked for as JSON.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import ValidationError

Kind = Literal["files", "file", "choice", "flag", "number", "integer", "text", "lines", "json"]
Schema = Mapping[str, Any]

_ARTIFACT = "artifact-id"
_WHOLE = ""
"""The name of the one field of an input that is no object."""

MOST_FILES = 2000


@dataclasses.dataclass(frozen=True)
class Field:
    """One question. `value` is what it shows: text, a bool for a flag, ids for files."""

    name: str
    kind: Kind
    label: str
    note: str
    required: bool
    value: Any = None
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    above: float | None = None
    pattern: str | None = None
    fault: str = ""

    @property
    def wide(self) -> bool:
        """Whether it takes the whole width."""
        return self.kind in {"files", "file", "json", "lines"}


@dataclasses.dataclass(frozen=True)
class Answer:
    """What was sent: texts by field name, and for fields of files the ids of what is stored."""

    texts: Mapping[str, str]
    files: Mapping[str, Sequence[str]]


def fields_of(schema: Schema) -> list[Field]:
    """The questions of a schema, in its order, with its defaults in them."""
    properties = schema.get("properties")
    if properties is None or schema.get("additionalProperties") not in {None, False}:
        return [Field(_WHOLE, "json", "Input", "as JSON", required=True, value="{}")]
    required = schema.get("required", ())
    return [_field(schema, name, part, name in required) for name, part in properties.items()]


def filled(fields: Sequence[Field], data: Any) -> list[Field]:
    """The questions with an input's values in them."""
    if [field.name for field in fields] == [_WHOLE]:
        return [dataclasses.replace(fields[0], value=_as_json(data))]
    known = data if isinstance(data, Mapping) else {}
    return [
        dataclasses.replace(field, value=_shown(field.kind, known[field.name]))
        if field.name in known
        else field
        for field in fields
    ]


def answered(fields: Sequence[Field], answer: Answer) -> list[Field]:
    """The questions as they were answered, to be asked again."""
    return [dataclasses.replace(field, value=_said(field, answer)) for field in fields]


def read(fields: Sequence[Field], answer: Answer) -> tuple[Any, dict[str, str]]:
    """The input that was answered, and the fields that are no JSON, with what is wrong there."""
    data: dict[str, Any] = {}
    faults: dict[str, str] = {}
    for field in fields:
        try:
            for value in _values(field, answer):
                data[field.name] = value
        except ValueError as error:
            faults[field.name] = str(error)
    return (data.get(_WHOLE) if _WHOLE in data else data), faults


def faults_of(error: ValidationError, fields: Sequence[Field]) -> tuple[dict[str, str], list[str]]:
    """What pydantic found, by the field that shows it; and what no field shows."""
    names = {field.name for field in fields}
    by_field: dict[str, str] = {}
    others = []
    for fault in error.errors(include_url=False, include_input=False):
        place = fault["loc"]
        first = str(place[0]) if place else _WHOLE
        inner = ".".join(str(part) for part in place[1:])
        text = fault["msg"].removeprefix("Value error, ")
        if first in names:
            by_field.setdefault(first, f"{inner}: {text}" if inner else text)
        else:
            others.append(f"{first}: {text}" if first else text)
    return by_field, others


def with_faults(fields: Sequence[Field], faults: Mapping[str, str]) -> list[Field]:
    """The questions, with what is wrong said beside them."""
    return [dataclasses.replace(field, fault=faults.get(field.name, "")) for field in fields]


def _field(root: Schema, name: str, part: Schema, required: bool) -> Field:
    options = [option for option in _options(root, part) if option.get("type") != "null"]
    only = options[0] if len(options) == 1 else {}
    kind, choices = _kind(root, only)
    default = part.get("default")
    blank: Any = () if kind in {"file", "files"} else False if kind == "flag" else ""
    return Field(
        name=name,
        kind=kind,
        label=_label(name, part.get("title")),
        note=str(part.get("description") or only.get("description") or ""),
        required=required,
        value=blank if default is None else _shown(kind, default),
        choices=choices,
        least=only.get("minimum"),
        most=only.get("maximum"),
        above=only.get("exclusiveMinimum"),
        pattern=only.get("pattern"),
    )


def _label(name: str, title: str | None) -> str:
    """The author's title, or the field's name as words; pydantic's own titles are neither."""
    words = name.replace("_", " ")
    return title if title and title != words.title() else words[:1].upper() + words[1:]


def _kind(root: Schema, option: Schema) -> tuple[Kind, tuple[str, ...]]:
    """How to ask for a value of this schema."""
    type_ = option.get("type")
    if "enum" in option and all(isinstance(value, str) for value in option["enum"]):
        return "choice", tuple(option["enum"])
    if option.get("format") == _ARTIFACT:
        return "file", ()
    if type_ == "array":
        items = _options(root, option.get("items", {}))
        if any(item.get("format") == _ARTIFACT for item in items):
            return "files", ()
        plain = all(item.get("type") == "string" and "enum" not in item for item in items)
        return ("lines" if plain else "json"), ()
    plain_kinds: dict[Any, Kind] = {
        "boolean": "flag",
        "integer": "integer",
        "number": "number",
        "string": "text",
    }
    return plain_kinds.get(type_, "json"), ()


def _options(root: Schema, schema: Schema) -> list[Schema]:
    """The alternatives of a schema, references followed."""
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        return _options(root, root["$defs"][name])
    branches = [*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())]
    return [option for branch in branches for option in _options(root, branch)] or [schema]


def _shown(kind: Kind, value: Any) -> Any:
    """A value of the input as its field shows it."""
    if kind in {"file", "files"}:
        ids = value if isinstance(value, list | tuple) else [value]
        return tuple(str(one) for one in ids if one)
    if kind == "flag":
        return bool(value)
    if value is None:
        return ""
    if kind == "lines" and isinstance(value, list | tuple):
        return "\n".join(str(line) for line in value)
    return value if kind != "json" and isinstance(value, str) else _as_json(value)


def _said(field: Field, answer: Answer) -> Any:
    if field.kind in {"file", "files"}:
        return tuple(answer.files.get(field.name, ()))
    if field.kind == "flag":
        return field.name in answer.texts
    return answer.texts.get(field.name, "")


def _values(field: Field, answer: Answer) -> Iterator[Any]:
    """The field's value, or nothing where it was left empty. Raises `ValueError`."""
    said = _said(field, answer)
    if field.kind == "flag":
        yield said
    elif field.kind == "files":
        yield from [list(said)] if said or field.required else []
    elif field.kind == "file":
        yield from said[:1]
    elif field.kind == "lines":
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        yield from [lines] if lines or field.required else []
    elif field.kind in {"json", "number", "integer"}:
        yield from [_json(field, said)] if said.strip() else []
    elif said or (field.required and field.kind == "text"):
        yield said


def _json(field: Field, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        what = "JSON" if field.kind == "json" else "a number"
        raise ValueError(f"this is not {what}: {text[:80]}") from error


def _as_json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
