"""What a customer can ask for: a typed async function with a name and a version."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
import typing
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Generic, TypedDict, TypeVar, Unpack

from pydantic import BaseModel, RootModel, ValidationError

from understudy.engine.codec import Codec
from understudy.engine.cron import Cron
from understudy.engine.flow import (
    MOST_PRIORITY,
    CancelOn,
    Concurrency,
    Flow,
    Throttle,
    Timeout,
    Trigger,
)
from understudy.engine.retry import Retry
from understudy.errors import ConfigError, InvalidInput

I = TypeVar("I", bound=BaseModel)  # noqa: E741 - the input
O = TypeVar("O", bound=BaseModel)  # noqa: E741 - the output

_NAME = re.compile(r"[a-z][a-z0-9]*(?:[-_.][a-z0-9]+)*\Z")


@dataclasses.dataclass(frozen=True)
class Operation(Generic[I, O]):
    """One thing that can be bought: its types, its needs, its examples, and how its runs flow.

    `needs` maps the function's keyword-only parameters to the types that must be provided. The
    options from `concurrency` on are those of `Options`; `on_failure` is a name.
    """

    name: str
    version: int
    function: Callable[..., Coroutine[Any, Any, O]]
    input: type[I]
    output: type[O]
    needs: Mapping[str, type]
    examples: Mapping[str, I]
    retry: Retry
    concurrency: Concurrency | None = None
    throttle: Throttle | None = None
    priority: float | Callable[[Any], float] = 0.0
    timeout: Timeout | None = None
    cancel_on: tuple[CancelOn, ...] = ()
    on_failure: str | None = None
    cron: Cron | None = None
    trigger: tuple[Trigger, ...] = ()
    idempotency: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """The first line of the function's docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    @functools.cached_property
    def result(self) -> Codec:
        """Reads and writes the output as JSON."""
        return Codec(self.output)

    @functools.cached_property
    def flow(self) -> Flow | None:
        """What its claims must keep to; None without concurrency and throttle."""
        if self.concurrency is None and self.throttle is None:
            return None
        keyed = self.concurrency is not None and self.concurrency.key is not None
        return Flow(
            total=self.concurrency.total if self.concurrency else None,
            each=self.concurrency.each if self.concurrency and keyed else None,
            throttle=self.throttle,
        )

    @property
    def limited(self) -> bool:
        """Whether concurrency or throttle hold runs back."""
        return self.flow is not None

    @property
    def lane(self) -> str:
        """The queue that its runs stand in: its own if it is limited, else "", which all share."""
        return self.name if self.limited else ""

    def head_start(self, given: I) -> float:
        """Seconds by which the run of this input may overtake others, kept to what is allowed."""
        wanted = self.priority(given) if callable(self.priority) else self.priority
        return min(max(0.0, wanted), MOST_PRIORITY)

    def starts_on(self, signal: str, data: Any) -> bool:
        """Whether a signal of this name and data (JSON) starts a run."""
        return any(trigger.fits(signal, data) for trigger in self.trigger)

    def parse(self, data: Mapping[str, Any] | BaseModel) -> I:
        """The input as its type. Raises `InvalidInput`, which names every field at fault."""
        plain = data.model_dump(mode="json") if isinstance(data, BaseModel) else data
        try:
            return self.input.model_validate(plain)
        except ValidationError as error:
            raise self._misfit(error) from error

    def check(self, text: str) -> None:
        """Raise `InvalidInput` unless this JSON fits the input's schema as it is, unconverted."""
        try:
            self.input.model_validate_json(text, strict=True)
        except ValidationError as error:
            raise self._misfit(error) from error

    def _misfit(self, error: ValidationError) -> InvalidInput:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc']) or 'input'}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False)
        )
        return InvalidInput(f"{self.name}: {faults}")


class Options(TypedDict, total=False):
    """What `@operation` takes besides: how runs start, queue and end.

    - `concurrency`, `throttle`: how many runs at once, and how many starts in a time.
    - `priority`: seconds, 0 to 43,200, by which a run may overtake others, or a function of the
      input that says so (what it returns is kept to this range). It counts as due that much
      earlier, so nothing waits for ever.
    - `timeout`: how long a run may wait for its start, and how long it may take.
    - `cancel_on`: signals that cancel runs. `trigger`: signals that start one.
    - `on_failure`: the operation, or its name, that is started with a `Failure` when a run has
      failed for good.
    - `cron`: when runs start by themselves.
    - `idempotency`: dotted paths into the input; runs with equal values there are one and the
      same, unless the caller gives a key of its own.
    """

    concurrency: Concurrency
    throttle: Throttle
    priority: float | Callable[[Any], float]
    timeout: Timeout
    cancel_on: Sequence[CancelOn]
    on_failure: str | Operation[Any, Any]
    cron: Cron
    trigger: Sequence[Trigger]
    idempotency: str | tuple[str, ...]


def operation(
    name: str,
    *,
    version: int = 1,
    retry: Retry | None = None,
    examples: Mapping[str, I] | None = None,
    **options: Unpack[Options],
) -> Callable[[Callable[..., Coroutine[Any, Any, O]]], Operation[I, O]]:
    """Make an operation of `async def f(ctx, input: Input, *, need: Need) -> Output`.

    `Input` and `Output` are pydantic models. Keyword-only parameters are needs, met by type when
    the app is built. `retry` is the default of its steps; for the other options see `Options`.
    Raises `ConfigError` on a bad signature, and on options that do not fit it or each other.
    """
    if not _NAME.match(name):
        raise ConfigError(f"an operation's name is like 'text-to-image', not {name!r}")
    settled = _settled(name, options)

    def wrap(function: Callable[..., Coroutine[Any, Any, O]]) -> Operation[I, O]:
        taken, given, needs = _signature(name, function)
        made: Operation[I, O] = Operation(
            name=name,
            version=version,
            function=function,
            input=taken,
            output=given,
            needs=MappingProxyType(needs),
            examples=MappingProxyType(dict(examples or {})),
            retry=retry or Retry(),
            **settled,
        )
        _check_input(made)
        return made

    return wrap


_ONE = {"concurrency": Concurrency, "throttle": Throttle, "timeout": Timeout, "cron": Cron}
_MANY = {"cancel_on": CancelOn, "trigger": Trigger}


def _settled(name: str, options: Options) -> dict[str, Any]:
    """The options as `Operation` holds them."""
    unknown = sorted(set(options) - set(Options.__annotations__))
    if unknown:
        known = ", ".join(Options.__annotations__)
        raise ConfigError(f"operation {name!r}: {', '.join(unknown)} is no option; known: {known}")
    settled: dict[str, Any] = {**options}
    for option, kind in _ONE.items():
        if option in settled and not isinstance(settled[option], kind):
            raise ConfigError(
                f"operation {name!r}: {option} is one {kind.__name__}(...), not {settled[option]!r}"
            )
    for option, kind in _MANY.items():
        if option in settled:
            settled[option] = _all(name, option, kind, settled[option])
    failed = settled.get("on_failure")
    if isinstance(failed, Operation):
        settled["on_failure"] = failed.name
    if settled.get("on_failure") == name:
        raise ConfigError(f"operation {name!r} cannot be its own on_failure")
    paths = settled.get("idempotency", ())
    settled["idempotency"] = (paths,) if isinstance(paths, str) else tuple(paths)
    wanted = settled.get("priority", 0.0)
    if not callable(wanted) and not 0 <= wanted <= MOST_PRIORITY:
        raise ConfigError(
            f"operation {name!r}: priority is 0 to {MOST_PRIORITY:,.0f} seconds, not {wanted!r}"
        )
    return settled


def _all(name: str, option: str, kind: type, given: object) -> tuple[Any, ...]:
    if not isinstance(given, Sequence) or not all(isinstance(one, kind) for one in given):
        raise ConfigError(
            f"operation {name!r}: {option} is a list of {kind.__name__}(...), not {given!r}"
        )
    return tuple(given)


def _check_input(made: Operation[Any, Any]) -> None:
    """Raise `ConfigError` if the options ask for what the input does not have."""
    for option, path in _input_paths(made):
        if not _leads_somewhere(made.input, path):
            fields = ", ".join(made.input.model_fields)
            raise ConfigError(
                f"operation {made.name!r}: {option} names {path!r}, which is not in its input; "
                f"that has {fields or 'no fields'}"
            )
    if made.cron is not None:
        try:
            made.parse(made.cron.input)
        except InvalidInput as error:
            raise ConfigError(f"the input of its cron does not fit {error.message}") from error


def _input_paths(made: Operation[Any, Any]) -> Iterator[tuple[str, str]]:
    for option, limit in (("concurrency", made.concurrency), ("throttle", made.throttle)):
        if limit is not None and limit.key not in {None, "tenant", "user"}:
            yield option, limit.key or ""
    for cancel in made.cancel_on:
        yield from (("cancel_on", path) for path in cancel.paths.values())
    yield from (("idempotency", path) for path in made.idempotency)


def _leads_somewhere(model: type[BaseModel], path: str) -> bool:
    """Whether the JSON of `model` may have something at `path`, as far as its fields tell."""
    if issubclass(model, RootModel) or model.model_config.get("extra") == "allow":
        return True
    first, _, rest = path.partition(".")
    if first not in model.model_fields:
        return first in model.model_computed_fields
    inner = model.model_fields[first].annotation
    if not rest or not isinstance(inner, type) or not issubclass(inner, BaseModel):
        return True
    return _leads_somewhere(inner, rest)


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
