"""`/v1/runs`."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest


async def test_a_run_is_accepted(site: Any) -> None:
    """202 with its place and when to look; its own links lead to it, and it is what was asked."""
    async with site() as one:
        asked = {"operation": "echo", "input": {"text": "a"}, "user": "ann"}
        answer = await one.client.post("/v1/runs", json=asked)
        assert answer.status_code == 202
        run = answer.json()
        assert (answer.headers["location"], answer.headers["retry-after"]) == (
            f"/v1/runs/{run['id']}",
            "1",
        )
        assert (run["status"], run["done"], run["user"]) == ("queued", False, "ann")
        shown = (await one.client.get(run["urls"]["self"])).json()
        assert shown["input"] == {"text": "a", "times": 1}
        assert shown["waiting_for"]["text"] == "a worker: none is running"


async def test_links_are_absolute_where_the_server_knows_its_name(site: Any) -> None:
    """`public_url` stands before every link."""
    async with site(public_url="https://media.example.com/") as one:
        run = await one.submit()
        assert run["urls"]["events"].startswith("https://media.example.com/v1/runs/run_")


async def test_the_same_key_is_the_same_run(site: Any) -> None:
    """Quoted or bare, in any order of fields; another body with it is refused; so is another path.

    The key is the tenant's own: another tenant's is another one.
    """
    async with site() as one:
        body = {"operation": "echo", "input": {"text": "a", "times": 2}}
        first = await one.client.post("/v1/runs", json=body, headers={"Idempotency-Key": '"k"'})
        turned = {"input": {"times": 2, "text": "a"}, "operation": "echo"}
        again = await one.client.post("/v1/runs", json=turned, headers={"Idempotency-Key": "k"})
        assert "idempotent-replayed" not in first.headers
        assert again.headers["idempotent-replayed"] == "true"
        assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
        body["input"] = {"text": "b"}
        other = await one.client.post("/v1/runs", json=body, headers={"Idempotency-Key": "k"})
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
        replay = await one.client.post(
            f"{first.json()['urls']['self']}/replay", json={}, headers={"Idempotency-Key": "k"}
        )
        assert replay.json()["code"] == "idempotency_key_reused"
        async with one.holder(await one.key("submit", tenant="other")) as stranger:
            theirs = await stranger.post("/v1/runs", json=turned, headers={"Idempotency-Key": "k"})
        assert theirs.json()["id"] != first.json()["id"]


@pytest.mark.parametrize("key", ["", '"', '"open', "two words", "a" * 201, '""', "ü"])
async def test_a_key_that_is_not_well_made_is_refused(site: Any, key: str) -> None:
    """400, and the header is named."""
    async with site() as one:
        headers = {"Idempotency-Key": key.encode()}
        answer = await one.client.post("/v1/runs", json={"operation": "echo"}, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (400, "malformed")
        assert answer.json()["errors"][0]["pointer"] == "header:idempotency-key"


async def test_waiting_brings_the_result(site: Any) -> None:
    """`Prefer: wait` answers 200 with the output once the run is done, and says that it waited."""
    async with site(working=True) as one:
        answer = await one.client.post(
            "/v1/runs",
            json={"operation": "echo", "input": {"times": 2}},
            headers={"Prefer": "respond-async, wait=30"},
        )
        assert answer.status_code == 200
        assert answer.json()["output"] == {"text": "hello0 hello1"}
        assert answer.headers["preference-applied"] == "wait=30"
        assert "retry-after" not in answer.headers


async def test_looking_waits_too(site: Any) -> None:
    """`Prefer: wait` on a run holds the answer back until it is done, and ends with the wait."""
    async with site() as one:
        run = await one.submit("ask")
        still = await one.client.get(run["urls"]["self"], headers={"Prefer": "wait=0"})
        assert (still.status_code, still.json()["status"]) == (200, "queued")
        assert (still.headers["preference-applied"], still.headers["retry-after"]) == (
            "wait=0",
            "1",
        )
        held = asyncio.create_task(
            one.client.get(run["urls"]["self"], headers={"Prefer": "wait=60"})
        )
        await one.client.post(run["urls"]["cancel"])
        ended = await held
        assert (ended.json()["status"], ended.headers["preference-applied"]) == (
            "canceled",
            "wait=60",
        )
        assert "preference-applied" not in (await one.client.get(run["urls"]["self"])).headers
        gone = await one.client.get("/v1/runs/run_nobody", headers={"Prefer": "wait=60"})
        assert gone.status_code == 404


async def test_the_examples_of_the_description_are_taken(site: Any) -> None:
    """Each body that the OpenAPI document shows for asking for a run is accepted as it is."""
    async with site() as one:
        schemas = (await one.client.get("/openapi.json")).json()["components"]["schemas"]
        forms = [form["$ref"].rpartition("/")[2] for form in schemas["Asked"]["oneOf"]]
        bodies = [body for form in forms for body in schemas[form]["examples"]]
        assert {body["operation"] for body in bodies} >= {"morph", "echo"}
        for body in bodies:
            answer = await one.client.post("/v1/runs", json=body)
            assert answer.status_code == 202, answer.text


async def test_a_wait_that_is_over_says_how_it_stands(site: Any) -> None:
    """202 with the run as it is."""
    async with site() as one:
        answer = await one.client.post(
            "/v1/runs", json={"operation": "echo"}, headers={"Prefer": "wait=0"}
        )
        assert (answer.status_code, answer.json()["status"]) == (202, "queued")


async def test_who_leaves_ends_only_his_wait(site: Any) -> None:
    """The connection of somebody who waits is gone: the answer is made, and the run goes on."""
    async with site() as one:
        asked = asyncio.create_task(_raw_submit(one.api, b'{"operation":"ask"}', b"wait=60"))
        assert await asked == 202
        (run,) = (await one.client.get("/v1/runs")).json()["items"]
        assert run["status"] == "queued"


async def _raw_submit(api: Any, body: bytes, prefer: bytes) -> int:
    """The status that somebody would have got who leaves right after his asking."""
    sent = iter(
        [{"type": "http.request", "body": body, "more_body": False}, {"type": "http.disconnect"}]
    )
    status = 0

    async def receive() -> Any:
        return next(sent)

    async def send(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)

    headers = [(b"host", b"localhost"), (b"content-type", b"application/json"), (b"prefer", prefer)]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/v1/runs",
        "raw_path": b"/v1/runs",
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 5),
        "server": ("localhost", 80),
    }
    await api(scope, receive, send)
    return status


@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        ({"operation": "nobody"}, 404, "/operation"),
        ({}, 422, "/operation"),
        ({"operation": 7}, 422, "/operation"),
        ({"operation": "echo", "color": "red"}, 422, "/color"),
        ({"operation": "echo", "input": {"times": "many"}}, 422, "/input/times"),
        ({"operation": "echo", "input": {"a/b": 1}}, 422, "/input/a~1b"),
        ({"operation": "echo", "input": []}, 422, "/input"),
        ({"operation": "echo", "delay": -1}, 422, "/delay"),
        ({"operation": "echo", "user": "a\0b"}, 422, "/user"),
        ([], 422, ""),
    ],
)
async def test_what_does_not_fit_is_pointed_at(
    site: Any, body: Any, status: int, pointer: str
) -> None:
    """A problem names the part at fault as a JSON pointer, and nothing is stored."""
    async with site() as one:
        answer = await one.client.post("/v1/runs", json=body)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer]
        assert (await one.client.get("/v1/runs")).json() == {"items": [], "next": None}


async def test_what_the_server_asks_of_itself_takes_an_admin(site: Any) -> None:
    """Erasing a person cannot be had by its operation's name with a lesser key."""
    async with site() as one, one.holder(await one.key("submit")) as client:
        asked = {"operation": "erase-user", "input": {"user": "ann"}}
        answer = await client.post("/v1/runs", json=asked)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        names = {one["name"] for one in (await client.get("/v1/operations")).json()["items"]}
        assert {"echo", "ask"} <= names
        assert "erase-user" not in names


async def test_runs_are_listed_in_pages(site: Any) -> None:
    """Newest first; the token goes on where the page ended, and fits its own question only."""
    async with site() as one:
        made = [(await one.submit(user=f"u{n % 2}"))["id"] for n in range(5)]
        first = (await one.client.get("/v1/runs", params={"limit": 3})).json()
        assert [run["id"] for run in first["items"]] == made[:1:-1]
        wanted = {"limit": 3, "page": first["next"]}
        second = (await one.client.get("/v1/runs", params=wanted)).json()
        assert ([run["id"] for run in second["items"]], second["next"]) == (made[1::-1], None)
        wanted["user"] = "u1"
        wrong = await one.client.get("/v1/runs", params=wanted)
        assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (400, "query:page")
        for token in ("x", "####", ""):
            answer = await one.client.get("/v1/runs", params={"page": token})
            assert answer.status_code == 400


async def test_lists_are_filtered(site: Any) -> None:
    """By operation, status, user and time of creation."""
    async with site() as one:
        run = await one.submit("ask", user="ann")
        await one.submit("echo")

        async def count(**wanted: Any) -> int:
            answer = await one.client.get("/v1/runs", params=wanted)
            assert answer.status_code == 200, answer.text
            return len(answer.json()["items"])

        assert await count(operation="ask") == await count(user="ann") == 1
        assert await count(status="queued") == await count(unfinished=True) == 2
        assert await count(status="failed") == await count(user="bob") == 0
        assert await count(since=run["created_at"]) == 2
        assert await count(until=run["created_at"]) == 0
        for name, value in {"since": "1700000000", "limit": "0", "status": "odd", "x": "1"}.items():
            answer = await one.client.get("/v1/runs", params={name: value})
            assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
            assert answer.json()["errors"][0]["pointer"] == f"query:{name}"


async def test_steps_say_what_they_returned(site: Any) -> None:
    """In the order of the calls, with names and results."""
    async with site(working=True) as one:
        answer = await one.client.post(
            "/v1/runs",
            json={"operation": "echo", "input": {"times": 2}},
            headers={"Prefer": "wait=30"},
        )
        steps = (await one.client.get(answer.json()["urls"]["steps"])).json()["items"]
        assert [(step["key"], step["name"], step["result"]) for step in steps] == [
            ("say", "say", "hello0"),
            ("say#2", "say", "hello1"),
        ]


async def test_cancel_and_retry(site: Any) -> None:
    """A queued run is canceled at once, and again is no error; then it can be tried again."""
    async with site() as one:
        run = await one.submit()
        for _ in range(2):
            answer = await one.client.post(run["urls"]["cancel"])
            assert (answer.status_code, answer.json()["status"]) == (200, "canceled")
        again = await one.client.post(run["urls"]["retry"])
        assert (again.status_code, again.json()["status"]) == (202, "queued")
        wrong = await one.client.post(run["urls"]["retry"])
        assert (wrong.status_code, wrong.json()["code"]) == (409, "conflict")


async def test_replay_with_an_edited_input(site: Any) -> None:
    """A new run of the same operation and user; without an input, with the old one."""
    async with site() as one:
        run = await one.submit(input={"text": "a"}, user="ann")
        same = (await one.client.post(run["urls"]["replay"], json={})).json()
        edited = await one.client.post(run["urls"]["replay"], json={"input": {"text": "b"}})
        bare = await one.client.post(run["urls"]["replay"], headers={"Prefer": "wait=0"})
        assert bare.headers["preference-applied"] == "wait=0"
        assert (bare.status_code, bare.json()["input"]["text"]) == (202, "a")
        assert (same["input"]["text"], edited.json()["input"]["text"]) == ("a", "b")
        assert (edited.status_code, edited.json()["forked_from"]) == (202, run["id"])
        assert edited.json()["user"] == "ann"
        wrong = await one.client.post(run["urls"]["replay"], json={"input": {"times": "x"}})
        assert wrong.json()["errors"][0]["pointer"] == "/input/times"


@pytest.mark.parametrize("run_id", ["run_01kafyb8xq2c4e6g8j0m2p4r6t", "%00", "a b", "x" * 70])
async def test_an_unknown_run_is_not_found(site: Any, run_id: str) -> None:
    """404 for what does not exist, also where the id could be none."""
    async with site() as one:
        answer = await one.client.get(f"/v1/runs/{run_id}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_an_input_is_taken_as_its_schema_says(site: Any) -> None:
    """`2.0` is an integer in JSON, `"2"` is none, and what JSON does not know is refused."""
    async with site() as one:
        assert (await one.submit(input={"times": 2.0}))["input"]["times"] == 2
        listed = {"operation": "echo", "input": {"text": ["a"]}}
        assert (await one.client.post("/v1/runs", json=listed)).status_code == 422
        text = await one.client.post(
            "/v1/runs", json={"operation": "echo", "input": {"times": "2"}}
        )
        assert text.json()["errors"][0]["pointer"] == "/input/times"
        for number in (b"NaN", b"-Infinity"):
            answer = await one.client.post(
                "/v1/runs",
                content=b'{"operation":"echo","input":{"times":%s}}' % number,
                headers={"Content-Type": "application/json"},
            )
            assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
            assert answer.json()["errors"][0]["pointer"] == "/input"


async def test_a_webhook_must_be_public(site: Any) -> None:
    """An address that this server will not go to is refused at once, and pointed at."""
    async with site() as one:
        for url in ("http://example.com/told", "https://127.0.0.1/told", "javascript:alert(1)"):
            answer = await one.client.post("/v1/runs", json={"operation": "echo", "webhook": url})
            assert (answer.status_code, answer.json()["code"]) == (422, "address_refused")
            assert answer.json()["errors"][0]["pointer"] == "/webhook"
        run = await one.submit(webhook="https://example.com/told")
        assert (await one.app.engine.get(run["id"])).webhook == "https://example.com/told"


async def test_a_replay_of_the_servers_own_takes_an_admin(site: Any) -> None:
    """What may not be asked for by name may not be asked for again either."""
    async with site() as one, one.holder(await one.key("submit")) as client:
        async with one.holder(await one.key("admin")) as admin:
            erased = (await admin.delete("/v1/users/ann")).json()
        answer = await client.post(erased["urls"]["replay"], json={})
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
