"""Following a run through cut connections, restarts and refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from understudy.client.patience import Patience
from understudy.errors import NotFound, Unreachable

Made = Callable[..., httpx.Response]
Wire = Callable[..., bytes]


def step(key: str, state: str = "succeeded") -> dict[str, Any]:
    """A step as JSON."""
    return {
        "key": key,
        "kind": "step",
        "state": state,
        "attempt": 1,
        "started_at": "2026-11-22T12:00:00.000Z",
        "ended_at": None,
        "due_at": None,
        "error": None,
    }


def told(event: Any) -> tuple[Any, ...]:
    """An event in short."""
    return event.id, event.run.status, [(one.key, one.state) for one in event.run.steps]


def test_changes_are_put_into_what_is_known(asker: Any, stream: Made, event: Wire) -> None:
    """Each event carries the whole run, although a change tells only the steps that changed."""
    asker.says(
        stream(
            b": hello\n\nevent: of a later release\ndata: 1\n\n",
            event("1.1.2", "snapshot", status="running", steps=[step("a"), step("b", "running")]),
            event("1.2.3", "change", status="running", steps=[step("b")]),
            event("2.3.1", "snapshot", status="running", steps=[step("c")]),
            event("2.4.1", "change", status="succeeded"),
        )
    )
    assert list(map(told, asker.all("events", "run_1"))) == [
        ("1.1.2", "running", [("a", "succeeded"), ("b", "running")]),
        ("1.2.3", "running", [("a", "succeeded"), ("b", "succeeded")]),
        ("2.3.1", "running", [("c", "succeeded")]),
        ("2.4.1", "succeeded", [("c", "succeeded")]),
    ]
    request = asker.requests[0]
    assert request.url.path == "/v1/runs/run_1/events"
    assert request.headers["accept"] == "text/event-stream"
    assert "last-event-id" not in request.headers


def test_a_cut_stream_goes_on_behind_its_last_event(
    asker: Any, stream: Made, event: Wire, problem: Made
) -> None:
    """A reset, a clean end, a full server and a dead one: nothing is lost, nothing is doubled."""
    first = event("1.1.0", "snapshot", status="running", steps=[step("a")])
    second = event("1.2.0", "change", status="running")
    asker.says(
        stream(first, b"id: 9.9.9\ndata: half of a", httpx.ReadError("reset")),
        stream(b"retry: 2000\n\n", second),
        problem("busy", 503, {"Retry-After": "5"}),
        httpx.ConnectError("restarting"),
        stream(event("1.3.0", "change", status="failed")),
    )
    events = asker.all("events", "run_1")
    assert [one.id for one in events] == ["1.1.0", "1.2.0", "1.3.0"]
    assert events[-1].run.steps[0].key == "a"
    resumed = [request.headers.get("last-event-id") for request in asker.requests]
    assert resumed == [None, "1.1.0", "1.2.0", "1.2.0", "1.2.0"]
    assert asker.pauses[1:3] == [2.0, 5.0]


def test_who_resumes_from_an_id_of_his_own_sees_whole_runs(
    asker: Any, stream: Made, event: Wire, run: Made
) -> None:
    """What came before is asked for once, as the changes alone do not tell it."""
    asker.says(
        stream(
            event("1.4.4", "change", status="running", steps=[step("b")]),
            event("1.5.4", "change", status="succeeded"),
        ),
        run(steps=[step("a"), step("b", "running")]),
    )
    events = asker.all("events", "run_1", "1.3.3")
    assert [told(one)[2] for one in events] == 2 * [[("a", "succeeded"), ("b", "succeeded")]]
    assert asker.requests[0].headers["last-event-id"] == "1.3.3"
    assert [request.url.path for request in asker.requests][1:] == ["/v1/runs/run_1"]


def test_a_run_that_is_over_has_nothing_more_to_tell(asker: Any) -> None:
    """Who has seen the end is told so, and does not come back."""
    asker.says(httpx.Response(204))
    assert asker.all("events", "run_1", "1.9.9") == []
    assert len(asker.requests) == 1


def test_a_stream_that_never_says_anything_is_given_up(asker: Any, stream: Made) -> None:
    """Ending at once, time after time, is no life; the error says what was missing."""
    asker.patience = Patience(attempts=2)
    asker.answers = [lambda _: stream()]
    with pytest.raises(Unreachable, match="the events of run_1 ended before the run"):
        asker.all("events", "run_1")
    assert len(asker.requests) == 6


def test_a_stream_that_is_cut_each_minute_is_followed_for_days(
    asker: Any, stream: Made, event: Wire
) -> None:
    """As some proxies do: what said anything before it broke off does not count as a failure."""
    asker.patience = Patience(attempts=1)
    cuts = [stream(b": still here\n\n", httpx.ReadError("cut")) for _ in range(50)]
    asker.says(*cuts, stream(event("1.1.1", "snapshot", status="succeeded")))
    assert [one.id for one in asker.all("events", "run_1")] == ["1.1.1"]


def test_refusals_end_it_at_once(asker: Any, problem: Made, stream: Made) -> None:
    """No such run, and events that nobody can read."""
    asker.says(problem("not_found", 404))
    with pytest.raises(NotFound):
        asker.all("events", "run_2")
    asker.says(stream(b"event: snapshot\ndata: []\n\n"))
    with pytest.raises(Unreachable, match="an event that this client cannot read"):
        asker.all("events", "run_1")
    assert len(asker.requests) == 2


def test_who_stops_listening_leaves_no_connection_open(
    stream: Made, event: Wire, asker: Any
) -> None:
    """Breaking out of the loop closes the stream; the run is not asked about again."""
    open_stream = stream(event("1.1.1", "snapshot"), event("1.2.1", "change"))
    asker.says(open_stream)
    assert asker.first("events", "run_1").id == "1.1.1"
    assert open_stream.is_closed
    assert len(asker.requests) == 1
