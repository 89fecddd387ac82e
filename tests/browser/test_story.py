"""The dashboard's story in a real browser: photos become a film, a run is canceled and replayed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect
from tests.browser.conftest import DESKTOP, PHONE

PHOTOS = sorted((Path(__file__).parents[2] / "examples" / "photos").glob("*.jpg"))
PAGES = (
    "/dashboard",
    "/dashboard/runs",
    "/dashboard/operations",
    "/dashboard/operations/morph",
    "/dashboard/queue",
    "/dashboard/keys",
    "/dashboard/webhooks",
    "/dashboard/audit",
    "/dashboard/system",
)
WATCH = """
window.seen = [];
new MutationObserver(() => {
  const bar = document.querySelector("#live .bar");
  const now = bar && bar.getAttribute("aria-valuenow");
  if (now && now !== seen[seen.length - 1]) seen.push(now);
}).observe(document, {subtree: true, childList: true});
"""


async def start(page: Page, photos: list[Path], **values: str) -> str:
    """Fill in the form of `morph` and send it: the id of the run."""
    await page.goto("/dashboard/operations/morph")
    await page.get_by_label("Images").set_input_files(photos)
    await expect(page.locator(".thumb")).to_have_count(len(photos))
    for label, value in values.items():
        await page.get_by_label(label.replace("_", " "), exact=True).fill(value)
    await page.get_by_role("button", name="Start the run").click()
    await page.wait_for_url("**/dashboard/runs/run_*")
    return page.url.rpartition("/")[2]


async def status_of(page: Page, status: str) -> None:
    """Wait until the page itself shows this status, without being loaded again."""
    await expect(page.locator("#live .pill").first).to_have_text(status)


async def overflow(page: Page) -> int:
    """Pixels by which the page is wider than its window."""
    wide: int = await page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    return wide


async def test_the_story(theatre: Any, tmp_path: Path) -> None:
    """Upload, watch the bar move, play the film, cancel a second run, replay it edited.

    At the end nothing was complained of: no script failed, and the policy stopped nothing.
    """
    small = {"Size": "320x180", "Fps": "10", "Seconds_per_pair": "0.4"}
    async with theatre() as one, one.page(DESKTOP) as page:
        await page.add_init_script(WATCH)
        await page.goto(one.started.link)
        await page.get_by_role("button", name="Sign in").click()
        await page.wait_for_url("**/dashboard")
        first = await start(page, PHOTOS, Size="640x360", Seconds_per_pair="1.5")
        await status_of(page, "succeeded")
        moved = [float(share) for share in await page.evaluate("seen")]
        assert len(moved) >= 3, moved
        assert moved[-1] == 100
        played = await page.evaluate(
            """async () => {
              const film = document.querySelector("video");
              film.muted = true;
              await film.play();
              await new Promise((done) => film.addEventListener("timeupdate", done));
              return [film.currentTime > 0, film.videoWidth, film.error];
            }"""
        )
        assert played == [True, 640, None]

        second = await start(page, PHOTOS, Seconds_per_pair="30")
        await status_of(page, "running")
        await page.get_by_role("link", name="Cancel").click()
        await page.get_by_label("Why").fill("too long")
        await page.get_by_role("button", name="Cancel the run").click()
        await status_of(page, "canceled")

        await page.get_by_role("link", name="Edit and replay").click()
        await expect(page.get_by_label("Seconds per pair")).to_have_value("30.0")
        await page.get_by_label("keep 06-rocket.jpg").uncheck()
        for label, value in small.items():
            await page.get_by_label(label.replace("_", " "), exact=True).fill(value)
        await page.get_by_role("button", name="Replay").click()
        await page.wait_for_url("**/dashboard/runs/run_*")
        await status_of(page, "succeeded")
        await expect(page.get_by_role("link", name=second)).to_be_visible()
        third = await one.app.engine.get(page.url.rpartition("/")[2])
        assert len(one.app.engine.parse_output(third).styles) == 4
        assert first != third.id

        entries = await one.app.audit.list(one.app.tenant)
        done = [(entry.action, entry.reason) for entry in reversed(entries)]
        assert done == [
            ("sign-in", None),
            ("run.start", None),
            ("run.start", None),
            ("run.cancel", "too long"),
            ("run.replay", f"edited and replayed from {second}"),
        ]
    assert one.complaints == []


@pytest.mark.parametrize("look", [DESKTOP, PHONE], ids=["desktop", "phone"])
async def test_every_page_fits_its_window(look: dict[str, Any], theatre: Any) -> None:
    """Nothing has to be pushed sideways, and everything that takes text has a name."""
    async with theatre() as one, one.page(look) as page:
        run = await one.app.engine.submit(
            "morph", {"images": ["art_00000000000000000000000001"]}, tenant=one.app.tenant
        )
        await one.app.engine.result(run.id)
        for path in (*PAGES, f"/dashboard/runs/{run.id}", f"/dashboard/runs/{run.id}/replay"):
            await page.goto(path)
            await page.wait_for_load_state("networkidle") if path == "/dashboard" else None
            assert await overflow(page) <= 0, path
            unnamed = await page.evaluate(
                """[...document.querySelectorAll("input:not([type=hidden]), select, textarea")]
                   .filter((field) => !field.labels.length && !field.ariaLabel)
                   .map((field) => field.outerHTML)"""
            )
            assert not unnamed, path
    assert one.complaints == []


async def test_it_can_be_used_without_scripts(theatre: Any) -> None:
    """Reading, starting, and canceling behind a question all work with scripts switched off."""
    async with theatre() as one, one.page(PHONE, java_script_enabled=False) as page:
        await page.goto("/dashboard/operations/morph")
        await page.locator("input[type=file]").set_input_files(PHOTOS[:2])
        await page.locator("input[name='value:seconds_per_pair']").fill("30")
        await page.locator("button[type=submit]").click()
        await page.wait_for_url("**/dashboard/runs/run_*")
        await page.locator("a", has_text="Cancel").click()
        await page.locator("button", has_text="Cancel the run").click()
        await page.wait_for_url("**/dashboard/runs/run_*")
        run = await one.app.engine.result(page.url.rpartition("/")[2])
        assert run.status == "canceled"


async def test_a_page_says_when_its_data_are_old(theatre: Any) -> None:
    """When the server no longer answers, the page says how old what it shows is."""
    async with theatre() as one, one.page(DESKTOP) as page:
        await page.goto("/dashboard/queue")
        age = page.locator("[data-age]")
        await expect(age).to_contain_text("live")
        await page.context.set_offline(True)
        await expect(age).to_contain_text("no answer; data is")
        await page.context.set_offline(False)
        await expect(age).to_contain_text("live")


async def test_what_strangers_wrote_runs_nowhere(theatre: Any) -> None:
    """Markup in prompts, users and file names is text to a real browser, too."""
    evil = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    async with theatre() as one, one.page(DESKTOP) as page:
        stored = await one.app.artifacts.put(b"x", name=f"{evil}.jpg".replace("/", "|"))
        run = await one.app.engine.submit(
            "morph", {"images": [stored.id, stored.id]}, tenant=one.app.tenant, user=evil
        )
        await one.app.engine.result(run.id)
        for path in ("/dashboard", "/dashboard/runs", f"/dashboard/runs/{run.id}"):
            await page.goto(path)
            await expect(page.locator("main")).to_contain_text("onerror")
            assert "owned" not in await page.title()
    assert one.complaints == []
