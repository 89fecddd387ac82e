"""Runs as they move: bars on a terminal, plain lines anywhere else, always on stderr."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from understudy.cli import terminal

_LINES = 20  # a run without a terminal says how far it is about this often


class Shown(Protocol):
    """What is shown of a run: a run of the engine is one, and so is what a server tells of it."""

    @property
    def id(self) -> str:
        """Its id."""
        ...

    @property
    def operation(self) -> str:
        """What was asked for."""
        ...

    @property
    def status(self) -> str:
        """Its state."""
        ...

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        ...

    @property
    def progress(self) -> Mapping[str, Any] | None:
        """`{"done", "total", "note"}`."""
        ...

    @property
    def waiting_for(self) -> Mapping[str, Any] | None:
        """`{"kind", "text", …}`."""
        ...

    @property
    def error(self) -> Mapping[str, Any] | None:
        """`{"category", "message", "step", …}`."""
        ...


class Live(Protocol):
    """Shows runs while they move."""

    def show(self, run: Shown) -> None:
        """This run has changed."""
        ...

    def note(self, text: str) -> None:
        """Something that the person should know, above whatever moves."""
        ...


@contextlib.contextmanager
def live() -> Iterator[Live]:
    """The display that fits where stderr goes."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield Lines()
        return
    with progress_on(console) as progress:
        yield Bars(progress)


def state(run: Shown) -> str:
    """A run's state in a few words: `waiting for the signal 'paid'`, `2/5 pairs`."""
    if run.status == "waiting" and run.waiting_for:
        return f"waiting for {run.waiting_for['text']}"
    if run.status == "running" and run.progress:
        return terminal.progress(run.progress)
    return run.status


class Lines:
    """One line for each change worth a line."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[object, ...]] = {}

    def show(self, run: Shown) -> None:
        """Print the run's state if it is another than before, or noticeably further."""
        progress = run.progress or {}
        total = progress.get("total") or 1
        share = int(_LINES * progress.get("done", 0) / total)
        key = (run.status, (run.waiting_for or {}).get("text"), share)
        if self._last.get(run.id) != key:
            self._last[run.id] = key
            self.note(f"{run.id} {run.operation}: {state(run)}")

    def note(self, text: str) -> None:
        """Print the text."""
        terminal.tell(text)


class Bars:
    """A bar for each run, with rate and remaining time."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def show(self, run: Shown) -> None:
        """Move the run's bar."""
        if run.id not in self._tasks:
            title = terminal.clean(run.operation)
            self._tasks[run.id] = self._progress.add_task(title, total=None, state="")
        progress = run.progress or {}
        total = progress.get("total")
        done = total if run.status == "succeeded" else progress.get("done", 0)
        self._progress.update(
            self._tasks[run.id], completed=done or 0, total=total, state=terminal.clean(state(run))
        )
        if run.done:
            self._progress.stop_task(self._tasks[run.id])

    def note(self, text: str) -> None:
        """Print the text above the bars."""
        self._progress.console.print(Text(terminal.clean(text)))


class RateColumn(ProgressColumn):
    """Units a second, or a minute if that is the larger number."""

    def render(self, task: Task) -> Text:
        """Empty until there is a speed to tell."""
        speed = task.finished_speed or task.speed
        if not speed or task.total is None:
            return Text("")
        return Text(f"{speed:.1f}/s" if speed >= 1 else f"{speed * 60:.1f}/min")


def progress_on(console: Console, get_time: Callable[[], float] | None = None) -> Progress:
    """The columns: what, how far, in words, how fast, how long still."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[state]}", markup=False),
        RateColumn(),
        TimeRemainingColumn(compact=True),
        console=console,
        get_time=get_time,
    )


@contextlib.contextmanager
def counting(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how many of `total` are done: a bar on a terminal, lines anywhere else."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield lambda done: terminal.tell(f"{what}: {done} of {total}")
        return
    with progress_on(console) as progress:
        task = progress.add_task(what, total=total, state="")
        yield lambda done: progress.update(task, completed=done, state=f"{done}/{total}")


@contextlib.contextmanager
def counting_to(what: str) -> Iterator[Callable[[int, int], None]]:
    """The same where the total is told with each count, and counts come often. From any thread."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield _Sparing(what)
        return
    with progress_on(console) as progress:
        task = progress.add_task(what, total=None, state="")
        yield lambda done, total: progress.update(
            task, completed=done, total=total, state=f"{done}/{total}"
        )


class _Sparing:
    """Says about `_LINES` times how many are done."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._last = 0

    def __call__(self, done: int, total: int) -> None:
        share = _LINES * done // max(1, total)
        if share != self._last:
            self._last = share
            terminal.tell(f"{self._what}: {done} of {total}")
