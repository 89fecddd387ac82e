"""Which operations this process knows, and what meets their needs."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from understudy.engine.operation import Operation
from understudy.engine.run import Run
from understudy.errors import ConfigError, MissingNeed, UnknownOperation

Provide = Callable[[Run], object]


class Registry:
    """Operations by name. Built once at start; a need that nothing meets is an error then."""

    def __init__(
        self, operations: Iterable[Operation[Any, Any]], provided: Mapping[type, Provide]
    ) -> None:
        self._provided = provided
        self._operations: dict[str, Operation[Any, Any]] = {}
        for operation in operations:
            known = self._operations.setdefault(operation.name, operation)
            if known is not operation:
                raise ConfigError(
                    f"two operations are named {operation.name!r}: {_place(known)} and "
                    f"{_place(operation)}; rename one"
                )
            self._check_needs(operation)

    def __iter__(self) -> Iterator[Operation[Any, Any]]:
        """The operations, by name."""
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

    def needs_of(self, operation: Operation[Any, Any], run: Run) -> dict[str, object]:
        """The keyword arguments that the operation's function gets for this run."""
        return {name: self._provided[type_](run) for name, type_ in operation.needs.items()}

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


def _place(operation: Operation[Any, Any]) -> str:
    return f"{operation.function.__module__}.{operation.function.__qualname__}"
