"""From an asking to a queued run."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from pydantic import BaseModel, field_validator

from understudy import Context, operation
from understudy.engine.flow import Concurrency, Throttle, Timeout
from understudy.engine.operation import Operation
from understudy.engine.submission import MOST_KEY, Asking, child_run, new_run, triggered_run
from understudy.errors import InvalidInput

NOW = 1_800_000_000.0
ANN = Asking("acme", "ann")


class Order(BaseModel):
    """An input."""

    id: str = "o1"
    total: int = 0
    note: str | None = None
    place: dict[str, Any] = {}

    @field_validator("total")
    @classmethod
    def _positive(cls, total: int) -> int:
        if total == 13:
            raise RuntimeError("a fault of the author's")
        return total


class Done(BaseModel):
    """An output."""


def made(**options: Any) -> Operation[Any, Any]:
    """An operation with these options."""

    async def order(ctx: Context, input: Order) -> Done:
        return Done()

    return operation("order", version=3, **options)(order)


def test_a_new_run_is_due_now_and_bound_by_nothing() -> None:
    """Its input is what its type makes of it, with the defaults."""
    run = new_run(made(), {"id": "o2"}, ANN, now=NOW)
    assert (run.operation, run.version, run.tenant, run.user) == ("order", 3, "acme", "ann")
    assert json.loads(run.input) == {"id": "o2", "total": 0, "note": None, "place": {}}
    assert (run.status, run.wake_at, run.created_at, run.root_id) == ("queued", NOW, NOW, run.id)
    assert (run.lane, run.concurrency_key, run.throttle_key, run.held) == ("", None, None, 0)
    assert (run.deadline_at, run.finish_within) == (None, None)
    assert (run.idempotency_key, run.forked_from) == (None, None)


def test_a_bad_input_makes_no_run() -> None:
    """Of a new run and of a child."""
    parent = new_run(made(), {}, ANN, now=NOW)
    with pytest.raises(InvalidInput, match="order: total"):
        new_run(made(), {"total": "x"}, ANN, now=NOW)
    with pytest.raises(InvalidInput, match="order: total"):
        child_run(parent, "call#1", made(), {"total": "x"}, now=NOW)


@pytest.mark.parametrize("delay", [-1, math.nan, math.inf, 4e8])
def test_a_delay_must_be_a_time_to_come(delay: float) -> None:
    """And one that a calendar can show."""
    with pytest.raises(InvalidInput, match="delay is 0 to 316224000 seconds"):
        Asking("acme", delay=delay)


@pytest.mark.parametrize("key", ["", "x" * (MOST_KEY + 1), "a\0b"])
def test_an_idempotency_key_must_be_one_that_can_be_stored(key: str) -> None:
    """A caller's key is refused, not shortened: two long ones might become the same."""
    with pytest.raises(InvalidInput, match="1 to 200 characters"):
        Asking("acme", idempotency_key=key)
    assert Asking("acme", idempotency_key="x" * MOST_KEY).idempotency_key


def test_a_priority_makes_a_run_due_earlier_unless_it_is_delayed() -> None:
    """By the seconds that it may overtake others; its timeout counts from when it is due."""
    urgent = made(priority=lambda order: order.total, timeout=Timeout(start=60, finish=900))
    run = new_run(urgent, {"total": 100}, ANN, now=NOW)
    assert (run.wake_at, run.deadline_at, run.finish_within) == (NOW - 100, NOW + 60, 900)
    later = new_run(urgent, {"total": 100}, Asking("acme", delay=30), now=NOW)
    assert (later.wake_at, later.deadline_at, later.created_at) == (NOW + 30, NOW + 90, NOW)
    finish = new_run(made(timeout=Timeout(finish=5)), {}, ANN, now=NOW)
    assert (finish.deadline_at, finish.finish_within) == (None, 5)


@pytest.mark.parametrize(
    ("key", "data", "value"),
    [
        (None, {}, None),
        ("tenant", {}, "acme"),
        ("user", {}, "acme/ann"),
        ("id", {"id": "o7"}, "o7"),
        ("total", {"total": 7}, "7"),
        ("note", {}, ""),
        ("place.city", {}, ""),
        ("place.city", {"place": {"city": "Köln"}}, "Köln"),
        ("place", {"place": {"b": 1, "a": True}}, '{"a":true,"b":1}'),
    ],
)
def test_keys_are_values_of_the_input(key: str | None, data: dict[str, Any], value: Any) -> None:
    """For concurrency and throttle alike; a throttle without a key counts all under one."""
    limits = Concurrency(total=5, key=key), Throttle(1, 60, key=key)
    run = new_run(made(concurrency=limits[0], throttle=limits[1]), data, ANN, now=NOW)
    assert (run.lane, run.concurrency_key, run.throttle_key) == ("order", value, value or "")
    only = new_run(made(throttle=limits[1]), data, ANN, now=NOW)
    assert (only.lane, only.concurrency_key, only.throttle_key) == ("order", None, value or "")


def test_users_of_two_tenants_are_two() -> None:
    """Their ids are the tenants' own; runs for nobody count under their tenant."""
    keyed = made(concurrency=Concurrency(key="user"))
    askings = [ANN, Asking("other", "ann"), Asking("acme"), Asking("other")]
    keys = [new_run(keyed, {}, asking, now=NOW).concurrency_key for asking in askings]
    assert keys == ["acme/ann", "other/ann", "acme/", "other/"]


@pytest.mark.parametrize("long", ["é" * 3_000, "a\0b"])
def test_a_key_fits_an_index(long: str) -> None:
    """A long value, or one that PostgreSQL cannot hold, is stored as its hash, and stays itself."""
    keyed = made(concurrency=Concurrency(key="id"), idempotency="id")
    first, again = (new_run(keyed, {"id": long}, ANN, now=NOW) for _ in range(2))
    other = new_run(keyed, {"id": long + "x"}, ANN, now=NOW)
    for field in ("concurrency_key", "idempotency_key"):
        key = getattr(first, field)
        assert len(key) < 100
        assert "\0" not in key
        assert key == getattr(again, field) != getattr(other, field)


def test_equal_inputs_have_one_idempotency_key() -> None:
    """Made of the values at the paths, in their types; the caller's own key goes before it."""
    once = made(idempotency=("id", "total"))

    def key(asking: Asking = ANN, **data: Any) -> str | None:
        return new_run(once, data, asking, now=NOW).idempotency_key

    assert key() == key(note="other") == key(Asking("else")) is not None
    assert len({key(), key(id="1"), key(total=1), key(id="o1,0"), key(id='o1",0')}) == 5
    assert key(Asking("acme", idempotency_key="mine")) == "mine"


def test_what_is_missing_is_the_same_as_nothing() -> None:
    """A run without the value is a run of its own; one whose value is null is not."""
    once = made(idempotency=("place.city", "note"))
    assert new_run(once, {}, ANN, now=NOW).idempotency_key is None
    assert new_run(once, {"place": {"city": None}}, ANN, now=NOW).idempotency_key is not None


def test_a_child_shares_what_its_parent_is() -> None:
    """Tenant, user and root; its own operation's flow and priority hold for it, too."""
    parent = new_run(made(), {}, ANN, now=NOW)
    own = made(
        priority=50,
        concurrency=Concurrency(key="id"),
        throttle=Throttle(1, 60),
        timeout=Timeout(finish=9),
        idempotency="id",
    )
    child = child_run(parent, "call#1", own, {}, now=NOW + 5)
    assert (child.tenant, child.user, child.root_id) == ("acme", "ann", parent.id)
    assert (child.parent_id, child.parent_key) == (parent.id, "call#1")
    assert (child.wake_at, child.created_at) == (NOW - 45, NOW + 5)
    assert (child.lane, child.concurrency_key, child.throttle_key) == ("order", "o1", "")
    assert child.finish_within == 9
    assert child.idempotency_key is None, "each call of a parent is a run of its own"


@pytest.mark.parametrize(
    ("of_parent", "start", "of_child"),
    [
        (None, None, None),
        (None, 60, NOW + 60),
        (NOW + 30, None, NOW + 30),
        (NOW + 30, 60, NOW + 30),
        (NOW + 90, 60, NOW + 60),
    ],
)
def test_a_child_has_no_more_time_than_its_parent(
    of_parent: float | None, start: float | None, of_child: float | None
) -> None:
    """The earlier of its own deadline and its parent's."""
    parent = new_run(made(), {}, ANN, now=NOW)._replace(deadline_at=of_parent)
    own = made(timeout=Timeout(start=start)) if start else made()
    assert child_run(parent, "call#1", own, {}, now=NOW).deadline_at == of_child


FLOW: dict[str, Any] = {
    "concurrency": Concurrency(key="id"),
    "priority": lambda order: order.total,
    "idempotency": "id",
}


def test_a_triggered_run_takes_the_data_as_it_is() -> None:
    """What fits is counted like any other run: with the defaults of its type."""
    run = triggered_run(made(**FLOW), {"total": 7, "more": 1}, ANN, now=NOW)
    assert json.loads(run.input) == {"total": 7, "more": 1}
    assert (run.concurrency_key, run.wake_at) == ("o1", NOW - 7)
    assert run.idempotency_key == new_run(made(**FLOW), {}, ANN, now=NOW).idempotency_key


@pytest.mark.parametrize("data", [{"id": "o7", "total": "x"}, {"id": "o7", "total": 13}])
def test_a_triggered_run_is_not_refused(data: dict[str, Any]) -> None:
    """Bad data, or a fault in the author's validator, fails the run later and nobody else now."""
    run = triggered_run(made(**FLOW), data, ANN, now=NOW)
    assert json.loads(run.input) == data
    assert (run.concurrency_key, run.wake_at) == ("o7", NOW)


@pytest.mark.parametrize("data", [None, [1], "text", 5])
def test_any_json_triggers_a_run(data: Any) -> None:
    """Also what is no object; whatever is missing counts as nothing."""
    run = triggered_run(made(**FLOW), data, ANN, now=NOW)
    assert json.loads(run.input) == data
    assert (run.concurrency_key, run.idempotency_key, run.wake_at) == ("", None, NOW)


def test_a_priority_that_raises_does_not_stop_a_triggered_run() -> None:
    """It then overtakes nobody."""
    broken = made(priority=lambda order: 1 / order.total)
    assert triggered_run(broken, {"id": "o7"}, ANN, now=NOW).wake_at == NOW
