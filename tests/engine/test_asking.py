"""The front door for many tenants: repeated requests, replays, and what strangers see."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest
from pydantic import BaseModel

from understudy import Context, operation
from understudy.engine.journal import Journal
from understudy.engine.run import Accepted, Request, Run
from understudy.errors import InvalidInput, KeyReused, NotFound
from understudy.testing.conformance.rows import HOOK
from understudy.testing.harness import TENANT, Answer, Given, Harness


class Number(BaseModel):
    """One number."""

    n: int = 1


@operation("double")
async def double(ctx: Context, input: Number) -> Answer:
    return Answer(value=await ctx.step("double", lambda: 2 * input.n))


@operation("nap", idempotency=("n",))
async def nap(ctx: Context, input: Number) -> Answer:
    await ctx.sleep(60)
    return Answer()


@operation("song")
async def song(ctx: Context, input: Given) -> Answer:
    return Answer()


async def test_a_request_is_accepted_once(journal: Journal) -> None:
    """The second asking is answered by the first one's run, and says so; another one is refused."""
    async with Harness([double], journal=journal) as harness:
        accept = harness.engine.accept
        request = Request("k", "f")
        first = await accept("double", {"n": 2}, tenant=TENANT, request=request)
        await harness.finish(first.run.id)
        again = await accept("double", {"n": 2}, tenant=TENANT, request=request)
        assert (first.replayed, again.replayed) == (False, True)
        assert (again.run.id, again.run.status) == (first.run.id, "succeeded")
        with pytest.raises(KeyReused, match=f"'k' was used for {first.run.id}"):
            await accept("double", {"n": 3}, tenant=TENANT, request=Request("k", "g"))
        other = await accept("double", {"n": 2}, tenant="other", request=request)
        assert (other.replayed, other.run.tenant) == (False, "other")


async def test_impatient_clients_get_one_run_each(journal: Journal) -> None:
    """Fifty of them ask at once with five keys, and many go away before they are answered."""
    async with Harness([double], journal=journal) as harness:

        async def ask(number: int) -> Accepted:
            key = f"k{number % 5}"
            return await harness.engine.accept(
                "double", {"n": number % 5}, tenant=TENANT, request=Request(key, key)
            )

        asked = [asyncio.create_task(ask(number)) for number in range(50)]
        await asyncio.sleep(0)
        for gone in asked[::3]:
            gone.cancel()
        answers = await asyncio.gather(*asked, return_exceptions=True)
        accepted = [one for one in answers if isinstance(one, Accepted)]
        assert len(accepted) >= 33
        last = [await ask(number) for number in range(5)]
        assert all(one.replayed for one in last)
        assert {one.run.id for one in accepted} <= {one.run.id for one in last}
        assert len(await harness.engine.unfinished(TENANT)) <= 5
        for one in last:
            done = await harness.finish(one.run.id)
            assert await harness.output(done.id) == {"value": 2 * json.loads(done.input)["n"]}


async def test_the_operations_own_key_answers_too(journal: Journal) -> None:
    """A run that the operation takes for the same answers the request for good."""
    async with Harness([nap], journal=journal) as harness:
        accept = harness.engine.accept
        first = await accept("nap", {"n": 1}, tenant=TENANT)
        again = await accept("nap", {"n": 1}, tenant=TENANT, request=Request("k", "f"))
        assert (again.run.id, again.replayed) == (first.run.id, True)
        with pytest.raises(KeyReused):
            await accept("nap", {"n": 1}, tenant=TENANT, request=Request("k", "g"))
        mine = await accept("nap", {"n": 2}, tenant=TENANT, idempotency_key="i")
        assert not mine.replayed
        with pytest.raises(KeyReused, match=r"'i' of nap was used for run_\w+, with another input"):
            await accept("nap", {"n": 3}, tenant=TENANT, idempotency_key="i")


async def test_a_run_is_replayed(journal: Journal) -> None:
    """With its input or another one: a new run for the same user that remembers nothing."""
    async with Harness([double, nap], journal=journal) as harness:
        run = await harness.engine.submit(
            "double", {"n": 2}, tenant=TENANT, user="ann", webhook=HOOK
        )
        await harness.finish(run.id)
        same = await harness.engine.replay(run.id, TENANT)
        other = await harness.engine.replay(run.id, TENANT, {"n": 5}, Request("k", "f"))
        for fresh in (same.run, other.run):
            assert (fresh.user, fresh.webhook, fresh.forked_from) == ("ann", HOOK, run.id)
            await harness.finish(fresh.id)
        assert await harness.output(same.run.id) == {"value": 4}
        assert await harness.output(other.run.id) == {"value": 10}
        again = await harness.engine.replay(run.id, TENANT, {"n": 5}, Request("k", "f"))
        assert (again.run.id, again.replayed) == (other.run.id, True)
        with pytest.raises(InvalidInput):
            await harness.engine.replay(run.id, TENANT, {"n": "many"})
        sleeping = await harness.engine.submit("nap", {"n": 1}, tenant=TENANT)
        assert not (await harness.engine.replay(sleeping.id, TENANT)).replayed


async def test_strangers_find_nothing(journal: Journal) -> None:
    """Whatever another tenant asks of a run, it is not found and stays as it is."""
    async with Harness([nap], journal=journal) as harness:
        run = await harness.submit("nap")
        before = await harness.engine.get(run.id)
        engine = harness.engine
        asks: list[Callable[[str], Awaitable[object]]] = [
            lambda tenant: engine.get(run.id, tenant),
            lambda tenant: engine.steps(run.id, tenant),
            lambda tenant: engine.view(run.id, tenant=tenant),
            lambda tenant: engine.cancel(run.id, tenant),
            lambda tenant: engine.retry(run.id, tenant),
            lambda tenant: engine.resume(run.id, tenant),
            lambda tenant: engine.fork(run.id, tenant=tenant),
            lambda tenant: engine.replay(run.id, tenant),
            lambda tenant: anext(engine.watching.watch(run.id, tenant)),
        ]
        for ask in asks:
            with pytest.raises(NotFound, match=run.id):
                await ask("other")
        assert await engine.get(run.id, TENANT) == before
        assert len(await engine.unfinished(TENANT)) == 1
        for ask in asks[:3]:
            await ask(TENANT)
        assert (await engine.cancel(run.id, TENANT)).status in {"running", "canceled"}


async def test_a_webhook_is_an_address(journal: Journal) -> None:
    """It is kept with the run; one that is too long, or empty, is refused."""
    async with Harness([song], journal=journal) as harness:
        submit = harness.engine.submit
        run = await submit("song", {}, tenant=TENANT, webhook=HOOK)
        assert (await harness.engine.get(run.id)).webhook == HOOK
        for webhook in ("", "https://" + "x" * 2_000):
            with pytest.raises(InvalidInput, match="1 to 2000 characters"):
                await submit("song", {}, tenant=TENANT, webhook=webhook)


async def test_a_run_says_its_place(journal: Journal) -> None:
    """While it stands in the queue; once it is driven it has none."""
    engine = Harness([double], journal=journal).engine
    runs: list[Run] = [await engine.submit("double", {}, tenant=TENANT) for _ in range(3)]
    assert sorted([await engine.place(run) or 0 for run in runs]) == [0, 1, 2]
    assert await engine.place(runs[0]._replace(wake_at=None)) is None
