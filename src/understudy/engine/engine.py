"""The engine's front door: submit, look, wait, cancel, retry, signal."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from understudy.clock import Clock
from understudy.engine.codec import Codec
from understudy.engine.journal import Journal
from understudy.engine.plan import Plan
from understudy.engine.registry import Registry
from understudy.engine.run import Run, RunFilter, Step
from understudy.engine.submission import new_run
from understudy.engine.view import run_view
from understudy.errors import Conflict
from understudy.wire import RunView

_LOOK_EVERY = 0.2
_PLAIN = Codec()


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
        user: str | None = None,
    ) -> Run:
        """Accept a run: durable on return. Raises `UnknownOperation`, `InvalidInput`."""
        wanted = self._registry.get(operation)
        run = new_run(wanted, data, now=self._clock.now(), tenant=tenant, user=user)
        await self._journal.submit(run)
        self._wake([run.id])
        return run

    async def get(self, run_id: str) -> Run:
        """One run. Raises `NotFound`."""
        return await self._journal.get(run_id)

    async def list(self, wanted: RunFilter) -> Sequence[Run]:
        """Runs, newest first."""
        return await self._journal.list(wanted)

    async def unfinished(self, tenant: str) -> Sequence[Run]:
        """Runs that have not ended, oldest first."""
        return await self._journal.unfinished(tenant)

    async def steps(self, run_id: str) -> Sequence[Step]:
        """What a run remembers, in the order of its calls."""
        return await self._journal.steps(run_id)

    async def view(self, run_id: str) -> RunView:
        """A run and its steps as JSON. Raises `NotFound`."""
        run = await self._journal.get(run_id)
        return run_view(run, await self._journal.steps(run_id))

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
        self._wake(await self._journal.retry(run_id, now=self._clock.now()))
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

    async def emit(self, name: str, data: Any = None, *, tenant: str) -> int:
        """Send a signal to the tenant's runs; how many waited for one of that name.

        Raises `Unserializable` if `data` is not JSON.
        """
        text = _PLAIN.dump(data)
        woken = await self._journal.signal(tenant, name, text, now=self._clock.now())
        self._wake(woken)
        return len(woken)

    def parse_output(self, run: Run) -> Any:
        """A succeeded run's output as its operation's type."""
        return self._registry.get(run.operation).result.load(run.output or "null")

    def _wake(self, run_ids: Sequence[str]) -> None:
        for plan in self._plans:
            plan.wake(run_ids)
