"""Collecting and loading operations, and how they start each other."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from understudy import Context, Retry, operation
from understudy.engine.cron import Cron
from understudy.engine.flow import Failure, Flow, Throttle, Trigger
from understudy.engine.operation import Operation
from understudy.engine.registry import Registry, load_file
from understudy.errors import ConfigError, MissingNeed
from understudy.testing.harness import Answer, Given


class Brush:
    """A need."""


class Order(BaseModel):
    """An input."""

    total: int


@operation("film")
async def film(ctx: Context, input: Given, *, brush: Brush) -> Answer:
    """Makes a film."""
    return Answer()


def made(
    name: str = "order", taken: type[BaseModel] = Given, **options: Any
) -> Operation[Any, Any]:
    """An operation with these options and this type of input."""

    async def run(ctx: Context, input: BaseModel) -> Answer:
        return Answer()

    run.__annotations__["input"] = taken
    return operation(name, **options)(run)


def test_a_signal_starts_what_it_fits() -> None:
    """By its name and its data; an operation with two triggers is there once for each name."""
    order = made(trigger=[Trigger("paid", {"shop": 1}), Trigger("paid", {"shop": 2})])
    other = made("other", trigger=[Trigger("paid"), Trigger("gone")])
    registry = Registry([other, order, made("third")], {})
    assert registry.triggered_by("paid") == (order, other)
    assert registry.triggered_by("gone") == (other,)
    assert registry.triggered_by("none") == ()
    assert order.starts_on("paid", {"shop": 2})
    assert not order.starts_on("paid", {"shop": 3})
    assert not order.starts_on("gone", {"shop": 2})


def test_a_registry_knows_what_limits_claims() -> None:
    """By lane; what has no limits is not there."""
    slow = made("slow", throttle=Throttle(1, 9))
    assert dict(Registry([made(), slow], {}).flows) == {"slow": Flow(None, None, Throttle(1, 9))}


def test_a_registry_knows_what_starts_by_the_clock() -> None:
    """Each operation with a cron."""
    nightly = made("nightly", Given, cron=Cron("0 3 * * *"))
    assert Registry([made(), nightly], {}).crons == (nightly,)


class Told(BaseModel, extra="forbid"):
    """Takes less than a failure has, and nothing else."""

    run_id: str


class Asked(Failure):
    """Asks for more than a failure has."""

    whom: str


class Noted(BaseModel):
    """Takes a part of a failure."""

    run_id: str
    error: dict[str, Any]


@pytest.mark.parametrize("taken", [Failure, Noted, Given])
def test_a_failure_is_an_input_that_fits(taken: type[BaseModel]) -> None:
    """The follower may take it whole, in part, or as any fields."""
    follower = made("failed", taken)
    assert Registry([made(on_failure=follower), follower], {}).names == ("failed", "order")
    failure = Failure(run_id="r", operation="order", user=None, input=[1], error={}, attempt=1)
    follower.parse(failure)


@pytest.mark.parametrize("taken", [Told, Asked, Order])
def test_a_follower_that_cannot_take_a_failure_is_refused(taken: type[BaseModel]) -> None:
    """Before the first run fails."""
    operations = [made(on_failure="failed"), made("failed", taken)]
    with pytest.raises(
        ConfigError, match=r"'failed', whose input does not take a Failure \(run_id"
    ):
        Registry(operations, {})


def test_a_follower_must_be_known_and_lead_out() -> None:
    """A failure that is followed in a circle would never end."""
    with pytest.raises(ConfigError, match=r"on_failure names 'failed', and no .*; known: order"):
        Registry([made(on_failure="failed")], {})
    circle = [made("a", Failure, on_failure="b"), made("b", Failure, on_failure="a")]
    with pytest.raises(ConfigError, match="in a circle: a -> b -> a"):
        Registry(circle, {})
    chain = [made("a", Failure, on_failure="b"), made("b", Failure, on_failure="c")]
    assert Registry([*chain, made("c", Failure)], {}).names == ("a", "b", "c")


def test_settings_override_how_an_operation_is_retried() -> None:
    """Field by field; what is not named stays the operation's own."""
    own = Retry(attempts=2, first=5, factor=3, maximum=50)
    order, other = made(retry=own), made("other")
    registry = Registry([order, other], {}, {"order": {"attempts": 6.0, "maximum": 9}})
    assert registry.retry_of(order) == Retry(attempts=6, first=5, factor=3, maximum=9)
    assert isinstance(registry.retry_of(order).attempts, int)
    assert registry.retry_of(other) == Retry()
    assert Registry([order], {}, {"order": {}}).retry_of(order) == own


@pytest.mark.parametrize(
    ("retries", "said"),
    [
        ({"ordr": {"attempts": 2}}, "'ordr': no operation is named so; known: order"),
        (
            {"order": {"tries": 2}},
            "tries cannot be set; what can: attempts, first, factor, maximum",
        ),
        ({"order": {"attempts": 2.5}}, "a whole number, not 2.5"),
        ({"order": {"attempts": math.inf}}, "a whole number, not inf"),
        ({"order": {"attempts": 0}}, "attempts >= 1"),
        ({"order": {"first": math.nan}}, "first >= 0"),
    ],
)
def test_a_bad_override_is_refused(retries: dict[str, dict[str, float]], said: str) -> None:
    """At start, with what is allowed."""
    with pytest.raises(ConfigError, match=said):
        Registry([made()], {}, retries)


def test_a_registry_checks_names_and_needs() -> None:
    """The same operation twice is none too many; two of a name are; needs must be provided."""
    registry = Registry([film, film], {Brush: lambda _: Brush()})
    assert [known.name for known in registry] == ["film"]

    @operation("film")
    async def other(ctx: Context, input: Given) -> Answer:
        return Answer()

    with pytest.raises(ConfigError, match=r"two operations are named 'film': .*test_registry.film"):
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
