"""What is new in runs that somebody watches, and how far a run is from the front of its queue."""

from __future__ import annotations

from collections.abc import Sequence

from understudy.db.database import RowsStatement, Tx
from understudy.db.statement import sql as statement
from understudy.engine.change import Change, Cursor, Look, Seen
from understudy.engine.journals.rows import run_of, step_of
from understudy.engine.journals.statements import RUN_COLUMNS, STEP_COLUMNS
from understudy.engine.run import Run, Step

_FARTHEST = 1000
_NOTHING = Cursor(-1, -1, -1)

# Steps are written by whoever drives the run; whatever else happens to it changes its row.
CHANGED = RowsStatement(
    {
        "number": "integer",
        "wanted": "text",
        "whose": "text",
        "tries": "bigint",
        "seen": "bigint",
        "seen_steps": "bigint",
    },
    f"SELECT r.number, {RUN_COLUMNS} FROM {{rows}} AS r LEFT JOIN runs ON runs.id = r.wanted "  # noqa: S608
    "AND (r.whose IS NULL OR runs.tenant = r.whose) "
    "WHERE runs.id IS NULL OR runs.change != r.seen OR runs.attempt != r.tries "
    "OR runs.ended_at IS NOT NULL OR (runs.claim IS NOT NULL AND EXISTS "
    "(SELECT 1 FROM steps WHERE steps.run_id = r.wanted AND steps.change > r.seen_steps))",
)

CHANGED_STEPS = RowsStatement(
    {"number": "integer", "wanted": "text", "seen_steps": "bigint"},
    f"SELECT r.number, {STEP_COLUMNS} FROM {{rows}} AS r JOIN steps ON run_id = r.wanted "  # noqa: S608
    "AND change > r.seen_steps ORDER BY r.number, seq",
)

_BEFORE = "wake_at <= :wake_at AND (wake_at < :wake_at OR id < :id)"

PLACE = statement(
    "SELECT count(*) FROM (SELECT 1 FROM runs WHERE lane = :lane "  # noqa: S608
    "AND wake_at IS NOT NULL AND claim IS NULL AND held != 1 "
    f"AND {_BEFORE} LIMIT {_FARTHEST}) AS ahead"
)

PLACE_AMONG_HELD = statement(
    "SELECT count(*) FROM (SELECT 1 FROM runs WHERE held = 1 AND lane = :lane "  # noqa: S608
    f"AND concurrency_key = :concurrency_key AND {_BEFORE} LIMIT {_FARTHEST}) AS ahead"
)


def changes(tx: Tx, looks: Sequence[Look]) -> list[Seen]:
    """What each look finds."""
    found: dict[int, Run | None] = {}
    for number, *row in tx.rows_of(CHANGED, [_row(*one) for one in enumerate(looks)]):
        found[number] = None if row[0] is None else run_of(tuple(row))
    changed = {
        number: (run, _is_void(looks[number].after, run))
        for number, run in found.items()
        if run is not None and _is_new(looks[number].after, run)
    }
    steps: dict[int, list[Step]] = {number: [] for number in changed}
    wanted = [
        (number, run.id, -1 if whole else (looks[number].after or _NOTHING).steps)
        for number, (run, whole) in changed.items()
    ]
    for number, *row in tx.rows_of(CHANGED_STEPS, wanted):
        steps[number].append(step_of(tuple(row)))
    seen = []
    for number, look in enumerate(looks):
        run = found.get(number)
        change = None
        if number in changed and run is not None:
            change = _change(look.after, run, steps[number], whole=changed[number][1])
        seen.append(Seen(number not in found or run is not None, bool(run and run.done), change))
    return seen


def place(tx: Tx, run: Run) -> int | None:
    """How many stand before the run in its queue, None if it stands in none."""
    if run.wake_at is None or run.claim is not None:
        return None
    ahead: int = tx.scalar(PLACE_AMONG_HELD if run.held == 1 else PLACE, run._asdict())
    return ahead


def _row(number: int, look: Look) -> tuple[object, ...]:
    return (number, look.run_id, look.tenant, *(look.after or _NOTHING))


def _is_new(after: Cursor | None, run: Run) -> bool:
    """Whether anything has changed; one that has ended is found in any case."""
    return after is None or not run.done or after[:2] != (run.attempt, run.change)


def _is_void(after: Cursor | None, run: Run) -> bool:
    """Whether the cursor says nothing about this run as it is: of another attempt, or of none."""
    return after is None or after.attempt != run.attempt or after.run > run.change


def _change(after: Cursor | None, run: Run, steps: Sequence[Step], *, whole: bool) -> Change:
    seen = 0 if whole or after is None else after.steps
    last = max((step.change for step in steps), default=seen)
    return Change(Cursor(run.attempt, run.change, last), run, tuple(steps), whole)
