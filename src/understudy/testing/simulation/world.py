"""One history: what people and the machine do, by chance, and what follows."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from understudy.db.database import Database, Tx, sql
from understudy.db.schema import metadata
from understudy.engine.drive import SHORT_PAUSE
from understudy.engine.engine import Engine
from understudy.engine.run import Run, RunFilter
from understudy.errors import Conflict, StorageError
from understudy.testing.simulation import audit
from understudy.testing.simulation.author import KEYS, NAMES, Author
from understudy.testing.simulation.observer import Observer
from understudy.testing.simulation.process import LEASE, TENANT, Process
from understudy.testing.simulation.tally import Tally
from understudy.testing.simulation.unreliable import HEARD_AFTER, Weather

T = TypeVar("T")

_ACTIONS = 11
_PATIENCE = 60
_STRIDE = 25.0
_SHARES = 15
_EVERYTHING = RunFilter(TENANT, limit=100_000)
_CANCELABLE = sql(
    "SELECT id, input FROM runs WHERE operation = 'ordered' AND ended_at IS NULL "
    "AND cancel_requested_at IS NULL"
)
_UNWELL = sql(
    "SELECT id FROM runs WHERE status = 'failed' OR (status = 'canceled' AND parent_id IS NULL) "
    "ORDER BY created_at, id"
)
_EMPTY = [sql(f"DELETE FROM {table.name}") for table in reversed(metadata.sorted_tables)]  # noqa: S608 - names of our own


@dataclasses.dataclass(frozen=True)
class History:
    """What was broken, in words that name the run; and what happened."""

    seed: int
    violations: list[str]
    tally: Tally


class World:
    """Two or three processes over one database."""

    def __init__(self, seed: int, database: Database) -> None:
        self._seed = seed
        self._database = database
        self.chance = random.Random(seed)
        self.weather = Weather(seed + 1)
        self.clock = self.weather.clock
        self.violations = self.weather.books.violations
        self._author = Author(self.chance)
        self._processes = [
            Process(self.weather, database) for _ in range(self.chance.choice((2, 2, 2, 3)))
        ]
        self._outside = Process(self.weather, database)
        self._observer = Observer(database)
        self._runs: list[str] = []
        self._sent = 0
        faults = self.weather.faults
        self._actions: dict[Callable[[], Awaitable[None]], int] = {
            self._submit: 12,
            self._signal: 5,
            self._answer_at_once: 6,
            self._pass: 10,
            self._cancel: 5,
            self._retry: 14,
            self._fork: 5,
            self._drain: 8,
            self._start: 3,
            self._crash: 6 * ("crash" in faults),
            self._stop: 5 * ("stopped" in faults),
            self._go_on: 4 * ("stopped" in faults),
            self._outlive: 8 * ("lapsed" in faults),
            self._twice: 5 * ("twice" in faults),
            self._forward: 9 * ("forward" in faults),
            self._backward: 6 * ("backward" in faults),
        }

    async def history(self) -> History:
        """Everything, from the start to the audit at the end."""
        await self._database.write(_empty)
        self._outside.connect()
        try:
            for process in self._processes:
                await self._insist(process.start)
            for _ in range(_ACTIONS):
                await self._act()
            await self._end()
        finally:
            for process in self._processes:
                if not process.life.gone:
                    await process.die()
        return History(self._seed, self.violations, self.weather.tally)

    # Time.

    async def _settle(self) -> None:
        """Return once only time, or a signal, makes anything happen."""
        weather, ready = self.weather, asyncio.get_running_loop()._ready  # type: ignore[attr-defined]  # noqa: SLF001 - whether anything is about to happen
        while True:
            await asyncio.sleep(0)
            if not ready and not weather.open:
                return

    async def _let_pass(self, seconds: float) -> None:
        until = self.clock.passed + seconds
        while (due := self.clock.next()) is not None and due <= until:
            self.clock.move(due)
            await self._settle()
        self.clock.move(until)
        await self._settle()

    # What happens.

    async def _act(self) -> None:
        """One random thing, then some turns of the loop or all that happens by itself."""
        (action,) = self.chance.choices([*self._actions], [*self._actions.values()])
        await action()
        if self.chance.random() < 0.5:
            await self._settle()
            await self._check()
        else:
            for _ in range(self.chance.randrange(30)):
                await asyncio.sleep(0)
        self.violations += await self._observer.look(self._runs)
        await self._raise_the_dead()

    async def _submit(self) -> None:
        name = self.chance.choice(("plain", "plain", "keyed", "keyed", "throttled", "timed"))
        program = self._author.program(depth=1)
        how: dict[str, Any] = {"delay": self.chance.choice((0, 0, 0, 5))}
        times = 1
        if self.chance.random() < 0.3:
            how["idempotency_key"] = f"key {len(self._runs)}"
            times = 2
        ids = set()
        for _ in range(times):
            submit = partial(self._engine().submit, name, program, tenant=TENANT, **how)
            ids.add((await self._insist(submit)).id)
        if len(ids) > 1:
            self.violations.append(f"one key, and {len(ids)} runs")
        self._runs += sorted(ids)

    async def _signal(self) -> None:
        kind = self.chance.choice(("go", "stop", "name", "name"))
        self._sent += 1
        mark = f"signal {self._sent}"
        key = mark if self.chance.random() < 0.3 else None
        if kind == "stop":
            await self._emit_stop(mark, key)
        elif kind == "go":
            await self._emit("go", self._author.order(mark), key)
        else:
            data = {"key": self.chance.choice(KEYS), "mark": mark}
            await self._emit(self.chance.choice(NAMES), data, key)

    async def _answer_at_once(self) -> None:
        """A signal just when its run begins to wait, or leaves memory."""
        name = self.chance.choice(NAMES)
        program = {"code": [["wait", name, {}, 50], *self._author.code(depth=0)]}
        submit = partial(self._engine().submit, "plain", program, tenant=TENANT)
        self._runs.append((await self._insist(submit)).id)
        if self.chance.random() < 0.5:
            await self._settle()
            self.clock.move(self.clock.passed + SHORT_PAUSE)
        for _ in range(self.chance.randrange(30)):
            await asyncio.sleep(0)
        self._sent += 1
        await self._emit(name, {"key": KEYS[0], "mark": f"signal {self._sent}"}, None)

    async def _emit_stop(self, mark: str, key: str | None) -> None:
        order = self.chance.choice(KEYS)
        concerned = await self._cancelable(order)
        await self._emit("stop", {"order": order, "mark": mark}, key)
        missed = concerned & await self._cancelable(order)
        self.violations += [f"{run_id} was not canceled by {mark}" for run_id in missed]

    async def _emit(self, name: str, data: dict[str, Any], key: str | None) -> None:
        engine = self._engine()
        emit = partial(engine.emit, name, data, tenant=TENANT, idempotency_key=key)
        await self._insist(emit)

    async def _cancelable(self, order: str) -> set[str]:
        rows = await self._database.read(lambda tx: tx.rows(_CANCELABLE))
        return {run_id for run_id, given in rows if json.loads(given)["order"] == order}

    async def _pass(self) -> None:
        await self._let_pass(self.chance.choice((0.1, 1, 3, 10, 40)))

    async def _cancel(self) -> None:
        await self._ask(self._engine().cancel)

    async def _retry(self) -> None:
        rows = await self._database.read(lambda tx: tx.rows(_UNWELL))
        await self._ask(self._engine().retry, [run_id for (run_id,) in rows])

    async def _fork(self) -> None:
        forked = await self._ask(self._engine().fork)
        self._runs += [forked.id] if forked else []

    async def _ask(
        self, of: Callable[[str], Awaitable[Run]], among: Sequence[str] | None = None
    ) -> Run | None:
        run_id = self._one_of(self._runs if among is None else among)
        if run_id is None:
            return None
        try:
            return await self._insist(partial(of, run_id))
        except Conflict:
            return None

    async def _twice(self) -> None:
        """Wakes without reason."""
        self.weather.tally.fault("twice")
        await self._ask(self._engine().resume)
        for process in self._up():
            assert process.plan is not None
            process.plan.wake(self._runs)
            process.hear()

    async def _crash(self) -> None:
        process = self._one_of([one for one in self._processes if not one.life.gone])
        if process is not None:
            self.weather.tally.fault("crash")
            await self._kill(process)

    async def _kill(self, process: Process) -> None:
        self.weather.forgive(LEASE + HEARD_AFTER)
        await process.die()
        if self.chance.random() < 0.5:
            await self._insist(process.start)

    async def _start(self) -> None:
        process = self._one_of([one for one in self._processes if one.life.gone])
        if process is not None:
            await self._insist(process.start)

    async def _drain(self) -> None:
        process = self._one_of(self._up())
        if process is None:
            return
        self.weather.forgive(HEARD_AFTER)
        stop = asyncio.create_task(process.stop())
        while not stop.done():
            await self._let_pass(0.5)
        await stop
        if self.chance.random() < 0.5:
            await self._insist(process.start)

    async def _stop(self) -> None:
        process = self._one_of(self._up())
        if process is not None:
            self.weather.tally.fault("stopped")
            self.weather.tally.lasting["stopped"] += 1
            process.life.stop()
            # The others wait for its lease, and then for their own look.
            self.weather.forgive(LEASE + HEARD_AFTER)

    async def _outlive(self) -> None:
        """One is stopped for so long that the others take its runs."""
        if len(self._up()) > 1:
            await self._stop()
            await self._let_pass(LEASE)
            await self.chance.choice((self._go_on, self._submit, self._drain, self._retry))()

    async def _go_on(self) -> None:
        stopped = [one for one in self._processes if one.life.stopped and not one.life.gone]
        process = self._one_of(stopped)
        if process is not None:
            self._continue(process)

    def _continue(self, process: Process) -> None:
        self.weather.tally.lasting["stopped"] -= 1
        self.weather.tally.fault("stopped")
        self.weather.forgive(LEASE)
        process.life.go_on()

    async def _forward(self) -> None:
        """The machine's clock is set: leases run out."""
        self._set("forward", self.chance.choice((5_000.0, 8_000.0)))

    async def _backward(self) -> None:
        """They last longer."""
        self._set("backward", self.chance.choice((-20.0, -90.0)))

    def _set(self, fault: str, seconds: float) -> None:
        self.weather.tally.fault(fault)
        for process in self._processes:
            process.life.shaken = True
        self.weather.forgive(LEASE + HEARD_AFTER)
        self.clock.set(seconds)

    async def _raise_the_dead(self) -> None:
        """What gives up is started again."""
        for process in self._processes:
            if process.life.gone or process.plan is None or not process.plan.failure.done():
                continue
            if not process.life.doomed:
                self.violations.append(f"a worker gave up: {process.plan.failure.result()}")
            await self._kill(process)

    # Whom to ask.

    def _up(self) -> list[Process]:
        return [process for process in self._processes if process.up]

    def _engine(self) -> Engine:
        """One that is there, or one without a worker."""
        return self.chance.choice([self._outside, *self._up()]).engine

    def _one_of(self, some: Sequence[T]) -> T | None:
        return self.chance.choice(some) if some else None

    async def _insist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Clients ask again when the database refuses."""
        while True:
            try:
                return await call()
            except StorageError:
                continue

    # What must be true.

    async def _check(self) -> None:
        runs = await audit.open_runs(self._database)
        self.violations += [*audit.over_limits(runs), *audit.diverged(runs)]
        if not self.weather.calm or not self._up() or any(p.life.doomed for p in self._processes):
            return
        # Who shares the due with others comes again in a moment for what they have left.
        for _ in range(_SHARES):
            late = [*audit.undone(runs, self._driving(), self.clock.now())]
            if not late:
                break
            await self._let_pass(0.02)
            runs = await audit.open_runs(self._database)
        self.violations += late
        now = self.clock.now()
        # A parked run that was woken sees its signal when it has a place.
        parked = {run.id for run in runs if run.worker is None and not audit.is_woken(run, now)}
        driven = {run.id for run in runs if run.worker in self._driving()}
        reached = parked | driven
        self.violations += await audit.unseen_signals(self._database, reached)

    def _driving(self) -> dict[str | None, Sequence[str]]:
        return {one.plan.worker: one.plan.driving for one in self._up() if one.plan is not None}

    async def _end(self) -> None:
        """Given time, every run ends; then the books are compared."""
        for _ in range(_PATIENCE):
            await self._all_go_on()
            await self._let_pass(_STRIDE)
            await self._raise_the_dead()
            await self._check()
            if not await audit.open_runs(self._database):
                break
        runs = await self._outside.journal.list(_EVERYTHING)
        self.violations += [f"{run.id} never ends: {run}" for run in runs if not run.done]
        await self._compare(runs)

    async def _all_go_on(self) -> None:
        for process in self._processes:
            if process.life.gone:
                await self._insist(process.start)
            elif process.life.stopped:
                self._continue(process)

    async def _compare(self, runs: Sequence[Run]) -> None:
        books = self.weather.books
        self.violations += await self._observer.look([run.id for run in runs])
        for run in runs:
            steps = await self._outside.journal.steps(run.id)
            self.violations += audit.of_run(run, steps, books)
        self.violations += audit.failures_followed(runs)
        self.violations += audit.throttle_kept(runs)
        self.violations += await audit.signals_answered(self._database, runs)
        self.violations += await audit.slots_kept(self._database, runs, books.first_slot)


def _empty(tx: Tx) -> None:
    """What was prepared for a database stays prepared: most of a history's time in a new one."""
    for statement in _EMPTY:
        tx.execute(statement)
