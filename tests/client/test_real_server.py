"""Both clients against a real server: a process of its own, asked over loopback."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from understudy.app import App
from understudy.client import AsyncClient, Client, Event, Patience, RunFailed, problem_of
from understudy.errors import Conflict, InvalidInput, KeyReused, NotFound, Unauthorized
from understudy.settings import Settings
from understudy.testing.serving import Served
from understudy.web.app import create_app
from understudy.wire import RunView

OPERATIONS = Path(__file__).with_name("operations_of_a_client.py")
KEY = "a-key-for-the-tests-of-the-client-0123456789"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that most tests share."""
    home = tmp_path_factory.mktemp("shared") / "home"
    with Served(home, OPERATIONS, admin_key=KEY) as served:
        yield served


@pytest.fixture
def client(shared: Served) -> Iterator[Client]:
    """The blocking client."""
    with Client(shared.url, KEY) as client:
        yield client


def test_a_run_from_its_asking_to_its_output(client: Client) -> None:
    """Submitted, seen through, read again and found in the list."""
    run = client.run("shout", {"text": "hi"}, user="ann")
    assert (run.status, run.output) == ("succeeded", {"text": "HI"})
    assert [step.key for step in client.get(run.id).steps] == ["shout"]
    assert [one.id for one in client.runs(user="ann", operation="shout")] == [run.id]
    assert client.list(1, user="nobody").items == []
    assert client.list(1, unfinished=True, since=run.created_at).items == []
    assert {"ask", "copy", "shout"} <= {one.name for one in client.operations()}
    assert "text" in client.operation("shout").input["properties"]


async def test_the_same_on_an_event_loop(shared: Served) -> None:
    """Many at once over one client."""
    async with AsyncClient(shared.url, KEY) as client:
        asked = [client.run("shout", {"text": f"t{n}"}) for n in range(20)]
        runs = await asyncio.gather(*asked)
        assert [run.output["text"] for run in runs] == [f"T{n}" for n in range(20)]
        pages = [one.id async for one in client.runs(operation="shout")]
        assert {run.id for run in runs} <= set(pages)


def test_a_key_that_comes_again_is_the_same_run(client: Client) -> None:
    """And with another input it is refused."""
    first = client.submit("shout", {"text": "once"}, idempotency_key="an order: 7")
    again = client.submit("shout", {"text": "once"}, idempotency_key="an order: 7")
    assert again.id == first.id
    with pytest.raises(KeyReused):
        client.submit("shout", {"text": "twice"}, idempotency_key="an order: 7")


def test_what_is_refused_has_its_own_class_and_a_pointer(shared: Served, client: Client) -> None:
    """A wrong input, an unknown run, a run that has ended, and a stranger."""
    with pytest.raises(InvalidInput) as caught:
        client.submit("shout", {"text": 7})
    said = problem_of(caught.value)
    assert said is not None
    assert said.errors[0].pointer == "/input/text"
    with pytest.raises(NotFound):
        client.get("run_" + 26 * "0")
    done = client.run("shout", {"text": "x"})
    with pytest.raises(Conflict):
        client.retry(done.id)
    with Client(shared.url, "us_wrong") as stranger, pytest.raises(Unauthorized):
        stranger.operations()


def test_a_failed_run_is_tried_again_and_replayed(client: Client, tmp_path: Path) -> None:
    """`run` raises why; `retry` goes on once the cause is gone; `replay` asks for another input."""
    gate = tmp_path / "gate"
    with pytest.raises(RunFailed, match="in step look: gate is missing") as caught:
        client.run("pass", {"path": str(gate)})
    gate.touch()
    again = client.retry(caught.value.run.id)
    assert client.wait(again.id, 30).status == "succeeded"
    other = client.replay(again.id, {"path": str(tmp_path)})
    assert client.wait(other.id, 30).output == {"text": tmp_path.name}


def test_files_go_there_and_back(client: Client, tmp_path: Path) -> None:
    """Paths and bytes in an input, and downloads that are what was made."""
    given = tmp_path / 'a "quoted" größe.bin'
    given.write_bytes(b"0123456789" * 100_000)
    run = client.run("copy", {"files": [given, b"small"]})
    large, small = run.output["copies"]
    assert client.artifact(large).name == f"copy of {given.name}"
    path = client.download(large, tmp_path)
    assert path.read_bytes() == given.read_bytes()
    assert client.download(client.artifact(small), tmp_path / "s").read_bytes() == b"small"


def test_a_waiting_run_is_told_and_canceled(client: Client) -> None:
    """A signal reaches it; a cancel ends it; a wait that is over leaves it alone."""
    run = client.submit("ask", {})
    with pytest.raises(TimeoutError):
        client.wait(run.id, 0)
    until(client, run, "waiting for a signal")
    assert client.signal("answer", {"text": "yes"}).woken >= 1
    assert client.wait(run.id, 30).output == {"text": "yes"}
    other = client.submit("ask", {})
    client.cancel(other.id)
    assert client.wait(other.id, 30).status == "canceled"


def until(client: Client, run: RunView, what: str) -> Event:
    """The first event in which the run waits for something."""
    with contextlib.closing(client.events(run.id)) as events:
        for event in events:
            if event.run.waiting_for is not None or event.run.steps:
                return event
    raise AssertionError(f"{run.id} ended before {what}")


def test_events_end_with_the_run_and_resume(client: Client) -> None:
    """The whole run in each; from an id of an earlier one only what came after it."""
    run = client.submit("many", {"n": 30})
    events = list(client.events(run.id))
    assert events[0].name == "snapshot"
    assert events[-1].run.status == "succeeded"
    assert len(events[-1].run.steps) == 30
    assert list(client.events(run.id, events[-1].id)) == []
    again = list(client.events(run.id, events[0].id))
    assert [event.run.steps for event in again][-1] == events[-1].run.steps


async def test_it_works_without_a_socket(tmp_path: Path) -> None:
    """Over the application itself, as others test their own code against the server."""
    async with (
        App.open(Settings(home=tmp_path / "home", load=str(OPERATIONS))) as app,
        app.worker(),
    ):
        transport = httpx.ASGITransport(create_app(app), client=("127.0.0.1", 50_000))
        async with AsyncClient("http://localhost", transport=transport) as client:
            run = await client.run("shout", {"text": "hi"})
            events = [event async for event in client.events(run.id)]
    assert run.output == {"text": "HI"}
    assert [event.run.status for event in events] == ["succeeded"]


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_a_follower_outlasts_the_server(tmp_path: Path, end: str) -> None:
    """The server is drained, or killed, in the middle of a run, and begins anew: nothing is lost.

    Events go on behind the last one that came, whoever waits is answered in the end, and the run
    is asked for once only, although its asker never heard the first answer.
    """
    with Served(tmp_path / "home", OPERATIONS) as served:
        async with AsyncClient(served.url) as client:
            run = await client.submit("ask", {})
            seen: list[Event] = []
            begun = asyncio.Event()
            waiting = asyncio.create_task(client.wait(run.id))
            following = asyncio.create_task(follow(client, run.id, seen, begun))
            await begun.wait()
            await asyncio.to_thread(getattr(served, end))
            await asyncio.to_thread(served.start)
            late = await client.submit("shout", {"text": "late"})
            await client.signal("answer", {"text": "after all"})
            assert (await waiting).output == {"text": "after all"}
            await following
            assert seen[-1].run.output == {"text": "after all"}
            ids = [event.id for event in seen]
            assert len(set(ids)) == len(ids)
            assert (await client.wait(late.id)).status == "succeeded"


async def follow(client: AsyncClient, run_id: str, seen: list[Event], begun: asyncio.Event) -> None:
    """Collect a run's events; its first step has `begun`."""
    async for event in client.events(run_id):
        seen.append(event)
        if event.run.steps:
            begun.set()


class Lossy(httpx.AsyncBaseTransport):
    """A network on which the answer of every other request is lost on its way back."""

    def __init__(self) -> None:
        self.under = httpx.AsyncHTTPTransport()
        self.lost = 0
        self._requests = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self.under.handle_async_request(request)
        self._requests += 1
        if self._requests % 2:
            await response.aread()
            await response.aclose()
            self.lost += 1
            raise httpx.ReadError("lost", request=request)
        return response

    async def aclose(self) -> None:
        await self.under.aclose()


async def test_lost_answers_do_nothing_twice(shared: Served) -> None:
    """Every asking's first answer is lost, and each is one run all the same; so are replays."""
    network = Lossy()
    patience = Patience(first=0.01)
    async with AsyncClient(shared.url, KEY, transport=network, patience=patience) as client:
        runs = [await client.submit("ask", {"text": "lossy"}, user="lossy") for _ in range(5)]
        again = await client.replay(runs[0].id, {"text": "again"})
        found = [run.id async for run in client.runs(user="lossy")]
    assert network.lost >= 6
    assert sorted(found) == sorted(run.id for run in [*runs, again])
