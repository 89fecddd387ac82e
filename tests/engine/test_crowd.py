"""A queued run says what it waits for."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from understudy import Concurrency, Context, Throttle, operation
from understudy.engine.crowd import Crowd
from understudy.engine.registry import Registry
from understudy.engine.run import QueueRow, WorkerRow
from understudy.engine.situation import Ahead
from understudy.engine.view import run_view
from understudy.testing.conformance.rows import NOW, a_run


class Order(BaseModel):
    """What is asked."""

    shop: str = ""


@operation("film", concurrency=Concurrency(total=3, key="user", each=2))
async def film(ctx: Context, input: Order) -> Order:
    """Limited as a whole, and for each user."""
    return input


@operation("song", throttle=Throttle(limit=1, period=60))
async def song(ctx: Context, input: Order) -> Order:
    """Started once a minute."""
    return input


@operation("card", concurrency=Concurrency(key="shop"))
async def card(ctx: Context, input: Order) -> Order:
    """One at a time for each shop."""
    return input


ALIVE = WorkerRow("w", NOW + 5, NOW - 60, {}, 1)
DEAD = ALIVE._replace(lease_until=NOW - 1)


def driven(operation: str, key: str | None, running: int) -> QueueRow:
    """A queue of which so many are driven."""
    return QueueRow(operation, key, 0, 0, running, 0, None)


def words(*queues: QueueRow, worker: WorkerRow = ALIVE, **run: Any) -> str:
    """What the view of a queued run says that it waits for."""
    crowd = Crowd(Registry([film, song, card], {}), [worker], queues, now=NOW)
    waits = run_view(a_run(**run), [], crowd).waiting_for
    assert waits is not None
    return waits.text


@pytest.mark.parametrize(
    ("run", "queues", "text"),
    [
        ({}, [], "a free worker"),
        ({"operation": "poem"}, [], "a free worker"),
        ({"wake_at": NOW + 60}, [], "its time, 2027-01-15T08:01:00Z"),
        (
            {"operation": "song", "held": 2, "wake_at": NOW + 60},
            [],
            "the throttle, until 2027-01-15T08:01:00Z",
        ),
        ({"operation": "song", "held": 2}, [], "a free worker"),
        (
            {"concurrency_key": "t/ann"},
            [driven("film", "t/ann", 1), driven("film", "t/bob", 2), driven("song", None, 9)],
            "a place: 3 of 3 runs of film are being driven",
        ),
        (
            {"concurrency_key": "t/ann", "user": "ann", "held": 1},
            [driven("film", "t/ann", 2), driven("film", "t/bob", 1)],
            "a place: 2 of 2 runs of film for user ann are being driven",
        ),
        (
            {"operation": "card", "concurrency_key": "7", "held": 1},
            [driven("card", "7", 1)],
            "a place: 1 of 1 runs of card for shop 7 are being driven",
        ),
        (
            {"operation": "card", "concurrency_key": "", "held": 1, "status": "waiting"},
            [driven("card", "", 1)],
            "a place: 1 of 1 runs of card for shop (none) are being driven",
        ),
        ({"operation": "poem", "held": 1}, [], "a place among the runs of its concurrency key"),
    ],
)
def test_a_queued_run_names_what_holds_it(
    run: dict[str, Any], queues: list[QueueRow], text: str
) -> None:
    """Its time, the throttle, a full limit with its numbers, or else a worker that is free."""
    assert words(*queues, **run) == text


def test_without_a_worker_nothing_else_matters() -> None:
    """A lease that has run out is no worker; what comes later by the clock still says when."""
    full = driven("film", "t/ann", 3)
    assert words(full, worker=DEAD, concurrency_key="t/ann") == "a worker: none is running"
    assert words(worker=DEAD, wake_at=NOW + 60) == "its time, 2027-01-15T08:01:00Z"


def test_who_does_not_stand_in_a_queue_waits_for_something_else() -> None:
    """A run that waits for a signal, or has ended, is told nothing of queues."""
    crowd = Crowd(Registry([film], {}), [], [], now=NOW)
    waits = {"kind": "signal", "text": "the signal 'paid'", "until": None}
    waiting = run_view(a_run(status="waiting", waiting_for=waits), [], crowd).waiting_for
    assert waiting is not None
    assert (waiting.kind, waiting.text) == ("signal", "the signal 'paid'")
    assert run_view(a_run(status="succeeded", output="1"), [], crowd).waiting_for is None
    assert run_view(a_run(), []).waiting_for is None


@pytest.mark.parametrize(
    ("run", "place", "kind", "text", "position"),
    [
        ({}, 0, "worker", "a free worker", 1),
        ({}, 2, "queue", "place 3 in the queue", 3),
        ({}, 1000, "queue", "place 1001 or later in the queue", 1001),
        (
            {"concurrency_key": "t/ann", "user": "ann", "held": 1},
            4,
            "concurrency",
            "a place: 2 of 2 runs of film for user ann are being driven",
            5,
        ),
    ],
)
def test_a_place_in_the_queue_is_told(
    run: dict[str, Any], place: int, kind: str, text: str, position: int
) -> None:
    """In words and as a number, from 1, also beside a limit that holds the run."""
    crowd = Crowd(Registry([film], {}), [ALIVE], [driven("film", "t/ann", 2)], now=NOW)
    waits = run_view(a_run(**run), [], crowd, place=place).waiting_for
    assert waits is not None
    assert (waits.kind, waits.text, waits.position) == (kind, text, position)


def test_how_fast_a_queue_goes_is_how_many_of_it_are_driven() -> None:
    """Of its lane, or of its concurrency key where that holds it; nothing goes without a worker."""
    queues = [
        driven("film", "t/ann", 2),
        driven("film", "t/bob", 1),
        driven("poem", None, 5),
        driven("gone", None, 1),
    ]
    crowd = Crowd(Registry([film], {}), [ALIVE], queues, now=NOW)
    assert crowd.ahead(a_run(lane="film"), 7) == Ahead(7, 3)
    assert crowd.ahead(a_run(), 7) == Ahead(7, 6)
    assert crowd.ahead(a_run(lane="film", held=1, concurrency_key="t/bob"), 7) == Ahead(7, 1)
    assert crowd.ahead(a_run(), None) == Ahead(0, 6)
    gone = Crowd(Registry([film], {}), [DEAD], queues, now=NOW)
    assert gone.ahead(a_run(), 7) == Ahead(7, 6, alive=False)
