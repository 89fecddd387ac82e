"""The engine's front door: submit, look, wait, cancel, retry, signal.

Where a method takes a `tenant`, another tenant's run is not found. None is whoever works on this
machine, and sees all.
"""

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
from understudy.engine.forecasts import Forecast, Forecasts
from understudy.engine.journal import Journal
from understudy.engine.operation import Operation
from understudy.engine.plan import Plan
from understudy.engine.registry import Registry
from understudy.engine.run import (
    Accepted,
    QueueRow,
    Request,
    Run,
    RunFilter,
    Signal,
    Step,
    WaitFor,
    WorkerRow,
)
from understudy.engine.submission import Asking, new_run
from understudy.engine.view import queues, run_view
from understudy.engine.watching import Watching
from understudy.errors import Conflict, KeyReused, NotFound, UnknownOperation
from understudy.wire import RunView

_LOOK_EVERY = 0.2
_PLAIN = Codec()


class How(TypedDict, total=False):
    """Whom a run is for, when it is due (seconds from now), and what makes it the same again.

    `webhook` is the address that is told of its end.
    """

    user: str | None
    delay: float
    idempotency_key: str | None
    webhook: str | None


class Engine:
    """Everything that a surface may ask of runs, with or without a plan in this process.

    What is submitted, signalled or canceled here is seen by whichever process drives the run.
    `watching` follows runs as they change; `forecasts` tell when they end.
    """

    def __init__(
        self,
        journal: Journal,
        registry: Registry,
        clock: Clock,
        forecasts: Forecasts | None = None,
    ) -> None:
        self._journal = journal
        self._registry = registry
        self._clock = clock
        self._plans: list[Plan] = []
        self.watching = Watching(journal, clock)
        self.forecasts = forecasts or Forecasts(None, None, clock)

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
        """As `accept`, for who asks once: the run."""
        return (await self.accept(operation, data, tenant=tenant, **how)).run

    async def accept(
        self,
        operation: str,
        data: Mapping[str, Any] | BaseModel,
        *,
        tenant: str,
        request: Request | None = None,
        **how: Unpack[How],
    ) -> Accepted:
        """Accept a run: durable on return. Raises `UnknownOperation`, `InvalidInput`.

        A `request` that the tenant has made before is answered by the run of that time. So is an
        idempotency key that was used before for this operation. Either with something else asked
        is `KeyReused`.
        """
        wanted = self._registry.get(operation)
        run = new_run(wanted, data, Asking(tenant, **how), now=self._clock.now())
        accepted = await self._accept(wanted, run, request)
        own = how.get("idempotency_key") is not None
        if own and accepted.replayed and accepted.run.input != run.input:
            raise KeyReused(
                f"the idempotency key {run.idempotency_key!r} of {operation} was used for"
                f" {accepted.run.id}, with another input"
            )
        return accepted

    async def replay(
        self,
        run_id: str,
        tenant: str | None = None,
        data: Mapping[str, Any] | None = None,
        request: Request | None = None,
    ) -> Accepted:
        """A new run of the same operation for the same user, with the same input or with `data`.

        It remembers nothing of the one that it repeats, which it names as `forked_from`, and tells
        the same webhook. Raises `NotFound`, `UnknownOperation`, `InvalidInput`, `KeyReused`.
        """
        wanted, fresh = self._again(await self.get(run_id, tenant), data)
        return await self._accept(wanted, fresh, request)

    async def get(self, run_id: str, tenant: str | None = None) -> Run:
        """One run. Raises `NotFound`."""
        run = await self._journal.get(run_id)
        if tenant is not None and run.tenant != tenant:
            raise NotFound(f"no run has the id {run_id!r}")
        return run

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

    async def steps(self, run_id: str, tenant: str | None = None) -> Sequence[Step]:
        """What a run remembers, in the order of its calls. Raises `NotFound` for a stranger's."""
        await self._check(run_id, tenant)
        return await self._journal.steps(run_id)

    async def view(
        self, run_id: str, crowd: Crowd | None = None, *, tenant: str | None = None
    ) -> RunView:
        """A run and its steps as JSON; the `crowd` is read if it is needed and not given.

        Raises `NotFound`.
        """
        run = await self.get(run_id, tenant)
        return await self.show(run, await self._journal.steps(run_id), crowd)

    async def show(self, run: Run, steps: Sequence[Step], crowd: Crowd | None = None) -> RunView:
        """The JSON of a run that was read with all its steps: where it stands, when it will end."""
        place = ahead = None
        if queues(run):
            crowd = crowd or await self.crowd()
            place = await self._journal.place(run)
            ahead = crowd.ahead(run, place)
        forecast = await self.forecasts.of(run, steps, ahead)
        return run_view(run, steps, crowd, place=place, forecast=forecast)

    async def show_many(self, runs: Sequence[Run]) -> Sequence[RunView]:
        """The JSON of a list of runs without their steps; of queued ones without their place."""
        crowd = await self.crowd() if any(queues(run) for run in runs) else None
        forecasts = await self.forecasts.of_many(runs)
        return [
            run_view(run, (), crowd, forecast=forecasts.get(run.id, Forecast())) for run in runs
        ]

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

    async def cancel(self, run_id: str, tenant: str | None = None) -> Run:
        """Cancel a run and its children; running steps are stopped. Again is no error.

        Raises `NotFound`, and `Conflict` if the run has ended otherwise.
        """
        await self._check(run_id, tenant)
        self._wake(await self._journal.cancel(run_id, now=self._clock.now()))
        return await self._journal.get(run_id)

    async def retry(self, run_id: str, tenant: str | None = None) -> Run:
        """Run a failed or canceled run again; its finished steps are kept.

        Raises `NotFound`, and `Conflict` for a run in another state.
        """
        await self._check(run_id, tenant)
        now = self._clock.now()
        self._wake(await self._journal.retry(run_id, now=now, cancels=self._cancels))
        return await self._journal.get(run_id)

    async def resume(self, run_id: str, tenant: str | None = None) -> Run:
        """Make a run look again at what it waits for, now; for one parked for the operator.

        Raises `NotFound`, and `Conflict` if the run has ended.
        """
        run = await self.get(run_id, tenant)
        if run.done:
            raise Conflict(f"{run_id} has {run.status}; `runs retry` runs a failed one again")
        await self._journal.wake(run_id, now=self._clock.now())
        self._wake([run_id])
        return await self._journal.get(run_id)

    async def fork(self, run_id: str, step: str | None = None, *, tenant: str | None = None) -> Run:
        """A new run with the same input that remembers what came before `step`.

        Without a step, the one that failed the run, or else all that has finished is remembered.
        Raises `NotFound` for an unknown run or step.
        """
        run = await self.get(run_id, tenant)
        operation, fresh = self._again(run)
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

    async def queues(self, tenant: str | None = None) -> Sequence[QueueRow]:
        """What is unfinished, of this tenant or of all, by operation and concurrency key."""
        return await self._journal.queues(now=self._clock.now(), tenant=tenant)

    def parse_output(self, run: Run) -> Any:
        """A succeeded run's output as its operation's type."""
        return self._registry.for_run(run).result.load(run.output or "null")

    async def place(self, run: Run) -> int | None:
        """How many runs stand before this one in its queue; None if it stands in none."""
        return await self._journal.place(run)

    async def _accept(
        self, operation: Operation[Any, Any], run: Run, request: Request | None
    ) -> Accepted:
        submission = submission_of(operation, run)
        accepted = await self._journal.submit(submission, request)
        self._wake([run.id])
        return Accepted(accepted, replayed=accepted.id != run.id)

    def _again(
        self, run: Run, data: Mapping[str, Any] | None = None
    ) -> tuple[Operation[Any, Any], Run]:
        """A new run like this one, of the operation as it is now."""
        operation = self._registry.get(run.operation)
        given = json.loads(run.input) if data is None else data
        asking = Asking(run.tenant, run.user, webhook=run.webhook)
        fresh = new_run(operation, given, asking, now=self._clock.now())
        return operation, fresh._replace(forked_from=run.id, idempotency_key=None)

    async def _check(self, run_id: str, tenant: str | None) -> None:
        if tenant is not None:
            await self.get(run_id, tenant)

    def _cancels(self, run: Run) -> Sequence[WaitFor]:
        try:
            return submission_of(self._registry.for_run(run), run).cancels
        except UnknownOperation:
            return ()

    def _wake(self, run_ids: Sequence[str]) -> None:
        for plan in self._plans:
            plan.wake(run_ids)
