"""`/v1/webhooks`, and a webhook's whole way: from a run's end to a receiver that believes it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import pytest

from understudy.client import webhooks as receiving
from understudy.testing.internet import answer

WHERE = "/v1/webhooks"
URL = "https://example.com/told"


async def register(one: Any, url: str = URL) -> Any:
    """The webhook of an address."""
    said = await one.client.post(WHERE, json={"url": url})
    assert said.status_code == 200, said.text
    return said.json()


async def test_an_address_is_known_before_the_first_run(site: Any) -> None:
    """Its secret can be had at once; naming it again, in any way, gives the same one."""
    async with site() as one:
        hook = await register(one)
        assert (hook["url"], hook["enabled"], hook["failing_since"]) == (URL, True, None)
        assert await register(one, f"{URL}?a#b") == hook
        assert (await one.client.get(f"{WHERE}/{hook['id']}")).json() == hook
        assert (await one.client.get(WHERE)).json() == {"items": [hook], "next": None}
        secret = await one.client.get(f"{WHERE}/{hook['id']}/secret")
        assert secret.json()["secret"].startswith("whsec_")
        assert secret.headers["cache-control"] == "no-store"
        (entry,) = await one.app.audit.list(one.app.tenant)
        assert (entry.action, entry.subject) == ("webhook.secret", hook["id"])


async def test_a_run_makes_its_address_known(site: Any) -> None:
    """A run with a webhook is told of later; one with a bad address is not accepted."""
    async with site() as one:
        await one.submit(webhook=f"{URL}?run=1")
        assert [hook["url"] for hook in (await one.client.get(WHERE)).json()["items"]] == [URL]
        for bad in ("http://example.com/", "https://10.0.0.1/", "https://example.com:22/", "x"):
            body = {"operation": "echo", "webhook": bad}
            said = await one.client.post("/v1/runs", json=body)
            assert (said.status_code, said.json()["code"]) == (422, "address_refused")
            assert said.json()["errors"][0]["pointer"] == "/webhook"
        said = await one.client.post(WHERE, json={"url": "http://example.com/"})
        assert said.json()["errors"][0]["pointer"] == "/url"
        assert len((await one.client.get("/v1/runs")).json()["items"]) == 1


async def test_pages_of_addresses(site: Any) -> None:
    """Each comes once, the newest first; a token of another list is refused."""
    async with site() as one:
        made = [(await register(one, f"{URL}/{number}"))["id"] for number in range(5)]
        seen: list[str] = []
        page: dict[str, Any] = {}
        while page.get("next") or not seen:
            asked = {"limit": "2", **({"page": page["next"]} if page else {})}
            page = (await one.client.get(WHERE, params=asked)).json()
            seen += [hook["id"] for hook in page["items"]]
        assert sorted(seen, reverse=True) == seen
        assert set(seen) == set(made)
        assert len(seen) == 5
        refused = await one.client.get(WHERE, params={"page": "AAAA"})
        assert (refused.status_code, refused.json()["code"]) == (400, "malformed")


async def test_switching_and_replacing(site: Any) -> None:
    """Off with a reason, on again, another secret: each leaves a row in the audit."""
    async with site() as one:
        at = f"{WHERE}/{(await register(one))['id']}"
        off = (await one.client.post(f"{at}/disable", json={"reason": "moved"})).json()
        assert (off["enabled"], off["reason"]) == (False, "moved")
        on = (await one.client.post(f"{at}/enable")).json()
        assert (on["enabled"], on["reason"], on["disabled_at"]) == (True, None, None)
        plain = (await one.client.post(f"{at}/disable")).json()
        assert plain["reason"] == "switched off by anonymous"
        old = (await one.client.get(f"{at}/secret")).json()
        rotated = (await one.client.post(f"{at}/rotate")).json()
        assert rotated["former_until"] > rotated["created_at"]
        assert (await one.client.get(f"{at}/secret")).json() != old
        assert (await one.client.post(f"{at}/rotate", json={"overlap": 0})).status_code == 200
        assert (await one.client.post(f"{at}/rotate", json={"overlap": -1})).status_code == 422
        assert (await one.client.post(f"{at}/disable", json={"why": "x"})).status_code == 422
        done = [entry.action for entry in await one.app.audit.list(one.app.tenant)]
        assert done[::-1] == [
            "webhook.disable",
            "webhook.enable",
            "webhook.disable",
            "webhook.secret",
            "webhook.rotate",
            "webhook.secret",
            "webhook.rotate",
        ]


async def test_who_may_do_what(site: Any) -> None:
    """Reading shows no secret, submitting switches nothing, and no tenant sees another's."""
    async with site() as one:
        hook = await register(one)
        at = f"{WHERE}/{hook['id']}"
        keys = [await one.key("read"), await one.key("submit")]
        stranger = await one.key("admin", tenant="other")
        for token in keys:
            async with one.holder(token) as client:
                assert (await client.get(at)).json() == hook
                assert (await client.get(f"{at}/secret")).status_code == 403
                for action in ("enable", "disable", "rotate"):
                    assert (await client.post(f"{at}/{action}")).status_code == 403
        async with one.holder(keys[0]) as client:
            assert (await client.post(WHERE, json={"url": URL})).status_code == 403
        async with one.holder(stranger) as client:
            assert (await client.get(WHERE)).json()["items"] == []
            for asked in (client.get(at), client.get(f"{at}/secret")):
                assert (await asked).status_code == 404
            for action in ("enable", "disable", "rotate"):
                assert (await client.post(f"{at}/{action}")).status_code == 404
        async with one.holder(await one.key("admin")) as client:
            assert (await client.get(at)).json() == hook


async def test_telling_again(site: Any) -> None:
    """A delivery can be repeated once there is an end to tell, where the address is on."""
    async with site() as one:
        plain = await one.submit("ask")
        run = await one.submit("ask", webhook=URL, user="ann")
        refused = await one.client.post(f"/v1/runs/{plain['id']}/redeliver")
        assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
        assert (await one.client.post(f"/v1/runs/{run['id']}/redeliver")).status_code == 409
        assert (await one.client.post("/v1/runs/run_x/redeliver")).status_code == 404
        await one.client.post(f"/v1/runs/{run['id']}/cancel")
        said = await one.client.post(f"/v1/runs/{run['id']}/redeliver")
        assert said.status_code == 202
        told = said.json()
        assert said.headers["location"].endswith(told["id"])
        assert (told["operation"], told["user"]) == ("deliver-webhook", "ann")
        assert told["input"] == {
            "run_id": run["id"],
            "url": URL,
            "event": "run.canceled",
            "attempt": 1,
        }
        # The one that its end queued, and this one.
        listed = await one.client.get("/v1/runs", params={"operation": "deliver-webhook"})
        assert len(listed.json()["items"]) == 2
        (hook,) = (await one.client.get(WHERE)).json()["items"]
        await one.client.post(f"{WHERE}/{hook['id']}/disable")
        off = await one.client.post(f"/v1/runs/{run['id']}/redeliver")
        assert (off.status_code, "enable it first" in off.json()["detail"]) == (409, True)
        async with one.holder(await one.key("admin", tenant="other")) as other:
            assert (await other.post(f"/v1/runs/{run['id']}/redeliver")).status_code == 404


@dataclasses.dataclass
class Receiver:
    """A customer's server: where it is, and what came."""

    url: str
    came: asyncio.Queue[tuple[dict[str, str], bytes]]


@contextlib.asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    """A server on this machine that takes what it is told."""
    came: asyncio.Queue[tuple[dict[str, str], bytes]] = asyncio.Queue()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[1:-2]
        headers = dict(line.split(": ", 1) for line in head)
        lengths = [
            int(value) for name, value in headers.items() if name.lower() == "content-length"
        ]
        body = await reader.readexactly(lengths[0])
        writer.writelines(answer(204))
        await writer.drain()
        writer.close()
        came.put_nowait((headers, body))

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield Receiver(f"http://127.0.0.1:{port}/told", came)


async def test_the_whole_way(site: Any) -> None:
    """A run ends, its address is told over HTTP, and the client library believes what came.

    Told again, the id is the same; with another secret nobody believes it.
    """
    async with receiver() as there, site(working=True, private_addresses=True) as one:
        hook = await register(one, there.url)
        secret = (await one.client.get(f"{WHERE}/{hook['id']}/secret")).json()["secret"]
        run = await one.submit(input={"text": "hi"}, webhook=there.url)
        async with asyncio.timeout(30):
            headers, body = await there.came.get()
        told = receiving.verify(secret, headers, body)
        assert (told.type, told.data.id) == ("run.succeeded", run["id"])
        assert told.data.output == {"text": "hi0"}
        assert (await one.client.post(f"/v1/runs/{run['id']}/redeliver")).status_code == 202
        async with asyncio.timeout(30):
            headers, body = await there.came.get()
        assert receiving.verify(secret, headers, body).id == told.id
        with pytest.raises(receiving.BadSignature):
            receiving.verify("whsec_" + "A" * 43 + "=", headers, body)
