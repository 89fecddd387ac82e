"""The dashboard's pages as a browser without scripts gets them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from understudy.web.dashboard.page import POLICY

PAGES = (
    "/dashboard",
    "/dashboard/runs",
    "/dashboard/operations",
    "/dashboard/operations/echo",
    "/dashboard/operations/morph",
    "/dashboard/queue",
    "/dashboard/keys",
    "/dashboard/webhooks",
    "/dashboard/audit",
    "/dashboard/system",
)
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


async def ended(one: Any, run_id: str) -> None:
    """Wait for a run's end."""
    await one.app.engine.result(run_id)


@pytest.mark.parametrize("path", PAGES)
async def test_every_page_is_whole_and_carries_no_code(path: str, site: Any, browser: Any) -> None:
    """No script, style or handler stands in a page, so the policy can refuse them all."""
    async with site(working=True) as one:
        await ended(one, (await one.submit("echo", input={"times": 2}))["id"])
        answer = await one.client.get(path)
        page = answer.text
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["cache-control"] == "no-store"
    assert page.rstrip().endswith("</html>")
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:|hx-on", page)
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", page))
    assert "unsafe" not in POLICY


async def test_the_door_leads_to_the_dashboard(site: Any) -> None:
    """Who opens the server's address in a browser finds it."""
    async with site() as one:
        answer = await one.client.get("/")
        assert answer.headers["location"] == "/dashboard"


async def test_nobody_working_is_said_in_a_banner(site: Any, browser: Any) -> None:
    """The most frequent question, why does my run not move, is answered on the page."""
    async with site() as one:
        reader = browser(one.client)
        run = await one.submit("echo")
        for path in ("/dashboard", "/dashboard/runs", f"/dashboard/runs/{run['id']}"):
            assert "No worker is running" in await reader.get(path)
        assert "waits for a worker: none is running" in await reader.get("/dashboard/runs")
    async with site(working=True) as one:
        assert "No worker is running" not in await browser(one.client).get("/dashboard")


async def test_a_run_shows_what_it_did(site: Any, browser: Any, words_of: Any) -> None:
    """Its steps, their results, its input and output, and what happened when."""
    async with site(working=True) as one:
        reader = browser(one.client)
        run = await one.submit("echo", input={"text": "hi", "times": 2}, user="ann")
        await ended(one, run["id"])
        words = words_of(await reader.get(f"/dashboard/runs/{run['id']}"))
        assert "succeeded for ann" in words
        assert "hi0 hi1" in words
        assert "say 2 steps" in words
        assert '"hi1"' in words
        assert "asked for for ann" in words
        raw = await reader.get(f"/dashboard/runs/{run['id']}/json")
        assert '"text": "hi0 hi1"' in raw
        failed = await one.submit("fail", input={"text": "money"})
        await ended(one, failed["id"])
        words = words_of(await reader.get(f"/dashboard/runs/{failed['id']}"))
        assert "Permanent in refuse (internal) no money" in words
        assert "Retry" in words
        words = words_of(await reader.get("/dashboard"))
        assert "Last failures" in words
        assert "50.0 %" in words


async def test_what_strangers_wrote_stays_text(site: Any, browser: Any) -> None:
    """Prompts, users, errors and file names are never markup, wherever they are shown."""
    async with site(working=True) as one:
        reader = browser(one.client)
        stored = await one.app.artifacts.put(b"x", name=f"{EVIL}.png")
        runs = [
            await one.submit("fail", input={"text": EVIL}, user=EVIL),
            await one.submit("echo", input={"text": stored.id}, user=EVIL),
        ]
        for run in runs:
            await ended(one, run["id"])
        paths = ["/dashboard", "/dashboard/runs", f"/dashboard/runs?user={EVIL}"]
        paths += [f"/dashboard/runs/{run['id']}" for run in runs]
        paths += [f"/dashboard/runs/{run['id']}/replay" for run in runs]
        for path in paths:
            page = await reader.get(path)
            assert "<script>alert" not in page, path
            assert "<img src=x" not in page, path
        page = await reader.get(f"/dashboard/{EVIL}", status=404)
        assert "<script>alert" not in page


async def test_the_list_is_filtered_by_its_address(site: Any, browser: Any) -> None:
    """A list can be sent to somebody else; an unknown filter is no fault of the server."""
    async with site(working=True) as one:
        reader = browser(one.client)
        for text in range(3):
            await ended(one, (await one.submit("echo", input={"text": str(text)}))["id"])
        await ended(one, (await one.submit("fail", user="ann"))["id"])
        waiting = await one.submit("ask")

        async def ids(query: str) -> int:
            return len(re.findall(r'main-cell"><a', await reader.get(f"/dashboard/runs?{query}")))

        assert await ids("") == 5
        assert await ids("status=succeeded&operation=echo") == 3
        assert await ids("status=failed&user=ann&span=hour") == 1
        assert await ids("user=bob") == 0
        assert await ids("status=open") == 1
        assert await ids(f"before={waiting['id']}") == 4
        await reader.get("/dashboard/runs?status=odd", status=404)


async def test_pages_follow_each_other(site: Any, browser: Any) -> None:
    """Forty runs a page, none twice, and the last page says that it is the last."""
    async with site() as one:
        reader = browser(one.client)
        for _ in range(45):
            await one.submit("ask")
        first = await reader.get("/dashboard/runs")
        older = re.search(r'href="([^"]*before=[^"]*)"', first)
        assert older
        second = await reader.get(older[1].replace("&amp;", "&"))
        names = [set(re.findall(r"/dashboard/runs/(run_\w+)", page)) for page in (first, second)]
        assert [len(some) for some in names] == [40, 5]
        assert not names[0] & names[1]
        assert "before=" not in second.partition("Pages")[2]


async def test_a_part_comes_only_when_it_has_changed(site: Any, browser: Any) -> None:
    """What polls gets 204 until there is something new, and stops once the run has ended."""
    async with site(working=True) as one:
        reader = browser(one.client)
        run = await one.submit("ask")
        path = f"/dashboard/runs/{run['id']}"
        while "waits for the signal" not in await reader.get("/dashboard/runs"):
            pass
        part = await reader.get(path, hx_request="true", hx_target="live")
        assert part.startswith('<div class="live"')
        assert "every 2.0s, changed" in part
        mark = re.search(r'"seen": "(\w+)"', part)
        assert mark
        await reader.get("/dashboard/runs?seen=x", hx_request="true", hx_target="live")
        assert await one.app.engine.emit("answer", {"text": "yes"}, tenant=one.app.tenant) == 1
        await ended(one, run["id"])
        part = await reader.get(f"{path}?seen={mark[1]}", hx_request="true", hx_target="live")
        assert "hx-trigger" not in part
        assert "yes" in part
        mark = re.search(r"seen", part)
        assert mark is None


async def test_nothing_new_is_no_answer(site: Any, browser: Any) -> None:
    """The same part asked for again is 204, so that nothing flickers and selections stay."""
    async with site() as one:
        reader = browser(one.client)
        mark = re.search(r'"seen": "(\w+)"', await reader.get("/dashboard/runs"))
        assert mark
        path = f"/dashboard/runs?seen={mark[1]}"
        await reader.get(path, status=204, hx_request="true", hx_target="live")


async def test_a_page_is_told_when_its_run_changes(site: Any, browser: Any) -> None:
    """Signs come as events without content; a run that has ended gives none."""
    async with site(working=True, watchers=1) as one:
        run = await one.submit("echo")
        await ended(one, run["id"])
        await browser(one.client).get(f"/dashboard/runs/{run['id']}/signs", status=204)
        one.api.state.server.streams = 1
        answer = await one.client.get(f"/dashboard/runs/{run['id']}/signs")
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "30"


async def test_files_are_served_whole_and_in_ranges(site: Any) -> None:
    """Films can be wound; what is no picture, film or sound is only ever saved."""
    async with site() as one:
        page = await one.app.artifacts.put(b"<script>alert(1)</script>", name="evil.html")
        answer = await one.client.get(f"/dashboard/files/{page.id}")
        assert answer.headers["content-disposition"].startswith("attachment")
        assert answer.headers["content-type"] == "application/octet-stream"
        assert "sandbox" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        answer = await one.client.get(f"/dashboard/files/{page.id}", headers={"Range": "bytes=1-6"})
        assert (answer.status_code, answer.text) == (206, "script")
        answer = await one.client.head(f"/dashboard/files/{page.id}")
        assert answer.headers["content-length"] == "25"
        other = one.app.artifacts.bound(tenant="other")
        theirs = await other.put(b"secret", name="theirs.txt")
        assert (await one.client.get(f"/dashboard/files/{theirs.id}")).status_code == 404
        for name in ("../settings.py", "..%2f..%2fsettings.py", "art_x"):
            assert (await one.client.get(f"/dashboard/files/{name}")).status_code == 404


async def test_own_files_are_kept_by_browsers(site: Any) -> None:
    """Their address changes with their content; only those that are known are served."""
    async with site() as one:
        page = (await one.client.get("/dashboard")).text
        found = re.findall(r'(?:href|src)="(/dashboard/static/[^"]+)"', page)
        assert len(found) == 4
        for address in found:
            answer = await one.client.get(address)
            assert answer.status_code == 200
            assert "immutable" in answer.headers["cache-control"]
        old = await one.client.get("/dashboard/static/old/dashboard.css")
        assert old.headers["cache-control"] == "no-cache"
        for name in ("htmx.LICENSE", "..%2fpage.py", "nothing.css"):
            assert (await one.client.get(f"/dashboard/static/x/{name}")).status_code == 404


async def test_another_tenants_runs_are_not_there(site: Any, browser: Any) -> None:
    """A key sees its own tenant on every page, and nothing else exists for it."""
    async with site(working=True) as one:
        mine = await one.submit("ask", user="mine")
        token = await one.key("admin", tenant="other")
        async with one.holder("") as client:
            client.headers.pop("authorization")
            stranger = browser(client)
            await client.post("/dashboard/sign-in", data={"key": token})
            for path in PAGES:
                page = await stranger.get(path, status=403 if "system" in path else 200)
                assert "/dashboard/system" not in page
                assert mine["id"] not in page
                assert "mine" not in page
            csrf = re.search(r'name="csrf" value="(\w+)"', await stranger.get("/dashboard/keys"))
            assert csrf
            for part in ("", "/json", "/signs", "/cancel", "/retry", "/replay"):
                await stranger.get(f"/dashboard/runs/{mine['id']}{part}", status=404)
            for part in ("cancel", "retry", "redeliver"):
                answer = await client.post(
                    f"/dashboard/runs/{mine['id']}/{part}", data={"csrf": csrf[1]}
                )
                assert answer.status_code == 404
        assert not (await one.app.engine.get(mine["id"])).done


async def test_refusals_are_pages(site: Any, browser: Any) -> None:
    """Whoever goes astray keeps the menu; a fault of ours says no more than that."""
    async with site() as one:
        reader = browser(one.client)
        for path in ("/dashboard/nowhere", "/dashboard/runs/run_x", "/dashboard/operations/none"):
            page = await reader.get(path, status=404)
            assert "Nothing here" in page
            assert 'href="/dashboard/queue"' in page

        async def broken(*_: object) -> Any:
            raise RuntimeError("a secret of the house")

        one.app.engine.crowd = broken
        page = await reader.get("/dashboard/queue", status=500)
        assert "its log says more" in page
        assert "secret" not in page


async def test_a_reader_sees_no_buttons(site: Any, browser: Any) -> None:
    """What a key may not do is not offered, and is refused when it is tried all the same."""
    async with site() as one:
        run = await one.submit("ask")
        token = await one.key("read")
        async with one.holder("") as client:
            client.headers.pop("authorization")
            await client.post("/dashboard/sign-in", data={"key": token})
            reader = browser(client)
            page = await reader.get(f"/dashboard/runs/{run['id']}")
            assert "Cancel" not in page
            assert "/dashboard/keys" not in page
            for path in PAGES[6:]:
                assert "Not allowed" in await reader.get(path, status=403)
            await reader.get("/dashboard/operations/echo", status=403)
            await reader.get(f"/dashboard/runs/{run['id']}/cancel", status=403)
            csrf = re.search(r'name="csrf" value="(\w+)"', page)
            assert csrf
            for path in ("/dashboard/keys", f"/dashboard/runs/{run['id']}/cancel"):
                answer = await client.post(path, data={"csrf": csrf[1]})
                assert answer.status_code == 403
            answer = await client.post(
                "/dashboard/start?operation=echo", data={"csrf": csrf[1]}, files={"x": ("", b"")}
            )
            assert answer.status_code == 403
        assert not (await one.app.engine.get(run["id"])).done
