"""The commands as a server's client: what `--server URL` does instead of working here.

Each command says the same on stdout as on the machine itself; what is shown while a run moves goes
to stderr. A run goes on when its follower leaves.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from understudy.cli import terminal
from understudy.cli.inputs import assigned, placed
from understudy.cli.live import live
from understudy.cli.naming import FULL_LENGTH, SEARCHED, the_one
from understudy.cli.results import artifact_ids, facts, tell_failure
from understudy.cli.saving import save_text
from understudy.cli.session import Session
from understudy.errors import Error, InputError, NotFound

if TYPE_CHECKING:
    from understudy.client import AsyncClient
    from understudy.wire import RunView

_PLACEHOLDER = "art_" + 26 * "0"
_PAGE = 200


@dataclasses.dataclass(frozen=True, slots=True)
class Told:
    """What a server tells of a run, in the form that displays take."""

    run: RunView

    @property
    def id(self) -> str:
        """Its id."""
        return self.run.id

    @property
    def operation(self) -> str:
        """What was asked for."""
        return self.run.operation

    @property
    def status(self) -> str:
        """Its state."""
        return self.run.status

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self.run.done

    @property
    def progress(self) -> Mapping[str, Any] | None:
        """How far it is."""
        return None if self.run.progress is None else self.run.progress.model_dump()

    @property
    def waiting_for(self) -> Mapping[str, Any] | None:
        """What it waits for."""
        return None if self.run.waiting_for is None else self.run.waiting_for.model_dump()

    @property
    def error(self) -> Mapping[str, Any] | None:
        """Why it failed."""
        return None if self.run.error is None else self.run.error.model_dump()


async def submit(
    client: AsyncClient,
    operation: str,
    files: Sequence[Path],
    settings: Sequence[str],
    how: Mapping[str, Any],
) -> RunView:
    """Upload the files and ask for the run; the schema is the server's. Raises `Error`."""
    schema = (await client.operation(operation)).input
    data = assigned(schema, settings)
    placed(schema, data, [_PLACEHOLDER] * len(files))  # or many are uploaded for nothing
    for path in files:
        check_file(path)
    stored = [(await client.upload(path)).id for path in files]
    return await client.submit(operation, placed(schema, data, stored), **how)


def check_file(path: Path) -> None:
    """Raise `InputError` unless there is a file."""
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if not path.is_file():
        raise InputError(f"{path}: not a file")


async def bring_home(
    client: AsyncClient,
    session: Session,
    run: RunView,
    *,
    target: Path | None,
    as_json: bool,
    detached: str | None = None,
) -> None:
    """Follow a run to its end, live, and deliver it; when stopped, say how to go on.

    What is `detached` is left to the server: say that, or the run as JSON.
    """
    if detached is not None:
        if as_json:
            terminal.say_json(run.model_dump(mode="json"))
        else:
            terminal.say(detached)
        return
    try:
        run = await watched(client, run.id)
    except (asyncio.CancelledError, Error):
        terminal.tell(
            f"{run.id} goes on there; follow it with: {session.command('runs', 'watch', run.id)}"
        )
        raise
    await deliver(client, session, run, target=target, as_json=as_json)


async def watched(client: AsyncClient, run_id: str) -> RunView:
    """Look on until the run has ended, or waits for the operator; the run then."""
    with live() as display:
        async for event in client.events(run_id):
            display.show(Told(event.run))
            if ended(event.run):
                return event.run
    return await client.get(run_id)


def ended(run: RunView) -> bool:
    """Whether nothing more will come by itself."""
    return run.done or (run.waiting_for is not None and run.waiting_for.kind == "operator")


async def say_changes(client: AsyncClient, run_id: str) -> None:
    """One line of JSON for each change, until the run has ended."""
    async for event in client.events(run_id):
        terminal.say_json(event.run.model_dump(mode="json"), lines=True)
        if ended(event.run):
            break
    if event.run.status != "succeeded":
        raise typer.Exit(1)


async def deliver(
    client: AsyncClient,
    session: Session,
    run: RunView,
    *,
    target: Path | None = None,
    as_json: bool = False,
) -> None:
    """Print how the run ended, and save what it made to `target`; exit code 1 unless it succeeded.

    The files are whole, or not there.
    """
    saved = await _save(client, run, target) if target and run.status == "succeeded" else []
    if as_json:
        terminal.say_json(run.model_dump(mode="json"))
    elif run.status != "succeeded":
        tell_failure(session, Told(run))
    elif saved:
        for path in saved:
            terminal.say(path)
    elif isinstance(run.output, dict):
        for name, value in run.output.items():
            terminal.say(f"{name}: {await described(client, value)}")
    else:
        terminal.say(json.dumps(run.output, ensure_ascii=False))
    if run.status != "succeeded":
        raise typer.Exit(1)


async def _save(client: AsyncClient, run: RunView, target: Path) -> list[Path]:
    names = list(dict.fromkeys(artifact_ids(run.output)))
    folder = await asyncio.to_thread(target.is_dir)
    if not names:
        text = json.dumps(run.output, indent=2, ensure_ascii=False)
        goal = target / f"{run.id}.json" if folder else target
        return [await asyncio.to_thread(save_text, f"{text}\n", goal)]
    if len(names) > 1 and not folder:
        raise InputError(
            f"-o {target}: the run made {len(names)} files; name a folder, which must exist"
        )
    return [await client.download(name, target) for name in names]


async def described(client: AsyncClient, value: Any) -> str:
    """A value of an output in words: a file by its id and facts, anything else as JSON."""
    found = list(artifact_ids(value))
    if len(found) != 1:
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    try:
        return f"{found[0]} ({facts(await client.artifact(found[0]))})"
    except NotFound:
        return f"{found[0]} (no longer kept)"


async def find_run(client: AsyncClient, text: str | None) -> RunView:
    """The run of a full id, or the only one whose id begins or ends with `text`; None: the latest.

    Raises `NotFound`, and `InputError` when several runs fit.
    """
    if text is not None and len(text) == FULL_LENGTH:
        return await client.get(text)
    runs = await listed(client, 1 if text is None else SEARCHED)
    return await client.get(the_one([run.id for run in runs], text))


async def listed(
    client: AsyncClient, limit: int, operation: str | None = None, status: str | None = None
) -> Sequence[RunView]:
    """So many of the newest runs at most."""
    runs: list[RunView] = []
    page: str | None = None
    while len(runs) < limit:
        size = min(_PAGE, limit - len(runs))
        found = await client.list(size, page, operation=operation, status=status)
        runs += found.items
        page = found.next
        if page is None:
            break
    return runs


def more(run: RunView) -> str:
    """Why it failed, what it waits for, or how far it is."""
    if run.waiting_for is not None:
        return f"waiting for {run.waiting_for.text}"
    if run.error:
        return run.error.message
    return "" if run.done else terminal.progress(Told(run).progress)
