"""Operations, signals, the queue, people, health, metrics and problems."""

from __future__ import annotations

from typing import Any

import pytest

from understudy.web.problem import PROBLEMS


async def test_operations_say_how_to_ask(site: Any) -> None:
    """By name, with schemas of input and output and examples; an unknown one is a 404."""
    async with site() as one:
        listed = (await one.client.get("/v1/operations")).json()["items"]
        assert [operation["name"] for operation in listed] == sorted(one.app.registry.names)
        shown = (await one.client.get("/v1/operations/echo")).json()
        assert shown in listed
        assert shown["input"]["properties"]["times"]["maximum"] == 5
        assert shown["examples"] == {"twice": {"text": "hi", "times": 2}}
        answer = await one.client.get("/v1/operations/nobody")
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_operation")


async def test_a_signal_wakes_who_waits(site: Any) -> None:
    """The run goes on with its data; the same key again sends nothing."""
    async with site(working=True) as one:
        run = await one.submit("ask")
        async for change in one.app.engine.watching.watch(run["id"], "default"):
            if change.steps:
                break
        sent = {"name": "answer", "data": {"text": "yes"}}
        key = {"Idempotency-Key": "once"}
        first = await one.client.post("/v1/signals", json=sent, headers=key)
        assert (first.status_code, first.json()) == (202, {"name": "answer", "woken": 1})
        again = await one.client.post("/v1/signals", json=sent, headers=key)
        assert again.json()["woken"] == 0
        async for change in one.app.engine.watching.watch(run["id"], "default"):
            if change.run.done:
                assert change.run.output == '{"text":"yes"}'


async def test_the_queue_is_the_tenants_own(site: Any) -> None:
    """By operation, with since when the first waits; another tenant's runs do not count."""
    async with site() as one:
        run = await one.submit("echo")
        await one.submit("ask", delay=100)
        shown = (await one.client.get("/v1/queue")).json()
        ask, echo = shown["items"]
        assert (ask["operation"], ask["due"], ask["parked"]) == ("ask", 0, 1)
        assert (echo["due"], echo["oldest_due"]) == (1, run["created_at"])
        assert shown["workers"] == 0
        async with one.holder(await one.key("read", tenant="other")) as stranger:
            assert (await stranger.get("/v1/queue")).json() == {"items": [], "workers": 0}


@pytest.mark.parametrize("user", ["ann", "ann/b c", "é"])
async def test_a_person_is_erased(site: Any, user: str) -> None:
    """202 with a run whose output is the report, and the audit names that run, not the person."""
    async with site(working=True) as one:
        run = await one.submit("ask", user=user)
        made = await one.client.delete(f"/v1/users/{user}")
        assert made.status_code == 202
        async for change in one.app.engine.watching.watch(made.json()["id"], "default"):
            last = change.run
        assert last.status == "succeeded"
        assert (await one.client.get(run["urls"]["self"])).status_code == 404
        (entry,) = [e for e in await one.app.audit.list("default") if e.action == "user.erase"]
        assert entry.subject == made.json()["id"]
        again = await one.client.delete(
            f"/v1/users/{user}", headers={"Idempotency-Key": "erase-once"}
        )
        same = await one.client.delete(
            f"/v1/users/{user}", headers={"Idempotency-Key": "erase-once"}
        )
        assert again.json()["id"] == same.json()["id"]


async def test_metrics_name_nobody(site: Any) -> None:
    """Counted by route and operation: no id of a run and no name of a tenant is in them."""
    async with site() as one:
        run = await one.submit("echo")
        await one.client.get(run["urls"]["self"])
        await one.client.get("/v1/runs/run_nobody")
        await one.client.get("/no/such/route")
        text = (await one.client.get("/metrics")).text
        for said in (
            'requests_total{method="GET",route="/v1/runs/{run_id}",status="200"} 1.0',
            'requests_total{method="GET",route="/v1/runs/{run_id}",status="404"} 1.0',
            'requests_total{method="(any)",route="(unknown)",status="404"} 1.0',
            'understudy_runs_accepted_total{operation="echo",replayed="false"} 1.0',
            'understudy_queue_runs{operation="echo",state="due"} 1.0',
            "understudy_workers 0.0",
        ):
            assert said in text
        assert "understudy_queue_wait_seconds" in text
        assert "run_" not in text.replace("run_id", "")
        assert "default" not in text


async def test_metrics_are_for_the_installations_own_people(site: Any) -> None:
    """They are of all tenants together, so another tenant's admin does not see them."""
    async with site() as one:
        await one.submit("echo")
        async with one.holder(await one.key("admin", tenant="other")) as client:
            answer = await client.get("/metrics")
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        async with one.holder(await one.key("admin")) as client:
            assert (await client.get("/metrics")).status_code == 200


async def test_a_made_up_method_is_no_label(site: Any) -> None:
    """Whoever asks with methods of his own making fills no memory with what is counted."""
    async with site() as one:
        assert (await one.client.request("BREW", "/v1/runs")).status_code == 405
        text = (await one.client.get("/metrics")).text
        assert "BREW" not in text
        assert 'requests_total{method="(any)",route="/v1/runs",status="405"} 1.0' in text


async def test_every_problem_is_explained(site: Any) -> None:
    """The `type` of a problem leads to its meaning, without a key."""
    async with site() as one:
        await one.key()
        listed = (await one.client.get("/problems")).json()["items"]
        assert {kind["code"] for kind in listed} == set(PROBLEMS)
        refused = (await one.client.get("/v1/runs")).json()
        kind = (await one.client.get(refused["type"])).json()
        assert (kind["code"], kind["status"], kind["retriable"]) == ("unauthorized", 401, False)
        assert kind in listed
        assert (await one.client.get("/problems/nothing")).status_code == 404


async def test_not_ready_without_a_database(site: Any) -> None:
    """`/readyz` asks the database; `/healthz` does not."""
    async with site() as one:
        assert (await one.client.get("/readyz")).json() == {"status": "ready"}

        async def fail(_wanted: Any) -> Any:
            from understudy.errors import StorageError

            raise StorageError("the database does not answer")

        object.__setattr__(one.app.engine, "list", fail)
        answer = await one.client.get("/readyz")
        assert (answer.status_code, answer.json()["code"]) == (503, "storage")
        assert (await one.client.get("/healthz")).status_code == 200


async def test_it_is_the_same_on_postgresql(site: Any, postgres_url: str) -> None:
    """Keys, lists, the queue, a wait, steps and the end of a stream, on the other database."""
    async with site(database_url=postgres_url, working=True) as one:
        key = {"Idempotency-Key": "k"}
        asked = {"operation": "ask", "user": "ann"}
        runs = [await one.client.post("/v1/runs", json=asked, headers=key) for _ in range(2)]
        run = runs[0].json()
        assert runs[1].json()["id"] == run["id"]
        listed = await one.client.get("/v1/runs", params={"user": "ann", "unfinished": True})
        assert [shown["id"] for shown in listed.json()["items"]] == [run["id"]]
        (queue,) = (await one.client.get("/v1/queue")).json()["items"]
        assert queue["operation"] == "ask"
        sent = {"name": "answer", "data": {"text": "yes"}}
        await one.client.post("/v1/signals", json=sent)
        async for change in one.app.engine.watching.watch(run["id"], "default"):
            last = change
        assert last.run.done
        over = await one.client.get(run["urls"]["events"], params={"after": str(last.cursor)})
        assert over.status_code == 204
        steps = (await one.client.get(run["urls"]["steps"])).json()["items"]
        assert steps[0]["result"] == {"text": "yes"}
        for field in (b'"user":"a\\u0000b"', b'"user":"\\ud800"', b'"input":{"text":"\\ud800"}'):
            answer = await one.client.post(
                "/v1/runs",
                content=b'{"operation":"echo",%s}' % field,
                headers={"Content-Type": "application/json"},
            )
            assert answer.status_code == 422, field
        text = {"operation": "echo", "input": {"text": "a\0b"}}
        answer = await one.client.post("/v1/runs", json=text, headers={"Prefer": "wait=30"})
        assert answer.json()["output"] == {"text": "a\0b0"}
