"""Defining, collecting and loading operations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field

from understudy import Context, Retry, operation
from understudy.engine.registry import Registry, load_file
from understudy.errors import ConfigError, InvalidInput, MissingNeed
from understudy.testing.harness import Answer, Given


class Film(BaseModel):
    seconds: int = Field(gt=0)
    title: str


class Brush:
    """A need."""


@operation(
    "film", version=2, retry=Retry(attempts=1), examples={"short": Film(seconds=1, title="x")}
)
async def film(ctx: Context, input: Film, *, brush: Brush) -> Answer:
    """Makes a film.

    And more.
    """
    return Answer()


def test_an_operation_knows_what_its_function_says() -> None:
    """Types, needs, summary and examples come from the function and its decorator."""
    assert (film.name, film.version, film.summary) == ("film", 2, "Makes a film.")
    assert (film.input, film.output) == (Film, Answer)
    assert dict(film.needs) == {"brush": Brush}
    assert film.examples["short"].title == "x"
    assert film.retry.attempts == 1


def test_a_bad_input_names_every_field() -> None:
    """One error for all faults."""
    with pytest.raises(InvalidInput) as error:
        film.parse({"seconds": 0})
    assert "film: seconds: " in error.value.message
    assert "; title: " in error.value.message
    assert film.parse(Film(seconds=1, title="x")) == Film(seconds=1, title="x")


async def untyped(ctx, input):
    """No types."""


async def untyped_need(ctx: Context, input: Given, *, brush) -> Answer:
    """A need without a type."""
    return Answer()


async def too_many(ctx: Context, input: Given, more: int) -> Answer:
    """Three positional parameters."""
    return Answer()


async def no_model(ctx: Context, input: Given) -> int:
    """Returns no model."""
    return 1


async def unresolved(ctx: Context, input: Nowhere) -> Answer:  # type: ignore[name-defined]  # noqa: F821
    """Names a type that is not there."""
    return Answer()


def plain(ctx: Context, input: Given) -> Answer:
    """Not async."""
    return Answer()


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (untyped, "pydantic model as its input type"),
        (untyped_need, "give brush a type"),
        (too_many, "keyword-only needs"),
        (no_model, "pydantic model as its return type"),
        (unresolved, "cannot be resolved"),
        (plain, "must be an async function"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_bad_signature_is_refused(function: Any, said: str) -> None:
    """When the module is imported, with what to change."""
    with pytest.raises(ConfigError, match=said):
        operation("bad")(function)


@pytest.mark.parametrize("name", ["", "Film", "a b", "a--b", "-a", "a'", "a\n"])
def test_a_bad_name_is_refused(name: str) -> None:
    """Names go into URLs and SQL."""
    with pytest.raises(ConfigError, match="text-to-image"):
        operation(name)


def test_a_registry_checks_names_and_needs() -> None:
    """The same operation twice is none too many; two of a name are; needs must be provided."""
    registry = Registry([film, film], {Brush: lambda _: Brush()})
    assert [known.name for known in registry] == ["film"]

    @operation("film")
    async def other(ctx: Context, input: Given) -> Answer:
        return Answer()

    with pytest.raises(
        ConfigError, match=r"two operations are named 'film': .*test_operation.film"
    ):
        Registry([film, other], {Brush: lambda _: Brush()})
    with pytest.raises(MissingNeed, match=r"needs brush: Brush.*provided: int"):
        Registry([film], {int: lambda _: 1})


def test_a_file_of_operations_is_loaded(tmp_path: Path) -> None:
    """Its operations are found; what is none, breaks or is not there is refused by name."""
    file = tmp_path / "mine.py"
    file.write_text(
        "from __future__ import annotations\n"
        "from understudy import Context, operation\n"
        "from understudy.testing.harness import Answer, Given\n"
        "@operation('mine')\n"
        "async def mine(ctx: Context, input: Given) -> Answer: ...\n"
    )
    assert [found.name for found in load_file(file)] == ["mine"]
    for text, said in (("x = 1", "defines no operation"), ("1 / 0", "ZeroDivisionError")):
        file.write_text(text)
        with pytest.raises(ConfigError, match=said):
            load_file(file)
    for missing in (tmp_path / "none.py", tmp_path / "none.txt", tmp_path):
        with pytest.raises(ConfigError, match="not a Python file"):
            load_file(missing)
