"""Where an operation's code and its journal no longer agree, and what can be done about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from understudy.cli.session import Session

_AROUND = 5  # steps shown before and after the one that differs

Json = Mapping[str, Any]


def difference(steps: Sequence[Json], waits: Json) -> Iterator[str]:
    """What the journal remembers, in order, and where the code asked for something else."""
    found = waits["found"] or "the operation ends"
    expected = waits["expected"]
    at = _place(steps, expected)
    yield "the journal (-) and the code (+) differ:"
    if at is None:
        yield from _keys(steps[-_AROUND:])
        yield f"- {expected or 'nothing more'}"
        yield f"+ {found}"
        return
    if at > _AROUND:
        yield f"  … {at - _AROUND} steps before"
    yield from _keys(steps[max(0, at - _AROUND) : at])
    yield f"- {expected}"
    yield f"+ {found}"
    rest = steps[at + 1 :]
    yield from _keys(rest[:_AROUND])
    if len(rest) > _AROUND:
        yield f"  … {len(rest) - _AROUND} steps after"


def ways_on(session: Session, seen: Json) -> Iterator[str]:
    """The commands that lead out: the old code, a new run from there, or none."""
    run_id = seen["id"]
    yield "ways on:"
    yield f"  restore the code, then:   {session.command('runs', 'resume', run_id)}"
    at = _place(seen["steps"], seen["waiting_for"]["expected"])
    if at is not None:
        step = seen["steps"][at]["key"]
        forking = session.command("runs", "fork", run_id, "--step", step)
        yield f"  a new run from there on:  {forking}"
    yield f"  give it up:               {session.command('runs', 'cancel', run_id)}"


def _place(steps: Sequence[Json], expected: str | None) -> int | None:
    """Which step is meant by its key or, where the kinds differ, by its kind and key."""
    for index, step in enumerate(steps):
        if expected in {step["key"], f"{step['kind']} {step['key']}"}:
            return index
    return None


def _keys(steps: Sequence[Json]) -> Iterator[str]:
    return (f"  {step['key']}" for step in steps)
