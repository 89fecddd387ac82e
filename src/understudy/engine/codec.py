"""JSON for step results: a function's return type is its decoder.

What the operation receives is the same on the first run and on every replay: a declared type comes
back as that type, an undeclared value as JSON gives it (a tuple is a list, both times).
"""

from __future__ import annotations

import functools
import inspect
import json
import typing
import weakref
from collections.abc import Callable
from typing import Any

from pydantic import PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from understudy.errors import Unserializable

# Without spaces, and made once: `json.dumps` with options makes an encoder for every call.
_encode = json.JSONEncoder(allow_nan=False, separators=(",", ":"), ensure_ascii=False).encode

_SCALARS = (int, str, float, bool, type(None))


class Codec:
    """Turns one type's values to JSON text and back."""

    def __init__(self, declared: Any = Any) -> None:
        plain = declared is Any or declared in _SCALARS
        self._adapter: TypeAdapter[Any] | None = None if plain else TypeAdapter(declared)

    def dump(self, value: Any) -> str:
        """JSON text. Raises `Unserializable` for what JSON or the declared type cannot hold."""
        try:
            if self._adapter is None:
                text = _encode(value)
                if not text.isascii():
                    text.encode()  # half a surrogate pair is no text that a database takes
                return text
            # What `TypeAdapter.dump_json` does, without its thirteen options. A value of another
            # type is not warned of: `load` judges it, on the first run as on every replay.
            return self._adapter.serializer.to_json(value, warnings=False).decode()
        except (TypeError, ValueError, RecursionError, PydanticSerializationError) as error:
            raise _not_remembered(value, error) from error

    def load(self, text: str) -> Any:
        """The value. Raises `Unserializable` if the text does not fit the declared type."""
        try:
            return self._read(text)
        except ValidationError as error:
            raise Unserializable(
                f"the remembered result no longer fits its type: {error}"
            ) from error

    def settle(self, value: Any, text: str) -> Any:
        """What the operation receives on the first run: the same as `load(text)` will give.

        Raises `Unserializable` for what could not be loaded.
        """
        if type(value) in _SCALARS and self._adapter is None:
            return value
        try:
            return self._read(text)
        except ValidationError as error:
            raise _not_remembered(value, error) from error

    def _read(self, text: str) -> Any:
        if self._adapter is None:
            return json.loads(text)
        return self._adapter.validator.validate_json(text)


def _not_remembered(value: Any, error: Exception) -> Unserializable:
    return Unserializable(
        f"a result of type {type(value).__name__} cannot be remembered: {error}; "
        "return JSON values, or declare a pydantic return type"
    )


_PLAIN = Codec()
_codecs: weakref.WeakKeyDictionary[Callable[..., Any], Codec] = weakref.WeakKeyDictionary()


def codec_of(function: Callable[..., Any]) -> Codec:
    """The codec of a function's declared return type."""
    function = getattr(function, "__func__", function)
    while isinstance(function, functools.partial):
        function = function.func
    try:
        codec = _codecs.get(function)
    except TypeError:  # an object that cannot be weakly referenced
        return _PLAIN
    if codec is None:
        codec = _codecs[function] = _declared_codec(function)
    return codec


def _declared_codec(function: Callable[..., Any]) -> Codec:
    if not inspect.isroutine(function):
        function = type(function).__call__
    try:
        declared = typing.get_type_hints(function, include_extras=True).get("return", Any)
        return Codec(declared)
    # An annotation that only a type checker can resolve, or a type that pydantic does not know.
    except (AttributeError, NameError, SyntaxError, TypeError, PydanticUserError):
        return _PLAIN
