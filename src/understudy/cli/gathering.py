"""Options that come in groups: a command takes each group as one value."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable, Iterator
from typing import Any


def gathered(command: Callable[..., None]) -> Callable[..., None]:
    """Make a command of a function whose parameters may be dataclasses of options.

    Each field of such a dataclass becomes a parameter of the command, where the group stands.
    """
    hints = typing.get_type_hints(command, include_extras=True)
    given = inspect.signature(command).parameters
    groups = {name: hints[name] for name in given if dataclasses.is_dataclass(hints[name])}

    @functools.wraps(command)
    def gather(**values: Any) -> None:
        made = {
            name: group(**{field: values.pop(field) for field in _fields(group)})
            for name, group in groups.items()
        }
        command(**values, **made)

    parameters = []
    for name, parameter in given.items():
        if name in groups:
            parameters += list(_parameters(groups[name]))
        else:
            parameters.append(_keyword(name, hints[name], parameter.default))
    signature = inspect.Signature(parameters)
    gather.__annotations__ = {name: one.annotation for name, one in signature.parameters.items()}
    gather.__signature__ = signature  # type: ignore[attr-defined]  # what Typer looks at
    return gather


def _fields(group: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(group)]


def _parameters(group: Any) -> Iterator[inspect.Parameter]:
    hints = typing.get_type_hints(group, include_extras=True)
    for field in dataclasses.fields(group):
        yield _keyword(field.name, hints[field.name], field.default)


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)
