"""What `understudy top` shows: three tables that fit 80 columns, and the same as JSON."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from rich.console import Console, Group, JustifyMethod, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from understudy.cli import terminal
from understudy.clock import iso
from understudy.engine.crowd import Crowd
from understudy.engine.run import QueueRow, Run, WorkerRow
from understudy.engine.view import waiting_view

_ROOMY = 100  # columns from which ids are whole
_END = 7  # letters of an id that are enough to name it
_QUEUES = 12
_PIPE = 10_000  # columns: nothing is cut
_RATES = ("commits_per_s", "units_per_s", "mean_batch", "commit_ms", "queued")


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """Everything at the time `now`, read from the database at `place`."""

    place: str
    now: float
    crowd: Crowd
    runs: Sequence[Run]


def document(seen: Snapshot) -> dict[str, Any]:
    """The snapshot as JSON. Times are RFC 3339, durations seconds."""
    return {
        "at": iso(seen.now),
        "database": seen.place,
        "workers": [
            {
                "name": worker.name,
                "started_at": iso(worker.started_at),
                "lease_until": iso(worker.lease_until),
                "lease_left": round(worker.lease_until - seen.now, 3),
                "driving": worker.driving,
                **{name: value for name, value in worker.info.items() if name != "started_at"},
            }
            for worker in seen.crowd.workers
        ],
        "queues": [
            {**queue._asdict(), "oldest_due": _time(queue.oldest_due)}
            for queue in seen.crowd.queues
        ],
        "runs": [_run(run, seen.crowd) for run in seen.runs],
    }


def say(seen: Snapshot) -> None:
    """Print the snapshot; in a pipe nothing is cut."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _PIPE
    console.print(tables(seen, console.width))


@contextlib.contextmanager
def screen() -> Iterator[Callable[[Snapshot], None]]:
    """The whole terminal, until the block ends; what it gives shows a snapshot there."""
    console = Console(highlight=False)
    with Live(console=console, screen=True, auto_refresh=False) as live:
        yield lambda seen: live.update(tables(seen, console.width), refresh=True)


def tables(seen: Snapshot, width: int) -> RenderableType:
    """The snapshot for a terminal of so many columns."""
    queues = seen.crowd.queues
    shown = sorted(queues, key=lambda queue: queue.due + queue.held + queue.running, reverse=True)
    workers = [_worker_row(worker, seen.now, width) for worker in seen.crowd.workers]
    parts: list[RenderableType] = [
        _headline(seen),
        Text(terminal.clean(seen.place), no_wrap=True, overflow="ellipsis"),
        "",
        _table(_WORKERS, workers, width),
        "",
        _table(_QUEUED, [_queue_row(queue, seen.now) for queue in shown[:_QUEUES]], width),
    ]
    if len(shown) > _QUEUES:
        parts.append(Text(f"… and {len(shown) - _QUEUES} more"))
    parts += ["", _table(_RUNS, [_run_row(run, seen, width) for run in seen.runs], width)]
    return Group(*parts)


def age(seconds: float) -> str:
    """How long in at most four letters: `12s`, `4m`, `2h`, `3d`."""
    for unit, length in (("s", 60.0), ("m", 60.0), ("h", 24.0)):
        if seconds < length:
            return f"{max(0.0, seconds):.0f}{unit}"
        seconds /= length
    return f"{seconds:.0f}d"


class _Column(NamedTuple):
    """A heading, and how many columns it has at least; None: what is left, cut if need be."""

    heading: str
    width: int | None = None
    right: bool = False


_WORKERS = (
    _Column("WORKER", _END + 1),
    _Column("HOST"),
    _Column("PID", 7, right=True),
    _Column("AGE", 4, right=True),
    _Column("LEASE", 5, right=True),
    _Column("RUNS", 4, right=True),
    _Column("COMMIT/S", 8, right=True),
    _Column("UNIT/S", 6, right=True),
    _Column("BATCH", 5, right=True),
    _Column("MS", 4, right=True),
    _Column("QUEUE", 5, right=True),
)
_QUEUED = (
    _Column("OPERATION"),
    _Column("KEY"),
    _Column("DUE", 6, right=True),
    _Column("HELD", 6, right=True),
    _Column("DRIVEN", 6, right=True),
    _Column("PARKED", 6, right=True),
    _Column("OLDEST", 6, right=True),
)
_RUNS = (
    _Column("ID", _END + 1),
    _Column("OPERATION"),
    _Column("STATUS", len("running")),
    _Column("AGE", 4, right=True),
    _Column("DOES, OR WAITS FOR"),
)


def _table(columns: Sequence[_Column], rows: Sequence[Sequence[object]], width: int) -> Table:
    cells = [[_cut(value) for value in row] for row in rows]
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    for column, room in zip(columns, _widths(columns, cells, width), strict=True):
        justify: JustifyMethod = "right" if column.right else "left"
        table.add_column(
            column.heading, justify=justify, no_wrap=True, overflow="ellipsis", width=room
        )
    for row in cells:
        table.add_row(*row)
    return table


def _cut(value: object) -> Text:
    text = terminal.cell(value)
    text.overflow = "ellipsis"
    return text


def _widths(columns: Sequence[_Column], cells: Sequence[Sequence[Text]], width: int) -> list[int]:
    """How wide each column is; the longest of those that may be cut is cut until all fit."""
    widths = [
        max(len(column.heading), column.width or 0, *(row[index].cell_len for row in cells), 0)
        for index, column in enumerate(columns)
    ]
    for _ in range(sum(widths) + len(columns) - 1 - width):
        loose = [
            index
            for index, column in enumerate(columns)
            if column.width is None and widths[index] > len(column.heading)
        ]
        if loose:
            widths[max(loose, key=widths.__getitem__)] -= 1
    return widths


def _headline(seen: Snapshot) -> Text:
    queues = seen.crowd.queues
    counts = {
        "driven": sum(queue.running for queue in queues),
        "due": sum(queue.due for queue in queues),
        "held": sum(queue.held for queue in queues),
        "parked": sum(queue.parked for queue in queues),
    }
    alive = sum(worker.lease_until > seen.now for worker in seen.crowd.workers)
    workers = f"{alive} {'worker' if alive == 1 else 'workers'}" if alive else "no worker"
    runs = ", ".join(f"{count} {what}" for what, count in counts.items())
    return Text(f"{terminal.moment(seen.now)}  {workers}; runs: {runs}")


def _worker_row(worker: WorkerRow, now: float, width: int) -> tuple[object, ...]:
    info = worker.info
    left = worker.lease_until - now
    # What it says of itself is from another release, perhaps.
    writer = info.get("writer") or {}
    return (
        _short(worker.name, width),
        info.get("host", ""),
        info.get("pid", ""),
        age(now - worker.started_at),
        f"{left:.0f}s" if left > 0 else "lost",
        worker.driving,
        *(_figure(writer.get(name)) for name in _RATES),
    )


def _queue_row(queue: QueueRow, now: float) -> tuple[object, ...]:
    return (
        queue.operation,
        queue.concurrency_key,
        queue.due,
        queue.held,
        queue.running,
        queue.parked,
        "" if queue.oldest_due is None else age(now - queue.oldest_due),
    )


def _run_row(run: Run, seen: Snapshot, width: int) -> tuple[object, ...]:
    return (
        _short(run.id, width),
        run.operation,
        run.status,
        age(seen.now - run.created_at),
        _does(run, seen.crowd),
    )


def _does(run: Run, crowd: Crowd) -> str:
    """How far it is, and what it waits for."""
    waits = waiting_view(run, crowd)
    words = [terminal.progress(run.progress), waits.text if waits else ""]
    return "; ".join(word for word in words if word)


def _run(run: Run, crowd: Crowd) -> dict[str, Any]:
    waits = waiting_view(run, crowd)
    return {
        "id": run.id,
        "operation": run.operation,
        "status": run.status,
        "user": run.user,
        "created_at": iso(run.created_at),
        "started_at": _time(run.started_at),
        "worker": run.worker,
        "progress": run.progress,
        "waiting_for": None if waits is None else waits.model_dump(mode="json"),
    }


def _short(name: str, width: int) -> str:
    """An id, or as much of its end as names it."""
    return name if width >= _ROOMY or len(name) <= _END else f"…{name[-_END:]}"


def _figure(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.1f}" if value < 10 and value != int(value) else f"{value:.0f}"


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else iso(seconds)
