"""What the journal's contract is tested with: runs, steps and the moves that any test makes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from understudy.engine.journal import Journal
from understudy.engine.run import Claim, Claimed, Run, Scope, Step, StepKind, Submission, WaitFor

NOW = 1_800_000_000.0
SCOPE = Scope(("film", "song"))
WORKER = "worker"
TENANT = "tenant"
HOOK = "https://example.com/hook"
NOBODY = "https://example.com/nobody"
FAULT = {"code": "error", "category": "internal", "message": "no", "type": "E", "step": "draw"}


def a_run(run_id: str = "run_1", **facts: Any) -> Run:
    """A queued run, due at NOW."""
    values: dict[str, Any] = {
        **dict.fromkeys(Run._fields),
        "id": run_id,
        "tenant": TENANT,
        "operation": "film",
        "version": 1,
        "input": '{"n":1}',
        "status": "queued",
        "plan": "embedded",
        "epoch": 1,
        "attempt": 1,
        "wake_at": NOW,
        "root_id": run_id,
        "lane": "",
        "held": 0,
        "change": 0,
        "created_at": NOW,
    }
    return Run(**(values | facts))


def asked(run_id: str = "run_1", **facts: Any) -> Submission:
    """The same, to be submitted."""
    return Submission(a_run(run_id, **facts))


def a_step(key: str = "draw", seq: int = 0, *, kind: StepKind = "step", **facts: Any) -> Step:
    """A step that succeeded with `7` at NOW."""
    values: dict[str, Any] = {
        "state": "succeeded",
        "attempt": 1,
        "due_at": None,
        "result": "7",
        "error": None,
        "started_at": NOW,
        "ended_at": NOW,
    }
    return Step(key=key, seq=seq, name=key, kind=kind, **(values | facts))


def failed_step(key: str = "draw", seq: int = 0, **facts: Any) -> Step:
    """A step that failed at NOW."""
    said = {"state": "failed", "result": None, "error": {**FAULT, "step": key}}
    return a_step(key, seq, **(said | facts))


def open_step(key: str, seq: int = 0, *, kind: StepKind = "wait", **facts: Any) -> Step:
    """A step that waits."""
    said = {"state": "waiting", "result": None, "ended_at": None}
    return a_step(key, seq, kind=kind, **(said | facts))


def plain(steps: Iterable[Step]) -> list[Step]:
    """The steps without the numbers of their changes, as tests say them."""
    return [step._replace(change=0) for step in steps]


def telling(run: Run) -> Submission | None:
    """The run that tells a webhook of a run's end, as the journal under test is to make it."""
    said = {"created_at": run.ended_at, "wake_at": run.ended_at, "operation": "song"}
    told = a_run(f"{run.id}-told-{run.attempt}", input=f'"{run.status}"', **said)
    if run.webhook == NOBODY:
        return None
    return Submission(told._replace(idempotency_key=f"told:{run.id}:{run.attempt}"))


async def claim_all(journal: Journal, now: float = NOW, worker: str = WORKER) -> dict[str, Claimed]:
    """All that is due, by run id."""
    claims = await journal.claim(worker, SCOPE, limit=1000, now=now)
    return {claimed.run.id: claimed for claimed in claims.runs}


async def driven(journal: Journal, run_id: str = "run_1", **facts: Any) -> Claim:
    """A claim on a new run."""
    await journal.submit(asked(run_id, **facts))
    return (await claim_all(journal))[run_id].claim


async def reclaim(journal: Journal, run_id: str = "run_1", now: float = NOW) -> Claimed:
    """The run, woken and claimed again."""
    await journal.wake(run_id, now=now)
    return (await claim_all(journal, now))[run_id]


async def look(
    journal: Journal,
    claim: Claim,
    wait: WaitFor,
    *,
    key: str = "answer",
    now: float = NOW,
) -> Step:
    """Look for a signal; `key` is the wait's step."""
    return await journal.await_signal(claim, open_step(key, due_at=wait.due_at), wait, now=now)


def wait_for(
    name: str = "answer", match: Mapping[str, Any] | None = None, due_at: float | None = None
) -> WaitFor:
    """A wait for a signal."""
    return WaitFor(name, match or {}, due_at)
