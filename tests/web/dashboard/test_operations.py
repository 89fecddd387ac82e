"""Which operations the dashboard offers, and to whom."""

from __future__ import annotations

from typing import Any


async def test_the_houses_own_operations_take_an_admin(site: Any, browser: Any) -> None:
    """Whoever may only submit erases nobody by a form: not by its name, nor as a replay."""
    async with site() as one:
        erasing = await one.submit("erase-user", input={"user": "ann"})
        plain = await one.submit("echo", input={"text": "hi"})
        token = await one.key("submit")
        await one.client.post("/dashboard/sign-in", data={"key": token})
        reader = browser(one.client)
        assert "erase-user" not in await reader.get("/dashboard/operations")
        await reader.get("/dashboard/operations/erase-user", status=403)
        await reader.get(f"/dashboard/runs/{erasing['id']}/replay", status=403)
        for query in (
            "operation=erase-user",
            f"operation=echo&of={erasing['id']}",
            f"operation=erase-user&of={erasing['id']}",
        ):
            await reader.send(
                "/dashboard/operations/echo",
                f"/dashboard/start?{query}",
                status=403,
                **{"value:user": "bob", "value:text": "x", "value:": '{"user": "bob"}'},
            )
        # What is replayed is what the run did, so this is one more echo.
        answer = await reader.send(
            "/dashboard/operations/echo",
            f"/dashboard/start?operation=erase-user&of={plain['id']}",
            **{"value:text": "again", "value:user": "bob"},
        )
        made = answer.headers["location"].rpartition("/")[2]
        assert (await one.app.engine.get(made)).operation == "echo"
        left = await one.app.engine.unfinished(one.app.tenant)
        assert [run.operation for run in left] == ["erase-user", "echo", "echo"]
