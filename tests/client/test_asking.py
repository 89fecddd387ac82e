"""What both clients send, when they send it again, and what they make of the answers."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from understudy import errors
from understudy.client import AsyncClient, Client, Patience, RunFailed, problem_of
from understudy.errors import (
    Conflict,
    Error,
    InputError,
    KeyReused,
    NotFound,
    TooMany,
    Unreachable,
)

Made = Callable[..., httpx.Response]
LOST = httpx.ReadError("cut off")
REFUSED = httpx.ConnectError("refused")


class Count(BaseModel):
    """An input as a model."""

    n: int = 1


def sent(asker: Any, index: int = -1) -> Any:
    """The JSON of a request's body."""
    return json.loads(asker.bodies[index])


def test_an_asking_is_sent_with_all_that_belongs_to_it(asker: Any, run: Made) -> None:
    """The body, the bearer key, a fresh idempotency key in quotes, and who sends it."""
    asker.says(run(202))
    made = asker("submit", "count", Count(n=3), user="ann", delay=5, webhook="https://x.test/")
    request = asker.requests[0]
    assert (request.method, request.url.path) == ("POST", "/v1/runs")
    assert sent(asker) == {
        "operation": "count",
        "input": {"n": 3},
        "user": "ann",
        "delay": 5,
        "webhook": "https://x.test/",
    }
    assert request.headers["authorization"] == "Bearer us_key"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"].startswith("understudy-python/")
    key = request.headers["idempotency-key"]
    assert key.startswith('"key_')
    assert key.endswith('"')
    assert (made.id, made.done) == ("run_1", False)


@pytest.mark.parametrize("lost", [LOST, REFUSED, httpx.ReadTimeout("slow")], ids=repr)
def test_a_lost_answer_is_asked_for_again_under_the_same_key(
    asker: Any, run: Made, lost: Exception
) -> None:
    """Whatever became of the first request, the server knows the second one by its key."""
    asker.says(lost, httpx.Response(502, text="bad gateway"), run(202))
    assert asker("submit", "count", {"n": 1}).id == "run_1"
    assert len({request.headers["idempotency-key"] for request in asker.requests}) == 1
    assert len(set(asker.bodies)) == 1
    assert len(asker.requests) == 3
    assert 0.25 <= asker.pauses[0] <= 0.75
    assert 0.5 <= asker.pauses[1] <= 1.5


def test_two_askings_have_two_keys(asker: Any, run: Made) -> None:
    """Who asks twice means two runs."""
    asker.says(run(202))
    asker("submit", "count", {})
    asker("submit", "count", {})
    one, two = (request.headers["idempotency-key"] for request in asker.requests)
    assert one != two


def test_the_server_is_given_up_after_some_tries(asker: Any) -> None:
    """No answer at all ends in one clear error, and the pauses grow."""
    asker.says(REFUSED)
    with pytest.raises(Unreachable, match="no answer from the server: refused") as caught:
        asker("get", "run_1")
    assert isinstance(caught.value.__cause__, httpx.ConnectError)
    assert len(asker.requests) == Patience().attempts
    assert asker.pauses[-1] > asker.pauses[0]


@pytest.mark.parametrize(
    ("asked", "slept"), [("7", 7.0), ("Fri, 15 Jan 2027 08:00:09 GMT", 9.0), ("0", 0.0)]
)
def test_the_server_says_when_to_come_again(
    asker: Any, run: Made, problem: Made, asked: str, slept: float
) -> None:
    """`Retry-After` in seconds or as a date is kept to the second."""
    asker.says(problem("too_many", 429, {"Retry-After": asked}), run())
    asker("get", "run_1")
    assert asker.pauses == [pytest.approx(slept)]


def test_a_far_retry_after_is_told_and_not_slept_through(asker: Any, problem: Made) -> None:
    """Coming earlier would be rude, and an hour's silence would look like a hang."""
    asker.says(problem("too_many", 429, {"Retry-After": "3600"}))
    with pytest.raises(TooMany) as caught:
        asker("get", "run_1")
    assert caught.value.retry_after == 3600
    assert asker.pauses == []
    assert len(asker.requests) == 1


@pytest.mark.parametrize("nonsense", ["soon", "-1", "", "Fri, 99 Jan", "1e9"])
def test_nonsense_in_retry_after_is_no_reason_to_fail(asker: Any, run: Made, nonsense: str) -> None:
    """The usual pauses hold then."""
    asker.says(httpx.Response(503, headers={"Retry-After": nonsense}), run())
    asker("get", "run_1")
    assert 0.25 <= asker.pauses[0] <= 0.75


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("not_found", 404, NotFound),
        ("conflict", 409, Conflict),
        ("idempotency_key_reused", 422, KeyReused),
        ("unauthorized", 401, errors.Unauthorized),
        ("step_failed", 500, errors.StepFailed),
        ("diverged", 409, errors.Diverged),
        ("a_code_of_next_year", 404, NotFound),
        ("a_code_of_next_year", 418, InputError),
        ("method_not_allowed", 405, InputError),
    ],
)
def test_a_problem_becomes_the_error_of_its_code(
    asker: Any, problem: Made, code: str, status: int, kind: type[Error]
) -> None:
    """An unknown code becomes the error of its status; such a request is not sent again."""
    faults = [{"pointer": "/input/n", "detail": "too small"}]
    asker.says(problem(code, status, errors=faults))
    with pytest.raises(kind, match=f"because of {code}") as caught:
        asker("get", "run_1")
    assert type(caught.value) is kind
    assert caught.value.category == "input"
    assert caught.value.__notes__ == ["/input/n: too small"]
    said = problem_of(caught.value)
    assert said is not None
    assert (said.code, said.errors[0].pointer) == (code, "/input/n")
    assert len(asker.requests) == 1


def test_what_was_not_said_by_this_server_is_shown_in_part(asker: Any) -> None:
    """A proxy's page is no problem document; its status still counts."""
    asker.says(httpx.Response(404, text="<html>nowhere" + 1000 * "x"))
    with pytest.raises(NotFound, match="the server answered 404: <html>nowhere") as caught:
        asker("get", "run_1")
    assert problem_of(caught.value) is None
    assert len(caught.value.message) < 300


def test_a_redirect_is_not_followed(asker: Any) -> None:
    """It would hand the key to whoever is named there."""
    asker.says(httpx.Response(307, headers={"Location": "https://elsewhere.test/"}))
    with pytest.raises(Unreachable, match="307"):
        asker("get", "run_1")
    assert [request.url.host for request in asker.requests] == ["server"]


def test_another_server_at_that_address_is_noticed(asker: Any) -> None:
    """An answer that is none of this API says so, instead of some half made value."""
    asker.says(httpx.Response(200, text="It works!"))
    with pytest.raises(Unreachable, match="is the address that of an Understudy server"):
        asker("get", "run_1")


def test_run_sees_it_through(asker: Any, run: Made) -> None:
    """It waits with the server's help, and returns the run that succeeded."""
    asker.says(run(202), run(), run(status="succeeded", output={"total": 1}))
    assert asker("run", "count", {"n": 1}).output == {"total": 1}
    methods = [(request.method, request.headers["prefer"]) for request in asker.requests]
    assert methods == [("POST", "wait=30"), ("GET", "wait=30"), ("GET", "wait=30")]
    assert asker.pauses == [1.0]  # the server did not hold the request, so the client waits


def test_run_raises_what_became_of_a_run_that_failed(asker: Any, run: Made) -> None:
    """The error names run, step and reason, and has the run."""
    why = {"code": "x", "category": "media", "message": "no film", "type": "X", "step": "join"}
    asker.says(run(status="failed", error=why))
    with pytest.raises(RunFailed, match="run_1 failed in step join: no film") as caught:
        asker("run", "count", {})
    assert caught.value.run.status == "failed"
    assert caught.value.category == "media"
    asker.says(run(status="canceled"))
    with pytest.raises(RunFailed, match="run_1 canceled: it was canceled"):
        asker("run", "count", {})


def test_waiting_ends_in_time_and_leaves_the_run_alone(asker: Any, run: Made) -> None:
    """`within` bounds the wait, not the run: nothing is canceled."""
    asker.says(run(202, {"Retry-After": "4"}))
    with pytest.raises(TimeoutError, match="run_1 has not ended within 10 s; it goes on"):
        asker("wait", "run_1", 10)
    assert asker.pauses == [4.0, 4.0, 2.0]
    assert {request.method for request in asker.requests} == {"GET"}
    with pytest.raises(TimeoutError):
        asker("run", "count", {}, within=1)
    assert asker("submit", "count", {}).id == "run_1"


def test_a_wait_outlasts_a_restart_of_the_server(asker: Any, run: Made) -> None:
    """Who only looks on is more patient than who asks."""
    asker.says(*[REFUSED] * 8, run(status="failed"))
    assert asker("wait", "run_1").status == "failed"


def test_what_a_retry_did_is_not_guessed(asker: Any, run: Made, problem: Made) -> None:
    """An answer that was lost is not asked for again, as a second retry would be refused."""
    asker.says(LOST)
    with pytest.raises(Unreachable):
        asker("retry", "run_1")
    assert len(asker.requests) == 1
    asker.says(REFUSED, problem("transient", 503), run(202))
    assert asker("retry", "run_1").status == "queued"


def test_the_other_verbs(asker: Any, run: Made) -> None:
    """Cancel, replay with and without another input, signals: path, body and key of each."""
    asker.says(run())
    asker("cancel", "run/1")
    assert asker.requests[-1].url.raw_path == b"/v1/runs/run%2F1/cancel"
    asker("replay", "run_1")
    assert sent(asker) == {}
    asker("replay", "run_1", {"n": 2}, idempotency_key="mine")
    assert sent(asker) == {"input": {"n": 2}}
    assert asker.requests[-1].headers["idempotency-key"] == '"mine"'
    asker("replay", "run_1", Count(n=7))
    assert sent(asker) == {"input": {"n": 7}}
    asker.says(httpx.Response(200, json={"name": "paid", "woken": 2}))
    assert asker("signal", "paid", {"stars": 3}, idempotency_key="once").woken == 2
    assert sent(asker) == {"name": "paid", "data": {"stars": 3}}


def test_lists_are_read_page_by_page(asker: Any, run: Made) -> None:
    """`runs` follows `next` with the same filters, and `list` gives one page."""

    def page(request: httpx.Request) -> httpx.Response:
        number = int(request.url.params.get("page", 1))
        item = run(id=f"run_{number}").json()
        following = str(number + 1) if number < 3 else None
        return httpx.Response(200, json={"items": [item], "next": following})

    asker.says(page)
    assert [one.id for one in asker.all("runs", status="failed", user=None)] == [
        "run_1",
        "run_2",
        "run_3",
    ]
    assert all(request.url.params["status"] == "failed" for request in asker.requests)
    assert "user" not in asker.requests[0].url.params
    assert asker("list", 1, "2").next == "3"


def test_operations_come_with_their_schemas(asker: Any) -> None:
    """All, or one by its name."""
    one = {"name": "count", "version": 1, "summary": "s", "input": {}, "output": {}}
    asker.says(httpx.Response(200, json=one))
    assert asker("operation", "count").name == "count"
    asker.says(httpx.Response(200, json={"items": [one]}))
    assert [found.name for found in asker("operations")] == ["count"]


def uploads(run: Made) -> Callable[[httpx.Request], httpx.Response]:
    """A server that takes files and runs."""
    counted = iter(range(100))

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/runs":
            return run(202)
        facts = {"media_type": "x/y", "size": 1, "sha256": "0", "created_at": "2026"}
        artifact = {"id": f"art_{next(counted)}", "name": "n", **facts}
        return httpx.Response(201, json=artifact)

    return answer


def test_files_in_an_input_are_uploaded(asker: Any, run: Made, tmp_path: Path) -> None:
    """Paths, bytes and open files, however deep they lie, become ids in the same places."""
    photo = tmp_path / "a photo.jpg"
    photo.write_bytes(b"jpeg")
    asker.says(uploads(run))
    asker(
        "submit",
        "morph",
        {"photos": [photo, b"png"], "deep": {"one": (io.BytesIO(b"gif"), Count(n=2))}, "size": 1},
    )
    assert sent(asker)["input"] == {
        "photos": ["art_0", "art_1"],
        "deep": {"one": ["art_2", {"n": 2}]},
        "size": 1,
    }
    first = asker.requests[0]
    assert b'name="file"; filename="a photo.jpg"' in asker.bodies[0]
    assert b"Content-Type: image/jpeg" in asker.bodies[0]
    assert int(first.headers["content-length"]) == len(asker.bodies[0])


@pytest.mark.parametrize(
    ("given", "key", "message"),
    [
        ({"photos": [Path("a")]}, "mine", "upload the files first"),
        ({"photos": {"x": b"1"}}, "mine", "upload the files first"),
        ({"n": float("nan")}, None, "the input is not JSON"),
        ({"n": object()}, None, "the input is not JSON"),
        ({"photo": Path("missing.jpg")}, None, "missing.jpg: no such file"),
        ({}, "", "idempotency key ''"),
        ({}, 'a"b', "no quotes"),
        ({}, "ü", "printable ASCII"),
        ({}, "x" * 201, "1 to 200"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_sent(
    asker: Any, given: dict[str, Any], key: str | None, message: str
) -> None:
    """A caller's mistake costs no request."""
    with pytest.raises(InputError, match=message):
        asker("submit", "count", given, idempotency_key=key)
    assert asker.requests == []


@pytest.mark.parametrize(
    "url", ["server:80", "ftp://server", "http://", "http://ann:pw@server", "http://server:x"]
)
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_an_address_that_cannot_work_is_refused(kind: type[Client], url: str) -> None:
    """At once, and without repeating a password."""
    with pytest.raises(InputError) as caught:
        kind(url)
    assert "pw" not in caught.value.message


def test_a_key_with_a_line_break_is_refused() -> None:
    """It would be another header."""
    with pytest.raises(InputError, match="was it copied whole"):
        Client("http://server", "us_x\nHost: elsewhere")


def test_without_a_key_none_is_sent() -> None:
    """A development server on loopback takes whoever is there."""
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"items": []})

    with Client("http://server/under/", transport=httpx.MockTransport(answer)) as client:
        assert client.operations() == []
    assert "authorization" not in seen[0].headers
    assert seen[0].url.path == "/under/v1/operations"


def test_the_client_loads_nothing_of_the_server() -> None:
    """Who only asks needs no engine, no database and no pictures in memory."""
    program = (
        "import sys, understudy.client, understudy.client.webhooks\n"
        "heavy = ('engine', 'db', 'web', 'media', 'settings')\n"
        "loaded = [f'understudy.{name}' for name in heavy] + ['fastapi', 'sqlalchemy', 'PIL']\n"
        "print([name for name in loaded if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
