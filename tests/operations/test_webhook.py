"""Webhooks: whoever is named is told once a run has ended, signed, for about a day of tries."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpcore
import pytest

from understudy import Context, Permanent, operation
from understudy.accounts.webhooks import PATIENCE, Webhook, Webhooks
from understudy.clock import ManualClock, iso
from understudy.db.database import Database, sql
from understudy.engine.journals.database import DatabaseJournal
from understudy.engine.run import Run, RunFilter
from understudy.operations.webhook import Courier, deliver_webhook, told_of
from understudy.signing import verify
from understudy.testing.harness import TENANT, Answer, Given, Harness
from understudy.testing.internet import Asked, Internet, answer
from understudy.wire import RunView

URL = "https://example.com/told?shop=7"


async def one() -> int:
    """A step without a thread, which a harness does not wait for."""
    return 1


@operation("works")
async def works(ctx: Context, input: Given) -> Answer:
    """Takes one step."""
    return Answer(value=await ctx.step("one", one))


@operation("fails")
async def fails(ctx: Context, input: Given) -> Answer:
    """Fails at once."""
    raise Permanent("no")


@operation("waits")
async def waits(ctx: Context, input: Given) -> Answer:
    """Is open until it is told to go on."""
    return Answer(value=await ctx.wait("go"))


class Post(NamedTuple):
    """A worker, the world outside, and the addresses that it knows."""

    harness: Harness
    outside: Internet
    webhooks: Webhooks
    database: Database

    async def told(self, name: str = "works", **how: Any) -> Run:
        """Submit a run that names the address; as far as it goes without time."""
        run = await self.harness.submit(name, webhook=URL, **how)
        await self.harness.settle()
        return run

    async def deliveries(self) -> list[Run]:
        """The runs that deliver, the newest first."""
        return list(await self.harness.engine.list(RunFilter(TENANT, "deliver-webhook")))

    async def delivery(self) -> Run:
        """The only one, once it is done; time stands still but for its pauses."""
        (run,) = await self.deliveries()
        while not run.done:
            assert run.wake_at is not None
            await self.harness.advance(run.wake_at - self.harness.clock.now())
            run = await self.harness.engine.get(run.id)
        return run

    async def hook(self) -> Webhook:
        """The address."""
        (hook,) = await self.webhooks.list(TENANT)
        return hook

    async def checked(self, asked: Asked, now: float) -> tuple[str, dict[str, Any]]:
        """What a receiver gets from a request: the id, and the body once it is verified."""
        secrets = await self.webhooks.secrets(TENANT, (await self.hook()).id)
        seen = verify(secrets[0], asked.headers, asked.body, now)
        body: dict[str, Any] = json.loads(asked.body)
        return seen, body


@asynccontextmanager
async def opened() -> AsyncIterator[Post]:
    """All of it, with an address that takes everything."""
    async with Database.in_memory() as database:
        clock, outside = ManualClock(), Internet({"example.com": ["93.184.216.34"]})
        fetcher = outside.fetcher(clock)
        webhooks = Webhooks(database, clock, fetcher)

        async def view(run_id: str, *, tenant: str) -> RunView:
            return await harness.engine.view(run_id, tenant=tenant)

        courier = Courier(webhooks, fetcher, clock, view, TENANT)
        harness = Harness(
            [works, fails, waits, deliver_webhook],
            journal=DatabaseJournal(database, told_of),
            provided={Courier: courier},
            clock=clock,
        )
        async with harness:
            yield Post(harness, outside, webhooks, database)


@pytest.mark.parametrize(("name", "event"), [("works", "run.succeeded"), ("fails", "run.failed")])
async def test_an_end_is_told(name: str, event: str) -> None:
    """One signed message says how the run ended; its data is the run, as the API shows it."""
    async with opened() as post:
        run = await post.told(name, user="ann")
        delivery = await post.delivery()
        assert json.loads(delivery.output or "") == {"state": "delivered", "status": 204}
        assert delivery.user == "ann"
        (asked,) = post.outside.asked
        assert (asked.method, asked.target, asked.port) == ("POST", "/told?shop=7", 443)
        assert asked.headers["content-type"] == "application/json"
        seen, body = await post.checked(asked, post.harness.clock.now())
        assert seen == f"msg_{run.id.removeprefix('run_')}_1"
        assert (body["type"], body["timestamp"]) == (event, iso(run.ended_at or 0))
        told = RunView.model_validate(body["data"])
        assert (told.id, f"run.{told.status}", told.done, told.steps) == (run.id, event, True, [])


async def test_a_canceled_run_is_told() -> None:
    """A run that nobody drove is told of as well."""
    async with opened() as post:
        run = await post.told("waits")
        assert post.outside.asked == []
        await post.harness.engine.cancel(run.id)
        await post.harness.settle()
        await post.delivery()
        assert json.loads(post.outside.asked[0].body)["type"] == "run.canceled"


async def test_a_run_that_names_nobody_tells_nobody() -> None:
    """Without an address there is no delivery; a delivery itself is told to nobody."""
    async with opened() as post:
        await post.harness.run("works")
        assert await post.deliveries() == []
        await post.told()
        assert len(await post.deliveries()) == 1


async def test_tries_go_on_with_the_same_id() -> None:
    """A receiver that is down for a while is told then, by an id that it can keep."""
    async with opened() as post:
        said = iter([answer(500), answer(302, location="https://example.com/"), answer(200)])
        post.outside.serve(lambda _: next(said))
        await post.told()
        assert (await post.hook()).failing_since == post.harness.clock.now()
        delivery = await post.delivery()
        assert delivery.status == "succeeded"
        ids = {asked.headers["webhook-id"] for asked in post.outside.asked}
        times = {asked.headers["webhook-timestamp"] for asked in post.outside.asked}
        assert (len(post.outside.asked), len(ids), len(times)) == (3, 1, 3)
        assert (await post.hook()).failing_since is None


async def test_a_receiver_may_ask_for_time() -> None:
    """`Retry-After` is obeyed to the second."""
    async with opened() as post:
        said = iter([answer(429, retry_after="1000"), answer(204)])
        post.outside.serve(lambda _: next(said))
        await post.told()
        await post.harness.advance(999)
        assert len(post.outside.asked) == 1
        await post.harness.advance(2)
        assert len(post.outside.asked) == 2


@pytest.mark.parametrize("down", [500, None])
async def test_tries_end_after_about_a_day(down: int | None) -> None:
    """Twelve tries over half a day to one and a half, then the delivery has failed, visibly."""

    def silent(_: Asked) -> Iterable[bytes]:
        if down is None:
            raise httpcore.ReadTimeout("silent")
        return answer(down, b"a secret of theirs")

    async with opened() as post:
        began = post.harness.clock.now()
        post.outside.serve(silent)
        await post.told()
        delivery = await post.delivery()
        assert (delivery.status, len(post.outside.asked)) == ("failed", 12)
        assert 43_200 < (delivery.ended_at or 0) - began < 130_000
        assert (delivery.error or {})["category"] == "network"
        assert "secret" not in (delivery.error or {})["message"]
        hook = await post.hook()
        assert (hook.enabled, hook.failing_since) == (True, began)


async def test_an_address_that_is_gone_is_switched_off() -> None:
    """410 is said once: nothing is sent there again, and later runs say so and succeed."""
    async with opened() as post:
        post.outside.serve(lambda _: answer(410))
        await post.told()
        delivery = await post.delivery()
        assert delivery.status == "failed"
        hook = await post.hook()
        assert (hook.enabled, hook.reason) == (False, "it answered 410: it is gone")
        post.harness.clock.advance(1)
        await post.told()
        newest = (await post.deliveries())[0]
        assert json.loads(newest.output or "") == {"state": "disabled", "status": None}
        assert len(post.outside.asked) == 1


async def test_an_address_that_fails_for_days_is_switched_off() -> None:
    """Past our patience the try that failed is the last one."""
    async with opened() as post:
        post.outside.serve(lambda _: answer(500))
        await post.webhooks.failed(await post.webhooks.register(TENANT, URL), "no")
        post.harness.clock.advance(PATIENCE)
        await post.told()
        delivery = await post.delivery()
        assert (delivery.status, len(post.outside.asked)) == ("failed", 1)
        assert "switched off" in (delivery.error or {})["message"]
        assert not (await post.hook()).enabled


async def test_an_address_that_leads_inside_is_not_told() -> None:
    """A name that points at our own network by now is refused, not tried for a day."""
    async with opened() as post:
        post.outside.names["example.com"] = [["10.0.0.7"]]
        await post.told()
        delivery = await post.delivery()
        assert (delivery.error or {})["code"] == "step_failed"
        assert (delivery.error or {})["type"] == "AddressRefused"
        assert post.outside.dialled == []


async def test_a_retried_run_tells_its_new_end() -> None:
    """The end of an earlier try is not told once another one began; the new end is."""
    async with opened() as post:
        post.outside.serve(lambda _: answer(500))
        run = await post.told("fails")
        await post.harness.advance(1)
        await post.harness.engine.retry(run.id)
        await post.harness.settle()
        post.outside.serve(lambda _: answer(204))
        first, second = [await post.harness.finish(r.id) for r in await post.deliveries()][::-1]
        assert json.loads(first.output or "")["state"] == "outdated"
        assert json.loads(second.output or "")["state"] == "delivered"
        assert post.outside.asked[-1].headers["webhook-id"].endswith("_2")


async def test_a_run_that_was_deleted_is_not_told_of() -> None:
    """What was erased is not sent to anybody."""
    async with opened() as post:
        post.outside.serve(lambda _: answer(500))
        run = await post.told()
        delete = sql("DELETE FROM runs WHERE id = :id")
        await post.database.write(lambda tx: tx.execute(delete, {"id": run.id}))
        delivery = await post.delivery()
        assert json.loads(delivery.output or "")["state"] == "gone"
        assert len(post.outside.asked) == 1


async def test_a_crash_repeats_and_does_not_lose() -> None:
    """A process that dies while it tells tells again, with the same id."""
    async with opened() as post:
        post.outside.serve(lambda _: answer(500))
        await post.told()
        await post.harness.crash()
        post.outside.serve(lambda _: answer(204))
        assert (await post.delivery()).status == "succeeded"
        assert len({asked.headers["webhook-id"] for asked in post.outside.asked}) == 1


async def test_a_slow_address_holds_up_no_other() -> None:
    """Deliveries to one URL are driven a few at a time, so that others have their turn."""
    assert deliver_webhook.concurrency is not None
    assert (deliver_webhook.concurrency.key, deliver_webhook.concurrency.each) == ("url", 16)


async def test_however_often_an_end_is_written_it_is_told_once() -> None:
    """The delivery of an attempt's end is one and the same run; another attempt has its own."""
    async with opened() as post:
        run = await post.harness.finish((await post.told("fails")).id)
        first, again, later = told_of(run), told_of(run), told_of(run._replace(attempt=2))
        assert first is not None
        assert again is not None
        assert later is not None
        key = first.run.idempotency_key
        assert key is not None
        assert again.run.idempotency_key == key != later.run.idempotency_key
        await post.harness.journal.submit(again)
        assert len(await post.deliveries()) == 1
        assert told_of(run._replace(ended_at=None)) is None
