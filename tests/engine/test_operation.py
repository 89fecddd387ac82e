"""Defining operations, and what their options say."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import BaseModel, Field, RootModel, computed_field

from understudy import Context, Retry, operation
from understudy.engine.cron import Cron
from understudy.engine.flow import (
    CancelOn,
    Concurrency,
    Failure,
    Flow,
    Throttle,
    Timeout,
    Trigger,
)
from understudy.engine.operation import Operation
from understudy.errors import ConfigError, InvalidInput
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


class Buyer(BaseModel):
    """An input with depth."""

    id: str
    tags: dict[str, str] = {}

    @computed_field
    def initial(self) -> str:
        """The first letter of the id."""
        return self.id[:1]


class Order(BaseModel):
    """An input."""

    buyer: Buyer
    lines: list[str] = []
    total: int = 0


class Open(BaseModel, extra="allow"):
    """An input that takes any fields."""


class Bare(RootModel[dict[str, int]]):
    """An input that is no object of fields."""


def made(
    name: str = "order", taken: type[BaseModel] = Order, **options: Any
) -> Operation[Any, Any]:
    """An operation with these options and this type of input."""

    async def run(ctx: Context, input: BaseModel) -> Answer:
        return Answer()

    run.__annotations__["input"] = taken
    return operation(name, **options)(run)


def test_an_operation_holds_its_options() -> None:
    """As they were given; lists as tuples, another operation by its name."""
    failed = made("failed", Failure)
    cancels, triggers = [CancelOn("gone", match="buyer.id")], [Trigger("came"), Trigger("paid")]
    order = made(
        concurrency=Concurrency(total=2, key="buyer.id"),
        throttle=Throttle(5, 60, key="user"),
        priority=60,
        timeout=Timeout(start=10),
        cancel_on=cancels,
        on_failure=failed,
        cron=Cron("0 3 * * *", input={"buyer": {"id": "x"}}),
        trigger=triggers,
        idempotency=("buyer.id", "total"),
    )
    assert order.cancel_on == tuple(cancels)
    assert order.trigger == tuple(triggers)
    assert order.on_failure == "failed"
    assert order.idempotency == ("buyer.id", "total")
    assert order.timeout == Timeout(start=10)
    assert order.flow == Flow(total=2, each=1, throttle=Throttle(5, 60, key="user"))
    assert made(idempotency="total").idempotency == ("total",)
    assert made(on_failure="failed").on_failure == "failed"


def test_only_a_limited_operation_has_a_lane_of_its_own() -> None:
    """All others share one queue, so that a claim need not look at each."""
    plain = made(timeout=Timeout(finish=1), priority=5, idempotency="total")
    assert (plain.lane, plain.limited, plain.flow) == ("", False, None)
    wide, spread = made(concurrency=Concurrency(total=3)), made("slow", throttle=Throttle(1, 9))
    assert (wide.lane, wide.limited, wide.flow) == ("order", True, Flow(3, None, None))
    assert (spread.lane, spread.flow) == ("slow", Flow(None, None, Throttle(1, 9)))
    keyed = made(concurrency=Concurrency(key="tenant", each=4))
    assert keyed.flow == Flow(None, 4, None)


def test_a_head_start_is_a_number_or_read_from_the_input() -> None:
    """Never more than half a day, never less than none, whatever the function says."""
    given = Order(buyer=Buyer(id="x"), total=30)
    assert made().head_start(given) == 0
    assert made(priority=43_200).head_start(given) == 43_200
    assert made(priority=lambda order: order.total * 2.0).head_start(given) == 60
    for wild, kept in ((-1.0, 0), (1e9, 43_200), (math.inf, 43_200), (math.nan, 0)):
        assert made(priority=lambda _, wild=wild: wild).head_start(given) == kept


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"retries": 4, "delay": 1}, "delay, retries is no option; known: concurrency, throttle"),
        ({"concurrency": 4}, r"concurrency is one Concurrency\(...\), not 4"),
        ({"throttle": None}, "throttle is one Throttle"),
        ({"timeout": 60}, "timeout is one Timeout"),
        ({"cron": "0 3 * * *"}, "cron is one Cron"),
        ({"cron": [Cron("0 3 * * *"), Cron("0 4 * * *")]}, "cron is one Cron"),
        ({"cancel_on": CancelOn("gone")}, "cancel_on is a list of CancelOn"),
        ({"trigger": "paid"}, "trigger is a list of Trigger"),
        ({"trigger": [CancelOn("gone")]}, "trigger is a list of Trigger"),
        ({"priority": -1}, "priority is 0 to 43,200 seconds, not -1"),
        ({"priority": 43_201}, "priority is 0 to 43,200 seconds"),
        ({"priority": math.nan}, "priority is 0 to 43,200 seconds"),
        ({"on_failure": "order"}, "cannot be its own on_failure"),
        ({"concurrency": Concurrency(key="byer")}, "concurrency names 'byer', .* has buyer, lines"),
        ({"throttle": Throttle(1, 1, key="buyer.name")}, "throttle names 'buyer.name'"),
        ({"cancel_on": [CancelOn("gone", {"total": "sum"})]}, "cancel_on names 'sum'"),
        ({"idempotency": ("total", "id")}, "idempotency names 'id'"),
        (
            {"cron": Cron("0 3 * * *")},
            "input of its cron does not fit order: buyer: Field required",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], said: str) -> None:
    """When the module is imported, with what would be right."""
    with pytest.raises(ConfigError, match=said):
        made(**options)


@pytest.mark.parametrize(
    ("taken", "path"),
    [
        (Order, "buyer.tags.color"),
        (Order, "buyer.initial"),
        (Order, "lines.first"),
        (Order, "tenant"),
        (Order, "user"),
        (Open, "any.thing"),
        (Bare, "any"),
    ],
)
def test_a_path_that_may_lead_somewhere_is_taken(taken: type[BaseModel], path: str) -> None:
    """Only what certainly is not in the input is refused."""
    assert made("order", taken, concurrency=Concurrency(key=path)).limited
