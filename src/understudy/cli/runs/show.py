"""`understudy runs show`: everything about one run."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import typer

from understudy.cli import remote, terminal
from understudy.cli.differing import difference, ways_on
from understudy.cli.naming import find_run
from understudy.cli.options import AsJson, LatestRunId
from understudy.cli.results import described, view
from understudy.cli.session import perform

if TYPE_CHECKING:
    from understudy.app import App
    from understudy.cli.session import Session
    from understudy.client import AsyncClient

# A film of 500 photos would fill the screen many times over.
_STEPS = 40
_LETTERS = 500


def show(ctx: typer.Context, run_id: LatestRunId = None, as_json: AsJson = False) -> None:
    """Show a run: its input, its steps, what it waits for, and how it ended."""

    async def work(app: App) -> None:
        seen = await view(app, await find_run(app, run_id))
        await say(seen, partial(described, app))

    async def there(client: AsyncClient) -> None:
        run = await remote.find_run(client, run_id)
        await say(run.model_dump(mode="json"), partial(remote.described, client))

    async def say(seen: dict[str, Any], told: Callable[[Any], Awaitable[str]]) -> None:
        if as_json:
            terminal.say_json(seen)
            return
        for line in summary(seen):
            terminal.say(line)
        if (seen["waiting_for"] or {}).get("kind") == "operator":
            _say_difference(ctx.obj, seen)
        await _say_output(seen["output"], told)
        if seen["steps"]:
            terminal.say("")
            _say_steps(seen["steps"])

    perform(ctx, work, as_json=as_json, remote=there)


def summary(seen: dict[str, Any]) -> Iterator[str]:
    """A run's view in lines: what was asked, how it stands, and why."""
    took = terminal.between(seen["started_at"], seen["ended_at"])
    yield f"{seen['id']}  {seen['operation']}  {seen['status']}{f' in {took}' if took else ''}"
    yield f"created  {seen['created_at']}"
    if seen["attempt"] > 1:
        yield f"attempt  {seen['attempt']}"
    if seen["forked_from"]:
        yield f"forked   from {seen['forked_from']}"
    if seen["user"]:
        yield f"user     {seen['user']}"
    yield f"input    {_shortened(json.dumps(seen['input'], ensure_ascii=False))}"
    if seen["waiting_for"]:
        yield f"waits    for {seen['waiting_for']['text']}"
    if seen["progress"] and not seen["done"]:
        yield f"progress {terminal.progress(seen['progress'])}"
    if seen["error"]:
        step = f" (step {seen['error']['step']})" if seen["error"]["step"] else ""
        yield f"error    {seen['error']['category']}: {seen['error']['message']}{step}"


def _say_difference(session: Session, seen: dict[str, Any]) -> None:
    terminal.say("")
    for line in difference(seen["steps"], seen["waiting_for"]):
        terminal.say(line)
    if session.elsewhere:  # the ways on begin with the code, which is there
        return
    terminal.say("")
    for line in ways_on(session, seen):
        terminal.say(line)


def _shortened(text: str) -> str:
    return text if len(text) <= _LETTERS else f"{text[:_LETTERS]} … (--json shows it whole)"


async def _say_output(output: Any, told: Callable[[Any], Awaitable[str]]) -> None:
    if isinstance(output, dict):
        for name, value in output.items():
            terminal.say(f"output   {name}: {await told(value)}")
    elif output is not None:
        terminal.say(f"output   {json.dumps(output, ensure_ascii=False)}")


def _say_steps(steps: list[dict[str, Any]]) -> None:
    rows = [
        (
            step["key"],
            step["kind"],
            step["state"],
            step["attempt"],
            terminal.between(step["started_at"], step["ended_at"]),
            (step["error"] or {}).get("message", ""),
        )
        for step in steps
    ]
    terminal.say_table(("STEP", "KIND", "STATE", "ATTEMPT", "TOOK", ""), rows[:_STEPS])
    if len(rows) > _STEPS:
        terminal.say(f"… and {len(rows) - _STEPS} more; --json shows them all")
