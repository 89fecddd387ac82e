"""Step results as JSON and back."""

from __future__ import annotations

import functools
from collections.abc import Awaitable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from understudy.engine.codec import Codec, codec_of
from understudy.errors import Unserializable

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc", max_size=3), inner),
    max_leaves=10,
)


class Photo(BaseModel):
    name: str


@given(value=JSON)
def test_json_comes_back(value: Any) -> None:
    """What JSON holds is the same after a crash, and the first run sees that, too."""
    codec = Codec()
    text = codec.dump(value)
    assert codec.load(text) == value
    assert codec.settle(value, text) == value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, object(), "\ud800", b""])
def test_what_json_cannot_hold_is_refused(value: Any) -> None:
    """The error names the type."""
    with pytest.raises(Unserializable, match=type(value).__name__):
        Codec().dump(value)


def test_a_type_that_no_longer_fits_is_an_error() -> None:
    """The code has changed since the step was remembered."""
    with pytest.raises(Unserializable, match="no longer fits"):
        Codec(Photo).load('{"title":"x"}')


class Method:
    """Whose method is a step."""

    def photo(self) -> Photo:
        return Photo(name="x")

    __slots__ = ()  # so that it cannot be weakly referenced

    def __call__(self) -> Photo:
        return Photo(name="x")


def unresolved() -> Nowhere:  # type: ignore[name-defined]  # noqa: F821
    """A type that only a type checker may know."""


def coroutine() -> Awaitable[Photo]:
    """A type that pydantic does not know."""
    raise NotImplementedError


@pytest.mark.parametrize(
    ("function", "declared"),
    [
        (Method().photo, True),
        (functools.partial(functools.partial(Method().photo)), True),
        (Method(), False),
        (unresolved, False),
        (coroutine, False),
        (lambda: None, False),
    ],
    ids=repr,
)
def test_a_functions_return_type_is_its_codec(function: Any, *, declared: bool) -> None:
    """Methods and partials have one; what cannot be resolved is plain JSON."""
    loaded = codec_of(function).load('{"name":"x"}')
    assert loaded == (Photo(name="x") if declared else {"name": "x"})
    assert codec_of(function).load('{"name":"x"}') == loaded
