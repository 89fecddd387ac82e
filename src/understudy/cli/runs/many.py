"""One change to many runs: which ones, a look before it is done, and how it went."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy.cli import terminal
from understudy.cli.live import counting
from understudy.cli.session import perform
from understudy.cli.times import moment_of
from understudy.errors import Error, InputError

if TYPE_CHECKING:
    from understudy.app import App
    from understudy.engine.run import Run, RunFilter

_PAGE = 500
_FIRST = 5
_BATCH = 100
_LINES = 20
_STOPPING = "Stopping; what has been done stays so."


@dataclasses.dataclass(frozen=True)
class Selection:
    """Which runs are meant, other than by an id."""

    operation: Annotated[
        str | None, typer.Option(help="Many: runs of this operation.", show_default=False)
    ] = None
    status: Annotated[str | None, typer.Option(help="Many: runs in this state.")] = None
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Many: created since then, or since 2h ago.")
    ] = None
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Many: created before then, or 2h ago.")
    ] = None
    all_matching: Annotated[
        bool, typer.Option("--all-matching", help="Many: all that fit; without a filter, all.")
    ] = False
    yes: Annotated[
        bool, typer.Option("--yes", help="Many: do it; without this they are only shown.")
    ] = False

    @property
    def many(self) -> bool:
        """Whether it says which runs."""
        return dataclasses.replace(self, yes=False) != Selection()

    def check(self, run_id: str | None) -> None:
        """Raise `BadParameter` unless either a run is named, or which ones are meant."""
        if run_id is not None and self.many:
            raise typer.BadParameter("name one run, or say which ones by options; not both")
        if run_id is None and not self.many:
            raise typer.BadParameter(
                "name a run, or say which ones: --operation, --status, --since, --until, or "
                "--all-matching for all of them"
            )


NO_SELECTION = Selection()


@dataclasses.dataclass(frozen=True)
class Change:
    """What is done to each run: `verb`, as in "retry", and the word for when it is done.

    `states` are the states that allow it, `usual` the one that is meant if none is given (None:
    any of them).
    """

    verb: str
    done: str
    states: tuple[str, ...]
    usual: str | None
    act: Callable[[App, str], Awaitable[Run]]


@dataclasses.dataclass(frozen=True)
class Found:
    """The runs meant, oldest first, and how many of which operation in which state."""

    ids: tuple[str, ...]
    groups: dict[tuple[str, str], int]

    def facts(self) -> dict[str, Any]:
        """The same as JSON."""
        groups = [
            {"operation": operation, "status": status, "count": count}
            for (operation, status), count in self.groups.items()
        ]
        return {"matched": len(self.ids), "groups": groups, "first": list(self.ids[:_FIRST])}


def change_many(ctx: typer.Context, selection: Selection, change: Change, *, as_json: bool) -> None:
    """Show the runs that are meant and, once that is said to be right, change them all.

    Ends with 1 if nobody said so, or if some could not be changed.
    """
    found: list[Found] = []

    async def look(app: App) -> None:
        found.append(await find_all(app, selection, change))

    async def work(app: App) -> None:
        await _change_all(app, found[0], change, as_json=as_json)

    perform(ctx, look, as_json=as_json)
    if not selection.yes and found[0].ids:
        # Not on the event loop: a person may think for long, and may type Ctrl-C.
        _ask(found[0], change, as_json=as_json)
    perform(ctx, work, as_json=as_json, stopping=_STOPPING)


async def find_all(app: App, selection: Selection, change: Change) -> Found:
    """The runs that fit, without those whose parent fits as well. Raises `InputError`."""
    runs = [
        (run.id, run.parent_id, (run.operation, run.status))
        async for run in app.engine.select(_filter(app, selection, change))
        if run.status in change.states
    ]
    known = {run_id for run_id, _, _ in runs}
    # What is done to a run is done to its children.
    meant = [run for run in reversed(runs) if run[1] not in known]
    groups = Counter(kind for _, _, kind in meant)
    return Found(tuple(run_id for run_id, _, _ in meant), dict(sorted(groups.items())))


def _filter(app: App, selection: Selection, change: Change) -> RunFilter:
    from understudy.engine.run import RunFilter  # noqa: PLC0415 - `--help` answers at once

    status = selection.status or change.usual
    if status is not None and status not in change.states:
        raise InputError(
            f"--status {status}: {change.verb} is for runs that are {' or '.join(change.states)}"
        )
    now = app.clock.now()
    since, until = (
        None if text is None else moment_of(text, option, now=now)
        for text, option in ((selection.since, "--since"), (selection.until, "--until"))
    )
    return RunFilter(
        app.tenant,
        operation=selection.operation,
        status=status,
        since=since,
        until=until,
        unfinished=change.usual is None,
        limit=_PAGE,
    )


def _ask(found: Found, change: Change, *, as_json: bool) -> None:
    refusal = f"add --yes to {change.verb} these {_runs(len(found.ids))}"
    if as_json:
        error = {"code": InputError.code, "category": InputError.category, "message": refusal}
        terminal.say_json({**found.facts(), "error": error})
        raise typer.Exit(1)
    rows = [(*kind, count) for kind, count in found.groups.items()]
    terminal.say_table(("OPERATION", "STATUS", "RUNS"), rows)
    more = ", …" if len(found.ids) > _FIRST else ""
    terminal.say(f"the oldest: {', '.join(found.ids[:_FIRST])}{more}")
    if not sys.stdin.isatty():
        terminal.tell(f"error: {refusal}")
        raise typer.Exit(1)
    if not typer.confirm(f"{change.verb} {_runs(len(found.ids))}?", err=True):
        raise typer.Exit(1)


async def _change_all(app: App, found: Found, change: Change, *, as_json: bool) -> None:
    failures: list[dict[str, str]] = []
    pending = 0

    async def one(run_id: str) -> bool:
        try:
            run = await change.act(app, run_id)
        except Error as error:
            failures.append({"id": run_id, "code": error.code, "message": error.message})
            return False
        return run.cancel_requested_at is not None and not run.done

    batch = max(_BATCH, math.ceil(len(found.ids) / _LINES))
    with counting(change.done, len(found.ids)) as count:
        for start in range(0, len(found.ids), batch):
            ids = found.ids[start : start + batch]
            pending += sum(await asyncio.gather(*map(one, ids)))
            count(start + len(ids))
    changed = len(found.ids) - len(failures)
    if as_json:
        facts = {"changed": changed, "pending": pending, "failures": failures}
        terminal.say_json({**found.facts(), **facts})
    else:
        for failure in failures:
            terminal.tell(f"{failure['id']}: {failure['message']}")
        if not found.ids:
            terminal.say(f"no run to {change.verb} fits")
            return
        later = f" ({pending} of them once their running steps have stopped)" if pending else ""
        terminal.say(f"{_runs(changed)} {change.done}{later}")
    if failures:
        raise typer.Exit(1)


def _runs(count: int) -> str:
    return f"{count} {'run' if count == 1 else 'runs'}"
