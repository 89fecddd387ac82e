"""Which operations this process knows, what meets their needs, and how their runs flow."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel

from understudy.engine.flow import Failure, Flow
from understudy.engine.operation import Operation
from understudy.engine.retry import Retry
from understudy.engine.run import Run, Scope
from understudy.errors import ConfigError, MissingNeed, UnknownOperation

Provide = Callable[[Run], object]


class Registry:
    """Operations by name. Built once at start; what does not fit together is an error then.

    An operation may be there in several versions: new runs get the newest, and a run that began
    under another goes on with that one for as long as it is there. `retries` overrides fields of
    operations' `Retry`: `{"morph": {"attempts": 6}}`.
    """

    def __init__(
        self,
        operations: Iterable[Operation[Any, Any]],
        provided: Mapping[type, Provide],
        retries: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        self._provided = provided
        self._operations: dict[str, Operation[Any, Any]] = {}
        self._versions: dict[tuple[str, int], Operation[Any, Any]] = {}
        for operation in operations:
            key = (operation.name, operation.version)
            known = self._versions.setdefault(key, operation)
            if known is not operation:
                raise ConfigError(
                    f"two operations are named {operation.name!r}: {_place(known)} and "
                    f"{_place(operation)}; rename one, or give it another version"
                )
            self._check_needs(operation)
            newest = self._operations.setdefault(operation.name, operation)
            if newest.version < operation.version:
                self._operations[operation.name] = operation
        for operation in self:
            self._check_on_failure(operation)
        overrides = (retries or {}).items()
        self._retries = {name: self._overridden(name, fields) for name, fields in overrides}

    def __iter__(self) -> Iterator[Operation[Any, Any]]:
        """The newest of each operation, by name."""
        return iter(sorted(self._operations.values(), key=lambda operation: operation.name))

    @property
    def names(self) -> tuple[str, ...]:
        """The known names, sorted."""
        return tuple(sorted(self._operations))

    def get(self, name: str) -> Operation[Any, Any]:
        """The operation. Raises `UnknownOperation`, which lists the known names."""
        if name not in self._operations:
            raise UnknownOperation(
                f"no operation is named {name!r}; known: {', '.join(self.names) or 'none'}. "
                "Your own come with --load FILE.py"
            )
        return self._operations[name]

    def for_run(self, run: Run) -> Operation[Any, Any]:
        """The operation in the run's own version, or in the newest when that is gone.

        Raises `UnknownOperation`.
        """
        return self._versions.get((run.operation, run.version)) or self.get(run.operation)

    def scope(self, *, root: str | None = None, since: float | None = None) -> Scope:
        """All that this process can drive; see `Scope` for `root` and `since`."""
        versions = {operation.name: operation.version for operation in self}
        return Scope(self.names, self.flows, versions, root, since)

    def needs_of(self, operation: Operation[Any, Any], run: Run) -> dict[str, object]:
        """The keyword arguments that the operation's function gets for this run."""
        return {name: self._provided[type_](run) for name, type_ in operation.needs.items()}

    def retry_of(self, operation: Operation[Any, Any]) -> Retry:
        """How its steps are tried again: its own `Retry`, with what the settings override."""
        return self._retries.get(operation.name, operation.retry)

    @functools.cached_property
    def flows(self) -> Mapping[str, Flow]:
        """What claims must keep to, by lane; only limited operations are there."""
        limited = ((operation.lane, operation.flow) for operation in self)
        return MappingProxyType({lane: flow for lane, flow in limited if flow is not None})

    @functools.cached_property
    def crons(self) -> tuple[Operation[Any, Any], ...]:
        """The operations that start by the clock."""
        return tuple(operation for operation in self if operation.cron is not None)

    def triggered_by(self, signal: str) -> tuple[Operation[Any, Any], ...]:
        """The operations that signals of this name may start; `starts_on` looks at the data."""
        return self._triggered.get(signal, ())

    @functools.cached_property
    def _triggered(self) -> dict[str, tuple[Operation[Any, Any], ...]]:
        names = {trigger.signal for operation in self for trigger in operation.trigger}
        return {
            name: tuple(
                operation
                for operation in self
                if any(trigger.signal == name for trigger in operation.trigger)
            )
            for name in names
        }

    def _overridden(self, name: str, fields: Mapping[str, float]) -> Retry:
        """The retry of the operation `name` with `fields` replaced. Raises `ConfigError`."""
        if name not in self._operations:
            known = ", ".join(self.names) or "none"
            raise ConfigError(f"retry of {name!r}: no operation is named so; known: {known}")
        allowed = [field.name for field in dataclasses.fields(Retry)]
        unknown = [field for field in fields if field not in allowed]
        if unknown:
            raise ConfigError(
                f"retry of {name!r}: {', '.join(unknown)} cannot be set; what can: "
                f"{', '.join(allowed)}"
            )
        changed: dict[str, Any] = {**fields}
        attempts = changed.get("attempts", 1)
        if attempts != attempts // 1:
            raise ConfigError(f"retry of {name!r}: attempts is a whole number, not {attempts}")
        if "attempts" in changed:
            changed["attempts"] = int(attempts)
        try:
            return dataclasses.replace(self._operations[name].retry, **changed)
        except ValueError as error:
            raise ConfigError(f"retry of {name!r}: {error}") from error

    def _check_on_failure(self, operation: Operation[Any, Any]) -> None:
        """The operation named there is known, takes a `Failure`, and ends in no circle."""
        seen = [operation.name]
        while (name := self._operations[seen[-1]].on_failure) is not None:
            if name not in self._operations:
                raise ConfigError(
                    f"operation {seen[-1]!r}: on_failure names {name!r}, and no operation here is "
                    f"named so; known: {', '.join(self.names)}"
                )
            if not _takes_failure(self._operations[name].input):
                fields = ", ".join(Failure.model_fields)
                raise ConfigError(
                    f"operation {seen[-1]!r}: on_failure names {name!r}, whose input does not take "
                    f"a Failure ({fields})"
                )
            if name in seen:
                circle = " -> ".join([*seen, name])
                raise ConfigError(f"on_failure goes in a circle: {circle}")
            seen.append(name)

    def _check_needs(self, operation: Operation[Any, Any]) -> None:
        for name, type_ in operation.needs.items():
            if type_ not in self._provided:
                known = ", ".join(sorted(provided.__name__ for provided in self._provided))
                raise MissingNeed(
                    f"operation {operation.name!r} needs {name}: {type_.__name__}, and nothing "
                    f"here provides it; provided: {known or 'nothing'}"
                )


def load_file(path: Path) -> list[Operation[Any, Any]]:
    """The operations that a Python file defines or imports.

    The file is run under the module name `understudy_loaded_NAME`. Raises `ConfigError` if it
    cannot be run or has no operation.
    """
    name = f"understudy_loaded_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ConfigError(f"cannot load {path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    # Annotations are resolved through sys.modules.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ConfigError(f"cannot load {path}: {type(error).__name__}: {error}") from error
    found = [value for value in vars(module).values() if isinstance(value, Operation)]
    if not found:
        raise ConfigError(f"{path} defines no operation; see docs/howto/write-an-operation.md")
    return found


def _takes_failure(model: type[BaseModel]) -> bool:
    """Whether the fields of a `Failure` are an input of this type, as far as their names tell."""
    given, taken = set(Failure.model_fields), model.model_fields
    asked = {name for name, field in taken.items() if field.is_required()}
    return asked <= given and (model.model_config.get("extra") != "forbid" or given <= set(taken))


def _place(operation: Operation[Any, Any]) -> str:
    return f"{operation.function.__module__}.{operation.function.__qualname__}"
