"""`understudy runs logs`: what a run said while it worked."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import typer

from understudy.cli import terminal
from understudy.cli.naming import find_run
from understudy.cli.options import AsJson, LatestRunId
from understudy.cli.session import perform

if TYPE_CHECKING:
    from understudy.app import App
    from understudy.engine.run import Run

Line = dict[str, Any]

_SAME_IN_ALL = ("run", "tenant", "plan", "operation", "attempt")


def logs(ctx: typer.Context, run_id: LatestRunId = None, as_json: AsJson = False) -> None:
    """Show what a run said: its log lines of this machine, and what the journal knows besides.

    Keys and tokens are masked, and so is what the customer wrote, unless UNDERSTUDY_LOG_PROMPTS
    says to keep that.
    """

    async def work(app: App) -> None:
        from understudy.telemetry.about import OF_RUNS  # noqa: PLC0415 - `--help` answers at once
        from understudy.telemetry.logs import as_text  # noqa: PLC0415 - the same

        run = await find_run(app, run_id)
        lines = await lines_of(app, run)
        if as_json:
            terminal.say_json({"run": run.id, "lines": lines})
            return
        for line in lines:
            shown = {name: value for name, value in line.items() if name not in _SAME_IN_ALL}
            if shown.get("logger") == OF_RUNS:
                del shown["logger"]
            for row in as_text(shown).splitlines():
                terminal.say(row)

    perform(ctx, work, as_json=as_json)


async def lines_of(app: App, run: Run) -> list[Line]:
    """The kept lines of a run and those that only the journal can tell, oldest first."""
    from understudy.engine.retelling import retold  # noqa: PLC0415 - `--help` answers at once
    from understudy.telemetry.kept import Kept  # noqa: PLC0415 - the same
    from understudy.telemetry.redaction import Redaction  # noqa: PLC0415 - the same

    kept = Kept(app.settings.logs_folder, app.clock)
    said = await asyncio.to_thread(lambda: list(kept.of_run(run.id, run.created_at, run.ended_at)))
    known = {_identity(line) for line in said}
    redaction = Redaction(prompts=app.settings.log_prompts)
    private = private_of(run)
    told = [
        redaction.event(line, private)
        for line in retold(run, await app.engine.steps(run.id))
        if _identity(line) not in known
    ]
    return sorted([*told, *said], key=lambda line: str(line.get("timestamp", "")))


def private_of(run: Run) -> tuple[str, ...]:
    """What of a run's asking is masked wherever it turns up."""
    from understudy.telemetry.about import About  # noqa: PLC0415 - `--help` answers at once

    return About({}, run.input, run.user).private


def _identity(line: Line) -> tuple[object, ...]:
    """What makes a line of a log file and one of the journal the same."""
    of_step = line.get("event") == "step_failed"
    names = ("event", "step", "try") if of_step else ("event", "attempt")
    return tuple(line.get(name) for name in names)
