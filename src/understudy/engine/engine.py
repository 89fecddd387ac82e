"""The engine's front door: submit, look, wait, cancel, retry, signal."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, TypedDict, Unpack

from pydantic import BaseModel

from understudy.clock import Clock
from understudy.engine.codec import Codec
from understudy.engine.consequences import started_by, submission_of
from understudy.engine.crowd import Crowd
from understudy.engine.journal import Journal
from understudy.engine.plan import Plan
from understudy.engine.registry import Registry
from understudy.engine.run import QueueRow, Run, RunFilter, Signal, Step, WaitFor, WorkerRow
from understudy.engine.submission import Asking, new_run
from understudy.engine.view import queues, run_view
from understudy.errors import Conflict, UnknownOperation
from understudy.wire import RunView

_LOOK_EVERY = 0.2
_PLAIN = Codec()


class How(TypedDict, total=False):
    """Whom a run is for, when it is due (seconds from now), and what makes it the same again."""

    user: str | None
    delay: float
    idempotency_key: str | None


class Engine:
    """Everything that a surface may ask of runs, with or without a plan in this process.

    What is submitted, signalled or canceled here is seen by whichever process drives the run.
    """

    def __init__(self, journal: Journal, registry: Registry, clock: Clock) -> None:
        self._journal = journal
        self._registry = registry
        self._clock = clock
        self._plans: list[Plan] = []

    def attach(self, plan: Plan) -> None:
        """Tell this plan at once what happens here, instead of leaving it to its poll."""
        self._plans.append(plan)

    def detach(self, plan: Plan) -> None:
        """The plan has stopped."""
        self._plans.remove(plan)

    async def submit(
        self,
        operation: str,
        data: Mapping[str, Any] | BaseModel,
        *,
        tenant: str,
        **how: Unpack[How],
    ) -> Run:
        """Accept a run: durable on return. Raises `UnknownOperation`, `InvalidInput`.

        With an idempotency key that was used before, the run of that time is returned; with a key
        of the caller's own and another input, `Conflict` is raised.
        """
        wanted = self._registry.get(operation)
        run = new_run(wanted, data, Asking(tenant, **how), now=self._clock.now())
        accepted = await self._journal.submit(submission_of(wanted, run))
        own = how.get("idempotency_key") is not None
        if own and accepted.id != run.id and accepted.input != run.input:
            raise Conflict(
                f"the idempotency key {run.idempotency_key!r} of {operation} was used for"
                f" {accepted.id}, with another input"
            )
        self._wake([run.id])
        return accepted

    async def get(self, run_id: str) -> Run:
        """One run. Raises `NotFound`."""
        return await self._journal.get(run_id)

    async def list(self, wanted: RunFilter) -> Sequence[Run]:
        """Runs, newest first."""
        return await self._journal.list(wanted)

    async def select(self, wanted: RunFilter) -> AsyncIterator[Run]:
        """Every run that fits, newest first, read in pages of `wanted.limit`."""
        page = await self._journal.list(wanted)
        while page:
            for run in page:
                yield run
            page = await self._journal.list(dataclasses.replace(wanted, before_id=page[-1].id))

    async def unfinished(self, tenant: str) -> Sequence[Run]:
        """Runs that have not ended, oldest first."""
        return await self._journal.unfinished(tenant)

    async def steps(self, run_id: str) -> Sequence[Step]:
        """What a run remembers, in the order of its calls."""
        return await self._journal.steps(run_id)

    async def view(self, run_id: str, crowd: Crowd | None = None) -> RunView:
        """A run and its steps as JSON; the `crowd` is read if it is needed and not given.

        Raises `NotFound`.
        """
        run = await self._journal.get(run_id)
        if crowd is None and queues(run):
            crowd = await self.crowd()
        return run_view(run, await self._journal.steps(run_id), crowd)

    async def crowd(self) -> Crowd:
        """What queued runs may have to wait for: who drives, and what stands in the queues."""
        return Crowd(
            self._registry, await self.workers(), await self.queues(), now=self._clock.now()
        )

    async def watch(self, run_id: str) -> AsyncIterator[Run]:
        """The run now, then each time it has changed; ends once it is done. Raises `NotFound`."""
        seen: Run | None = None
        while seen is None or not seen.done:
            run = await self._journal.get(run_id)
            if run != seen:
                seen = run
                yield run
            else:
                await self._clock.sleep(_LOOK_EVERY)

    async def result(self, run_id: str) -> Run:
        """The run once it is done."""
        async for run in self.watch(run_id):
            last = run
        return last

    async def cancel(self, run_id: str) -> Run:
        """Cancel a run and its children; running steps are stopped. Again is no error.

        Raises `NotFound`, and `Conflict` if the run has ended otherwise.
        """
        self._wake(await self._journal.cancel(run_id, now=self._clock.now()))
        return await self._journal.get(run_id)

    async def retry(self, run_id: str) -> Run:
        """Run a failed or canceled run again; its finished steps are kept.

        Raises `NotFound`, and `Conflict` for a run in another state.
        """
        now = self._clock.now()
        self._wake(await self._journal.retry(run_id, now=now, cancels=self._cancels))
        return await self._journal.get(run_id)

    async def resume(self, run_id: str) -> Run:
        """Make a run look again at what it waits for, now; for one parked for the operator.

        Raises `NotFound`, and `Conflict` if the run has ended.
        """
        run = await self._journal.get(run_id)
        if run.done:
            raise Conflict(f"{run_id} has {run.status}; `runs retry` runs a failed one again")
        await self._journal.wake(run_id, now=self._clock.now())
        self._wake([run_id])
        return await self._journal.get(run_id)

    async def fork(self, run_id: str, step: str | None = None) -> Run:
        """A new run with the same input that remembers what came before `step`.

        Without a step, the one that failed the run, or else all that has finished is remembered.
        Raises `NotFound` for an unknown run or step.
        """
        run = await self._journal.get(run_id)
        operation = self._registry.get(run.operation)
        now = self._clock.now()
        fresh = new_run(operation, json.loads(run.input), Asking(run.tenant, run.user), now=now)
        fresh = fresh._replace(forked_from=run_id, idempotency_key=None)
        key = step or (run.error or {}).get("step")
        await self._journal.fork(run_id, key, submission_of(operation, fresh))
        self._wake([fresh.id])
        return fresh

    async def emit(
        self, name: str, data: Any = None, *, tenant: str, idempotency_key: str | None = None
    ) -> int:
        """Send a signal to the tenant's runs: how many it woke, canceled or started.

        The same idempotency key again sends nothing. Raises `Unserializable` if `data` is not JSON.
        """
        text = _PLAIN.dump(data)
        now = self._clock.now()
        starts = started_by(self._registry, name, json.loads(text), Asking(tenant), now=now)
        signal = Signal(tenant, name, text, idempotency_key)
        woken = await self._journal.signal(signal, starts, now=now)
        self._wake(woken)
        return len(woken)

    async def workers(self) -> Sequence[WorkerRow]:
        """Who drives runs."""
        return await self._journal.workers()

    async def queues(self) -> Sequence[QueueRow]:
        """What is unfinished, by operation and concurrency key."""
        return await self._journal.queues(now=self._clock.now())

    def parse_output(self, run: Run) -> Any:
        """A succeeded run's output as its operation's type."""
        return self._registry.for_run(run).result.load(run.output or "null")

    def _cancels(self, run: Run) -> Sequence[WaitFor]:
        try:
            return submission_of(self._registry.for_run(run), run).cancels
        except UnknownOperation:
            return ()

    def _wake(self, run_ids: Sequence[str]) -> None:
        for plan in self._plans:
            plan.wake(run_ids)
