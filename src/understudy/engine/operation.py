"""What a customer can ask for: a typed async function with a name and a version."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
import typing
from collections.abc import Callable, Coroutine, Mapping
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from understudy.engine.codec import Codec
from understudy.engine.retry import Retry
from understudy.errors import ConfigError, InvalidInput

I = TypeVar("I", bound=BaseModel)  # noqa: E741 - the input
O = TypeVar("O", bound=BaseModel)  # noqa: E741 - the output

_NAME = re.compile(r"[a-z][a-z0-9]*(?:[-_.][a-z0-9]+)*\Z")


@dataclasses.dataclass(frozen=True)
class Operation(Generic[I, O]):
    """One thing that can be bought: its types, its needs, its examples.

    `needs` maps the function's keyword-only parameters to the types that must be provided.
    """

    name: str
    version: int
    function: Callable[..., Coroutine[Any, Any, O]]
    input: type[I]
    output: type[O]
    needs: Mapping[str, type]
    examples: Mapping[str, I]
    retry: Retry

    @property
    def summary(self) -> str:
        """The first line of the function's docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    @functools.cached_property
    def result(self) -> Codec:
        """Reads and writes the output as JSON."""
        return Codec(self.output)

    def parse(self, data: Mapping[str, Any] | BaseModel) -> I:
        """The input as its type. Raises `InvalidInput`, which names every field at fault."""
        plain = data.model_dump(mode="json") if isinstance(data, BaseModel) else data
        try:
            return self.input.model_validate(plain)
        except ValidationError as error:
            faults = "; ".join(
                f"{'.'.join(str(part) for part in fault['loc']) or 'input'}: {fault['msg']}"
                for fault in error.errors(include_url=False, include_input=False)
            )
            raise InvalidInput(f"{self.name}: {faults}") from error


def operation(
    name: str,
    *,
    version: int = 1,
    retry: Retry | None = None,
    examples: Mapping[str, I] | None = None,
) -> Callable[[Callable[..., Coroutine[Any, Any, O]]], Operation[I, O]]:
    """Make an operation of `async def f(ctx, input: Input, *, need: Need) -> Output`.

    `Input` and `Output` are pydantic models. Keyword-only parameters are needs, met by type when
    the app is built. `retry` is the default of its steps. Raises `ConfigError` on a bad signature.
    """
    if not _NAME.match(name):
        raise ConfigError(f"an operation's name is like 'text-to-image', not {name!r}")

    def wrap(function: Callable[..., Coroutine[Any, Any, O]]) -> Operation[I, O]:
        taken, given, needs = _signature(name, function)
        return Operation(
            name=name,
            version=version,
            function=function,
            input=taken,
            output=given,
            needs=MappingProxyType(needs),
            examples=MappingProxyType(dict(examples or {})),
            retry=retry or Retry(),
        )

    return wrap


def _signature(
    name: str, function: Callable[..., Any]
) -> tuple[type[Any], type[Any], dict[str, type]]:
    if not inspect.iscoroutinefunction(function):
        raise ConfigError(f"operation {name!r} must be an async function")
    try:
        hints = typing.get_type_hints(function)
    except (AttributeError, NameError, SyntaxError, TypeError) as error:
        raise ConfigError(
            f"operation {name!r}: its annotations cannot be resolved ({error}); define the types "
            "that it names at the top of its module"
        ) from error
    parameters = list(inspect.signature(function).parameters.values())
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needs = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
    if len(positional) != 2 or len(positional) + len(needs) != len(parameters):
        raise ConfigError(f"operation {name!r} takes (ctx, input) and keyword-only needs")
    taken, given = hints.get(positional[1].name), hints.get("return")
    for what, declared in (("input", taken), ("return", given)):
        if not (isinstance(declared, type) and issubclass(declared, BaseModel)) or (
            declared is BaseModel
        ):
            raise ConfigError(f"operation {name!r} needs a pydantic model as its {what} type")
    untyped = [p.name for p in needs if p.name not in hints]
    if untyped:
        raise ConfigError(f"operation {name!r}: give {', '.join(untyped)} a type")
    assert taken is not None
    assert given is not None
    return taken, given, {p.name: hints[p.name] for p in needs}
