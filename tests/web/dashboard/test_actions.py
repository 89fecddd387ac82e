"""What can be done in the dashboard: each with a question, a token, and a row in the audit."""

from __future__ import annotations

import io
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from PIL import Image


def photo(colour: str) -> bytes:
    """A small picture."""
    made = io.BytesIO()
    Image.new("RGB", (64, 48), colour).save(made, "PNG")
    return made.getvalue()


def stored_in(one: Any) -> list[Any]:
    """The files that an app's store has."""
    folder = one.app.settings.home / "artifacts"
    return [path for path in folder.rglob("*") if path.is_file()]


async def ended(one: Any, run_id: str) -> Any:
    """The run at its end."""
    return await one.app.engine.result(run_id)


def run_in(answer: Any) -> str:
    """The run that a form led to."""
    address: str = answer.headers["location"]
    assert address.startswith("/dashboard/runs/run_"), address
    return address.rpartition("/")[2]


async def test_a_run_is_started_by_a_form(site: Any, browser: Any) -> None:
    """The fields become the input; the audit says who did it."""
    async with site(working=True) as one:
        reader = browser(one.client)
        answer = await reader.send(
            "/dashboard/operations/echo",
            "/dashboard/start?operation=echo",
            **{"value:text": "hey", "value:times": "2", "user": " ann "},
        )
        run = await ended(one, run_in(answer))
        assert run.output == '{"text":"hey0 hey1"}'
        assert run.user == "ann"
        assert await reader.audit() == ["run.start"]


async def test_photos_become_a_film_by_a_form(site: Any, browser: Any) -> None:
    """Uploads go into the fields that take files, in their order; the film can be played."""
    async with site(working=True) as one:
        reader = browser(one.client)
        files = [
            ("files:images", (name, photo(name[:-4]), "image/png"))
            for name in ("red.png", "blue.png")
        ]
        answer = await reader.send(
            "/dashboard/operations/morph",
            "/dashboard/start?operation=morph",
            files=files,
            **{
                "value:size": "64x48",
                "value:seconds_per_pair": "0.2",
                "value:fps": "10",
                "value:order": "given",
            },
        )
        run = await ended(one, run_in(answer))
        assert run.status == "succeeded", run.error
        page = await reader.get(f"/dashboard/runs/{run.id}")
        film = re.search(r'<video[^>]*src="([^"]+)"', page)
        assert film
        got = await one.client.get(film[1], headers={"Range": "bytes=0-9"})
        assert (got.status_code, got.headers["content-type"]) == (206, "video/mp4")
        assert got.content[4:8] == b"ftyp"
        assert page.index("red.png") < page.index("blue.png")


async def test_a_form_that_does_not_fit_is_asked_again(site: Any, browser: Any) -> None:
    """All that was answered stays, files included, and each fault stands at its field."""
    async with site() as one:
        reader = browser(one.client)
        answer = await reader.send(
            "/dashboard/operations/morph",
            "/dashboard/start?operation=morph",
            status=422,
            files=[("files:images", ("red.png", photo("red"), "image/png"))],
            **{"value:fps": "0", "value:hold": "long", "value:size": "64x48"},
        )
        assert "this is not a number: long" in answer.text
        kept = re.search(r'name="kept:images" value="(art_\w+)" checked', answer.text)
        assert kept
        answer = await reader.send(
            "/dashboard/operations/morph",
            "/dashboard/start?operation=morph",
            status=422,
            **{"value:fps": "0", "value:size": "63x48", "kept:images": kept[1]},
        )
        assert "greater than or equal to 1" in answer.text
        assert 'value="63x48"' in answer.text
        answer = await reader.send(
            "/dashboard/operations/morph",
            "/dashboard/start?operation=morph",
            status=422,
            **{"value:size": "63x48", "kept:images": kept[1]},
        )
        assert "Nothing was started yet" in answer.text
        assert "63" in answer.text
        assert not await one.app.engine.unfinished(one.app.tenant)


async def test_a_form_that_is_sent_twice_starts_one_run(site: Any, browser: Any) -> None:
    """A double click, or the button for back, is no second order."""
    async with site() as one:
        page = (await one.client.get("/dashboard/operations/echo")).text
        hidden = dict(re.findall(r'name="(csrf|once)" value="([^"]*)"', page))
        sent = [
            await one.client.post(
                "/dashboard/start?operation=echo", data=hidden, files={"files:x": ("", b"")}
            )
            for _ in range(2)
        ]
        assert run_in(sent[0]) == run_in(sent[1])
        assert len(await one.app.engine.unfinished(one.app.tenant)) == 1


async def test_a_run_is_replayed_with_an_edit(site: Any, browser: Any) -> None:
    """The form holds the old input; the new run says where it came from, and is its own."""
    async with site(working=True) as one:
        reader = browser(one.client)
        old = await one.submit("echo", input={"text": "old", "times": 1}, user="ann")
        path = f"/dashboard/runs/{old['id']}/replay"
        assert 'value="old"' in await reader.get(path)
        answer = await reader.send(
            path,
            f"/dashboard/start?operation=echo&of={old['id']}",
            **{"value:text": "new", "value:times": "1"},
        )
        run = await ended(one, run_in(answer))
        assert (run.output, run.user, run.forked_from) == ('{"text":"new0"}', "ann", old["id"])
        assert f"/dashboard/runs/{old['id']}" in await reader.get(f"/dashboard/runs/{run.id}")
        assert await reader.audit() == ["run.replay"]


async def test_a_run_is_canceled_and_retried(site: Any, browser: Any) -> None:
    """Each is asked first; both are in the audit, with the reason."""
    async with site() as one:
        reader = browser(one.client)
        run = await one.submit("ask")
        path = f"/dashboard/runs/{run['id']}"
        assert "Cancel this run?" in await reader.get(f"{path}/cancel")
        assert "<html" not in await reader.get(f"{path}/cancel", hx_request="true")
        await reader.send(f"{path}/cancel", f"{path}/cancel", reason="not needed")
        assert (await one.app.engine.get(run["id"])).status == "canceled"
        assert "Retry this run?" in await reader.get(f"{path}/retry")
        await reader.send(f"{path}/retry", f"{path}/retry")
        assert (await one.app.engine.get(run["id"])).status == "queued"
        assert await reader.audit() == ["run.retry", "run.cancel"]
        assert "not needed" in await reader.get("/dashboard/audit")
        answer = await reader.send(f"{path}/cancel", f"{path}/retry", status=409)
        assert "Not any more" in answer.text
        await reader.get(f"{path}/explode", status=404)


async def test_an_end_is_told_again(site: Any, browser: Any) -> None:
    """A run without an address has nobody to tell; one with an address is queued for it."""
    async with site(private_addresses=True) as one:
        reader = browser(one.client)
        run = await one.submit("ask")
        path = f"/dashboard/runs/{run['id']}"
        await reader.send(f"{path}/redeliver", f"{path}/redeliver", status=409)
        told = await one.submit("ask", webhook="http://127.0.0.1:9/hook")
        path = f"/dashboard/runs/{told['id']}"
        await reader.send(f"{path}/cancel", f"{path}/cancel")
        assert "Tell again" in await reader.get(path)
        await reader.send(f"{path}/redeliver", f"{path}/redeliver")
        assert "deliver-webhook" in await reader.get("/dashboard/webhooks")


@pytest.mark.parametrize(
    ("csrf", "headers"),
    [
        ("", {}),
        ("0" * 64, {}),
        (None, {"origin": "https://evil.example"}),
        (None, {"sec-fetch-site": "cross-site"}),
    ],
)
async def test_forged_forms_do_nothing(
    csrf: str | None, headers: dict[str, str], site: Any, browser: Any
) -> None:
    """Without the page's own token, or from another site, every action is refused."""
    async with site() as one:
        run = await one.submit("ask")
        page = (await one.client.get("/dashboard/keys")).text
        own = re.search(r'name="csrf" value="(\w+)"', page)
        assert own
        token = own[1] if csrf is None else csrf
        for path in (
            f"/dashboard/runs/{run['id']}/cancel",
            "/dashboard/keys",
            "/dashboard/start?operation=echo",
            "/dashboard/sign-out",
        ):
            answer = await one.client.post(
                path,
                data={"csrf": token, "name": "x", "scope": "admin"},
                files={"files:images": ("a.png", photo("red"))} if "start" in path else None,
                headers=headers,
            )
            assert answer.status_code in {303, 403}, path
            assert answer.headers.get("location", "/dashboard/sign-in") == "/dashboard/sign-in"
        assert len(await one.app.engine.unfinished(one.app.tenant)) == 1
        assert await one.app.keys.list(one.app.tenant) == ()
        assert await one.app.audit.list(one.app.tenant) == ()
        assert stored_in(one) == []


async def test_too_much_is_stopped_while_it_comes(site: Any, browser: Any) -> None:
    """A form over the limit is not read to its end, whatever its length claims to be."""
    async with site(upload_mb=0.1) as one:
        page = (await one.client.get("/dashboard/operations/morph")).text
        csrf = re.search(r'name="csrf" value="(\w+)"', page)
        assert csrf
        read = 0

        async def body() -> AsyncIterator[bytes]:
            nonlocal read
            yield (
                f'--x\r\nContent-Disposition: form-data; name="csrf"\r\n\r\n{csrf[1]}\r\n--x\r\n'
                'Content-Disposition: form-data; name="files:images"; filename="a.png"\r\n\r\n'
            ).encode()
            for _ in range(1000):
                read += 10_000
                yield b"x" * 10_000

        path = "/dashboard/start?operation=morph"
        typed = {"content-type": "multipart/form-data; boundary=x"}
        answer = await one.client.post(path, content=body(), headers=typed)
        assert answer.status_code == 413
        assert "a.png has more than 0.1 MB" in answer.text
        assert read < 300_000
        answer = await one.client.post(
            path, content=b"x", headers={**typed, "content-length": "999999999999"}
        )
        assert answer.status_code == 413
        assert stored_in(one) == []


async def test_a_form_that_is_none_is_refused(site: Any) -> None:
    """A body that breaks off, comes in another order, or is something else is no form of ours."""
    async with site() as one:
        page = (await one.client.get("/dashboard/operations/morph")).text
        csrf = re.search(r'name="csrf" value="(\w+)"', page)
        assert csrf
        path = "/dashboard/start?operation=morph"
        typed = {"content-type": "multipart/form-data; boundary=x"}

        def part(name: str, text: str) -> str:
            return f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'

        token, file = part("csrf", csrf[1]), part('files:images"; filename="a.png', "x")
        bodies = {
            "x": 422,
            token + file: 422,
            file + token + "--x--": 422,
            part("user", "ann") + "--x--": 403,
            token + part("user", "x" * 1_100_000) + "--x--": 413,
            token + part("user", "") * 2600 + "--x--": 413,
            token + part("value:text", "x" * 1_000_000) * 5 + "--x--": 413,
        }
        for body, status in bodies.items():
            answer = await one.client.post(path, content=body.encode(), headers=typed)
            assert answer.status_code == status, (body[:300], answer.text)
        typed = {"content-type": "application/json"}
        assert (await one.client.post(path, content=b"{}", headers=typed)).status_code == 422
        assert (await one.client.post("/dashboard/start", content=b"")).status_code == 404
        assert stored_in(one) == []


async def test_names_of_files_are_names_only(site: Any, browser: Any) -> None:
    """A file called ../../x is stored under an id of ours, and shown as x."""
    async with site() as one:
        answer = await browser(one.client).send(
            "/dashboard/operations/morph",
            "/dashboard/start?operation=morph",
            status=422,
            files=[("files:images", ("../../etc/<b>passwd", b"root", "image/png"))],
            **{"value:fps": "x"},
        )
        assert "&lt;b&gt;passwd" in answer.text
        assert "etc/" not in answer.text


async def test_keys_are_made_rotated_and_revoked(site: Any, browser: Any) -> None:
    """The token is on one answer and on no other page; a revoked key is refused."""
    async with site() as one:
        reader = browser(one.client)
        answer = await reader.send(
            "/dashboard/keys", "/dashboard/keys", 200, name="ci", scope="admin", days="30"
        )
        token = re.search(r'<code id="token">(us_\w+)<', answer.text)
        assert token
        assert "From now on this server asks for a key" in answer.text
        await reader.get("/dashboard/keys", status=303)
        await one.client.post("/dashboard/sign-in", data={"key": token[1]})
        page = await reader.get("/dashboard/keys")
        assert token[1] not in page
        key = re.search(r"/dashboard/keys/(key_\w+)/rotate", page)
        assert key
        path = f"/dashboard/keys/{key[1]}"
        await reader.get(f"{path}/rotate")
        answer = await reader.send(f"{path}/rotate", f"{path}/rotate", 200)
        newer = re.search(r'<code id="token">(us_\w+)<', answer.text)
        assert newer
        await one.client.post("/dashboard/sign-in", data={"key": newer[1]})
        await reader.send(f"{path}/revoke", f"{path}/revoke", reason="lost")
        await reader.get(f"{path}/explode", status=404)
        actions = [action for action in await reader.audit() if action.startswith("key.")]
        assert actions == ["key.revoke", "key.rotate", "key.create"]
        answer = await one.client.post("/dashboard/sign-in", data={"key": token[1]})
        assert answer.status_code == 401


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "", "scope": "admin", "days": "7"},
        {"name": "x", "scope": "root", "days": "7"},
        {"name": "x", "scope": "read", "days": "-1"},
    ],
)
async def test_a_key_that_cannot_be_is_not_made(
    wrong: dict[str, str], site: Any, browser: Any
) -> None:
    """A name, a known scope and a known time are needed."""
    async with site() as one:
        await browser(one.client).send("/dashboard/keys", "/dashboard/keys", 422, **wrong)
        assert await one.app.keys.list(one.app.tenant) == ()


async def test_webhooks_are_switched_and_their_secrets_shown(site: Any, browser: Any) -> None:
    """Each is asked first and audited, looking at a secret included."""
    async with site(private_addresses=True) as one:
        reader = browser(one.client)
        hook = await one.app.webhooks.register(one.app.tenant, "http://127.0.0.1:9/hook")
        assert "http://127.0.0.1:9/hook" in await reader.get("/dashboard/webhooks")
        path = f"/dashboard/webhooks/{hook.id}"
        secret = re.search(r"whsec_\S+?(?=<)", await reader.get(f"{path}/secret"))
        assert secret
        await reader.send(f"{path}/rotate", f"{path}/rotate")
        page = await reader.get(f"{path}/secret")
        assert len(re.findall(r"whsec_", page)) == 2
        await reader.send(f"{path}/disable", f"{path}/disable", reason="moved")
        assert "moved" in await reader.get("/dashboard/webhooks")
        await reader.send(f"{path}/enable", f"{path}/enable")
        assert (await one.app.webhooks.get(one.app.tenant, hook.id)).enabled
        await reader.get(f"{path}/explode", status=404)
        actions = await reader.audit()
        assert actions[:3] == ["webhook.enable", "webhook.disable", "webhook.secret"]


async def test_the_audit_has_pages(site: Any, browser: Any) -> None:
    """Fifty entries a page, the newest first."""
    async with site() as one:
        for number in range(60):
            await one.app.audit.write(one.app.tenant, "me", "test.act", f"subject-{number}")
        reader = browser(one.client)
        page = await reader.get("/dashboard/audit")
        assert "subject-59" in page
        assert "subject-9<" not in page
        older = re.search(r"/dashboard/audit\?before=\d+", page)
        assert older
        assert "subject-9<" in await reader.get(older[0])
