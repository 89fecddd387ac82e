"""How a run ended: its result on stdout and in files, or why there is none."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from understudy.cli import terminal
from understudy.cli.live import Shown
from understudy.cli.saving import save_file, save_text
from understudy.cli.session import Session
from understudy.errors import InputError, NotFound

if TYPE_CHECKING:
    from understudy.app import App
    from understudy.artifacts.artifact import Artifact
    from understudy.engine.crowd import Crowd
    from understudy.engine.run import Run
    from understudy.wire import ArtifactView

_ARTIFACT = re.compile(r"art_[0-9a-z]{26}")


async def view(app: App, run: Run, crowd: Crowd | None = None) -> dict[str, Any]:
    """The run as JSON: what `--json` prints and what `runs show` is made of.

    Who shows many gives the `crowd`, which is then read once.
    """
    return (await app.engine.view(run.id, crowd)).model_dump(mode="json")


async def deliver(
    app: App, session: Session, run: Run, *, target: Path | None, as_json: bool
) -> None:
    """Print how the run ended, and save what it made to `target`.

    Ends the command with exit code 1 unless the run succeeded.
    """
    saved = await _save(app, run, target) if target and run.status == "succeeded" else []
    if as_json:
        terminal.say_json(await view(app, run))
    elif run.status == "succeeded":
        await _say_output(app, run, saved)
    else:
        tell_failure(session, run)
    if run.status != "succeeded":
        raise typer.Exit(1)


def artifact_ids(value: Any) -> Iterator[str]:
    """Every artifact that a JSON value names, in order."""
    if isinstance(value, str):
        if _ARTIFACT.fullmatch(value):
            yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from artifact_ids(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from artifact_ids(inner)


async def _save(app: App, run: Run, target: Path) -> list[Path]:
    output = json.loads(run.output or "null")
    names = dict.fromkeys(artifact_ids(output))
    made = [await app.artifacts.get(name) for name in names]
    files = [(await app.artifacts.path(artifact.id), artifact.name) for artifact in made]
    return await asyncio.to_thread(_copy, files, run, target)


def _copy(files: list[tuple[Path, str]], run: Run, target: Path) -> list[Path]:
    folder = target.is_dir()
    if not files:
        text = json.dumps(json.loads(run.output or "null"), indent=2, ensure_ascii=False)
        return [save_text(f"{text}\n", target / f"{run.id}.json" if folder else target)]
    if len(files) > 1 and not folder:
        raise InputError(
            f"-o {target}: the run made {len(files)} files; name a folder, which must exist. "
            f"They are kept: `understudy runs show {run.id}` says where"
        )
    return [save_file(source, name, target) for source, name in files]


async def _say_output(app: App, run: Run, saved: list[Path]) -> None:
    if saved:
        for path in saved:
            terminal.say(path)
        return
    output = json.loads(run.output or "null")
    if not isinstance(output, dict):
        terminal.say(json.dumps(output, ensure_ascii=False))
        return
    for name, value in output.items():
        terminal.say(f"{name}: {await described(app, value)}")


async def described(app: App, value: Any) -> str:
    """A value of an output in words: a file by its place and facts, anything else as JSON."""
    found = list(artifact_ids(value))
    if len(found) != 1:
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    try:
        artifact = await app.artifacts.get(found[0])
        return f"{await app.artifacts.path(artifact.id)} ({facts(artifact)})"
    except NotFound:
        return f"{found[0]} (no longer kept)"


def facts(artifact: Artifact | ArtifactView) -> str:
    """What kind of file it is: `film.mp4, video/mp4, 1280x720, 12.0 s, 3.1 MB`."""
    known = [artifact.name, artifact.media_type]
    known += [f"{artifact.width}x{artifact.height}"] if artifact.width and artifact.height else []
    known += [terminal.duration(artifact.duration)] if artifact.duration else []
    return ", ".join([*known, terminal.size(artifact.size)])


def tell_failure(session: Session, run: Shown) -> None:
    """Say why there is no result, and how to go on."""
    again = session.command("runs", "retry", run.id)
    if not run.done:
        waits = (run.waiting_for or {}).get("text", run.status)
        terminal.tell(f"{run.id} waits for the operator: {waits}")
        return
    if run.status == "canceled":
        terminal.tell(f"{run.id} was canceled; to go on after all: {again}")
        return
    error = run.error or {}
    step = f" in step {error['step']}" if error.get("step") else ""
    terminal.tell(f"error: {run.id} failed{step}: {error.get('message')}")
    # A retry has the same input, so it cannot mend a fault in it.
    if error.get("category") != "input":
        terminal.tell(f"What was done is kept; to go on from there: {again}")
