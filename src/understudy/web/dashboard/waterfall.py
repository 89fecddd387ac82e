"""A run's steps over time, as bars: positions are shares of the whole in percent."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from understudy.engine.run import Run, Step
from understudy.web.dashboard import words

_LEAST = 0.35
"""Percent that a bar takes at least, so that it can be seen."""

_MOST = 150
"""Steps of one name that are listed one by one."""

_BARS = 200
"""Bars that a line of many steps has at most."""


@dataclasses.dataclass(frozen=True)
class Bar:
    """From where, how wide (percent), and in which tone."""

    x: float
    width: float
    tone: str


@dataclasses.dataclass(frozen=True)
class Line:
    """One step. `took` is in seconds; None while it is not over. `result` is JSON text."""

    id: str
    name: str
    note: str
    bar: Bar
    took: float | None
    step: Step | None = None

    @property
    def opens(self) -> bool:
        """Whether there is more to see of it."""
        return self.step is not None and (self.step.result not in {None, "null"} or self.failed)

    @property
    def failed(self) -> bool:
        """Whether it, or one of its attempts, has an error to show."""
        return self.step is not None and self.step.error is not None


@dataclasses.dataclass(frozen=True)
class Group:
    """Steps of one name, such as those of a map; `more` of them are not listed."""

    id: str
    name: str
    note: str
    bars: tuple[Bar, ...]
    took: float
    lines: tuple[Line, ...]
    more: int


@dataclasses.dataclass(frozen=True)
class Waterfall:
    """The whole picture: its rows from top to bottom, and its length in seconds."""

    rows: tuple[Line | Group, ...]
    seconds: float
    ticks: tuple[str, ...]


def waterfall(run: Run, steps: Sequence[Step], now: float) -> Waterfall:
    """The picture of a run at the time `now`, in the order of its calls."""
    begin = min([run.created_at, *(step.started_at for step in steps)])
    ends = [step.ended_at or now for step in steps]
    end = run.ended_at or max([now, *ends])
    scale = _Scale(begin, max(end, *ends, begin + 0.001) if ends else max(end, begin + 0.001))
    rows: list[Line | Group] = []
    if run.started_at is not None or not run.done:
        until = run.started_at or run.ended_at or now
        bar = scale.bar(run.created_at, max(until, run.created_at), "idle")
        rows.append(Line("queue", "in the queue", "", bar, max(0.0, until - run.created_at)))
    named: dict[str, list[Step]] = {}
    for step in sorted(steps, key=lambda step: step.seq):
        named.setdefault(step.name, []).append(step)
    rows += [_row(name, some, scale, now) for name, some in named.items()]
    if run.status == "running":
        since = max([run.started_at or begin, *(step.ended_at or begin for step in steps)])
        rows.append(Line("now", "working", "", scale.bar(since, now, "busy"), None))
    ticks = tuple(words.duration(scale.length * part / 4) if part else "0" for part in range(5))
    return Waterfall(tuple(rows), scale.length, ticks)


@dataclasses.dataclass(frozen=True)
class _Scale:
    begin: float
    end: float

    @property
    def length(self) -> float:
        return self.end - self.begin

    def bar(self, since: float, until: float, tone: str) -> Bar:
        """The bar of a span of time, inside the picture."""
        x = min(max(0.0, (since - self.begin) / self.length * 100), 100 - _LEAST)
        width = max(_LEAST, (until - since) / self.length * 100)
        return Bar(round(x, 2), round(min(width, 100 - x), 2), tone)


def _row(name: str, steps: Sequence[Step], scale: _Scale, now: float) -> Line | Group:
    lines = [_line(step, scale, now) for step in steps]
    if len(lines) == 1:
        return lines[0]
    states = [step.state for step in steps]
    counted = [(states.count("failed"), "failed"), (states.count("retry"), "to be tried again")]
    note = ", ".join([f"{len(steps)} steps", *(f"{n} {what}" for n, what in counted if n)])
    began = min(step.started_at for step in steps)
    ended = max(step.ended_at or now for step in steps)
    return Group(
        id=f"group-{steps[0].seq}",
        name=name,
        note=note,
        bars=tuple(_thinned([line.bar for line in lines])),
        took=ended - began,
        lines=tuple(lines[:_MOST]),
        more=max(0, len(lines) - _MOST),
    )


def _line(step: Step, scale: _Scale, now: float) -> Line:
    over = step.ended_at if step.ended_at is not None else now
    bar = scale.bar(step.started_at, over, words.tone(step.state))
    took = None if step.ended_at is None else max(0.0, step.ended_at - step.started_at)
    return Line(f"step-{step.seq}", step.key, _note(step), bar, took, step)


def _note(step: Step) -> str:
    parts: list[str] = [] if step.kind == "step" else [step.kind]
    if step.state == "retry":
        parts.append(f"attempt {step.attempt} failed")
    elif step.attempt > 1:
        parts.append(f"{step.attempt} attempts")
    return ", ".join(parts)


def _thinned(bars: Sequence[Bar]) -> Iterable[Bar]:
    """At most so many that a browser draws them gladly; what went wrong is always among them."""
    if len(bars) <= _BARS:
        return bars
    stride = -(-len(bars) // _BARS)
    kept = [bar for index, bar in enumerate(bars) if index % stride == 0]
    return [*kept, *[bar for bar in bars if bar.tone == "bad"][:_BARS]]
