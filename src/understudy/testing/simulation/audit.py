"""What must be true: once nothing happens by itself, and at the end of a history."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from understudy.clock import iso
from understudy.db.database import Database, Tx, sql
from understudy.engine.dotted import matches
from understudy.engine.run import Claimed, Run, Step
from understudy.testing.simulation.books import Books
from understudy.testing.simulation.operations import CONCURRENCY, THROTTLE

_OPEN = sql(
    "SELECT id, operation, lane, concurrency_key, claim, worker, wake_at, held, deadline_at, "
    "waiting_for FROM runs WHERE ended_at IS NULL"
)
_MATCHING = sql(
    "SELECT w.run_id, w.fields, s.data FROM waits AS w JOIN runs AS r ON r.id = w.run_id "
    "JOIN steps AS t ON t.run_id = w.run_id AND t.key = w.key "
    "JOIN signals AS s ON s.tenant = w.tenant AND s.name = w.name "
    "AND s.created_at >= r.created_at AND (t.due_at IS NULL OR s.created_at <= t.due_at) "
    "WHERE t.kind = 'wait' AND t.state = 'waiting' AND w.tenant = 'tenant'"
)
_STEPS = sql("SELECT kind, state, result FROM steps WHERE run_id = :run_id")
_LEFT = sql(
    "SELECT min(wake_at) FROM runs WHERE lane = '' AND claim IS NULL AND wake_at <= :now "
    "AND (deadline_at IS NULL OR deadline_at > :now)"
)
_SIGNALS = sql("SELECT data FROM signals WHERE name = 'go'")
_NEXT_SLOT = sql("SELECT next_at FROM schedules WHERE operation = 'hourly'")
_HOUR = 3600


class Open(NamedTuple):
    """A run that has not ended, as its row is."""

    id: str
    operation: str
    lane: str
    key: str | None
    claim: str | None
    worker: str | None
    wake_at: float | None
    held: int
    deadline_at: float | None
    waiting_for: str | None


async def open_runs(database: Database) -> list[Open]:
    """The runs that have not ended."""
    return [Open(*row) for row in await database.read(lambda tx: tx.rows(_OPEN))]


def over_limits(runs: Sequence[Open]) -> Iterator[str]:
    """Concurrency is kept, in all and for each key."""
    driven = [run for run in runs if run.claim is not None and run.operation == "keyed"]
    assert CONCURRENCY.total is not None
    if len(driven) > CONCURRENCY.total:
        yield f"{len(driven)} keyed runs at once, of {CONCURRENCY.total}"
    for key, count in Counter(run.key for run in driven).items():
        if count > CONCURRENCY.each:
            yield f"{count} runs at once with the key {key}"


def undone(
    runs: Sequence[Open], driving: Mapping[str | None, Sequence[str]], now: float
) -> Iterator[str]:
    """Nobody is forgotten. `driving`: what each worker that goes on has in memory."""
    full = sum(run.claim is not None and run.operation == "keyed" for run in runs)
    taken = {(run.lane, run.key) for run in runs if run.claim is not None}
    due = {(run.lane, run.key) for run in runs if _is_due(run, now)}
    for run in runs:
        crowded = run.operation == "keyed" and full >= (CONCURRENCY.total or 0)
        if run.held == 1 and run.claim is None:
            if (run.lane, run.key) not in taken | due:
                yield f"{run.id} is held for a free key: {run}"
        elif _is_due(run, now) and not crowded:
            yield f"lost wake-up: {run.id} is due and nobody drives it: {run}"
        if run.claim is None and run.deadline_at is not None and run.deadline_at < now:
            yield f"{run.id} has passed its deadline: {run}"
        if run.claim is not None and run.worker in driving:
            if run.id not in driving[run.worker]:
                yield f"{run.id} is claimed, and its worker does not drive it"
            elif is_woken(run, now):
                yield f"lost poke: {run.id} was woken and its driver did not look"


def diverged(runs: Sequence[Open]) -> Iterator[str]:
    """No code changes in a history."""
    for run in runs:
        if run.waiting_for and json.loads(run.waiting_for)["kind"] == "operator":
            yield f"{run.id} diverged, but no code has changed: {run}"


async def unseen_signals(database: Database, reached: set[str]) -> list[str]:
    """What waits has seen every signal that matches. `reached` are the runs that could."""
    found = []
    for run_id, fields, data in await database.read(lambda tx: tx.rows(_MATCHING)):
        if run_id not in reached or not matches(json.loads(data), json.loads(fields)):
            continue
        steps = await _steps_of(database, run_id)
        if any(state == "failed" and kind != "wait" for kind, state, _ in steps):
            continue  # it has failed already and only finishes what runs
        used = [json.loads(result) for kind, _, result in steps if kind == "wait" and result]
        if json.loads(data) not in used:
            found.append(f"lost signal: {run_id} does not see {data}")
    return found


def of_run(run: Run, steps: Sequence[Step], books: Books) -> Iterator[str]:
    """What one run remembers."""
    used = Counter(step.result for step in steps if step.kind == "wait" and step.result)
    yield from (f"{run.id} used {mark} twice" for mark, n in used.items() if n > 1)
    if run.error is not None and run.error["code"] == "run_timeout":
        assert run.deadline_at is not None
        if run.error["category"] != "timeout":
            yield f"{run.id} ran out of time as {run.error}"
    for step in steps:
        if step.kind == "step" and step.state == "succeeded":
            done = json.loads(step.result or "null")
            own = done["place"].startswith(run.id)  # else remembered by the run it was forked from
            if own and done["execution"] != books.last.get(done["place"]):
                yield f"{done['place']} ran again after its result was stored"


def failures_followed(runs: Sequence[Run]) -> Iterator[str]:
    """Each failure for good started one run."""
    mourned: Counter[tuple[str, int]] = Counter()
    for run in runs:
        if run.operation == "mourn":
            failure = json.loads(run.input)
            mourned[failure["run_id"], failure["attempt"]] += 1
    yield from (f"{failed} is mourned {n} times" for failed, n in mourned.items() if n > 1)
    for run in runs:
        failed = run.operation == "timed" and run.status == "failed"
        if failed and not mourned[run.id, run.attempt]:
            yield f"the failure of {run.id} was not followed"


async def signals_answered(database: Database, runs: Sequence[Run]) -> list[str]:
    """Each signal started its run once."""
    wanted: Counter[str] = Counter()
    for (text,) in await database.read(lambda tx: tx.rows(_SIGNALS)):
        data = json.loads(text)
        if data["kind"] == "new":
            wanted[data["mark"]] += 1
    marks = (json.loads(run.input)["mark"] for run in runs if _is_started_by_signal(run))
    found = Counter(mark for mark in marks if mark)
    return [
        f"the signal {mark} started {found[mark]} runs, not {wanted[mark]}"
        for mark in wanted | found
        if found[mark] != wanted[mark] or wanted[mark] > 1
    ]


async def slots_kept(database: Database, runs: Sequence[Run], first: float | None) -> list[str]:
    """Each hour from the `first` slot on started one run."""
    next_at = await database.read(lambda tx: tx.scalar(_NEXT_SLOT))
    passed = range(0) if first is None else range(int(first), int(next_at), _HOUR)
    wanted = [f"cron:{iso(slot)}" for slot in passed]
    found = sorted(run.idempotency_key or "" for run in runs if run.operation == "hourly")
    return [] if found == wanted else [f"hours {found}, not {wanted}"]


def throttle_kept(runs: Sequence[Run]) -> Iterator[str]:
    """No window sees more starts than the throttle lets in."""
    starts: dict[str | None, list[float]] = defaultdict(list)
    for run in runs:
        if run.operation == "throttled" and run.started_at is not None:
            starts[run.throttle_key].append(run.started_at)
    allowed = THROTTLE.limit + THROTTLE.burst - 1
    for times in map(sorted, starts.values()):
        for first, later in zip(times, times[allowed:], strict=False):
            if later - first < _period() - 1e-3:
                yield f"{allowed + 1} starts from {first} to {later}"


def _period() -> float:
    return THROTTLE.interval * THROTTLE.limit


def _is_started_by_signal(run: Run) -> bool:
    return run.operation == "ordered" and run.parent_id is None and run.forked_from is None


def is_woken(run: Open, now: float) -> bool:
    """Whether a run's time has come."""
    return run.wake_at is not None and run.wake_at <= now


def _is_due(run: Open, now: float) -> bool:
    return run.claim is None and run.held != 1 and is_woken(run, now)


async def _steps_of(database: Database, run_id: str) -> Sequence[Any]:
    return await database.read(lambda tx: tx.rows(_STEPS, {"run_id": run_id}))


def overtaken(tx: Tx, taken: Sequence[Claimed], now: float) -> Iterator[str]:
    """Whoever is due for the longest is claimed first, so that nobody starves."""
    times = [claimed.run.wake_at or 0.0 for claimed in taken if not claimed.run.lane]
    left = tx.scalar(_LEFT, {"now": now})
    if times and left is not None and left < max(times):
        yield f"a run that is due since {left} was overtaken by one due at {max(times)}"
