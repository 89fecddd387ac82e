"""Following runs as they change, whichever process drives them.

One poller serves all who watch: it asks the journal for what is new since each last looked, a few
times a second, and at once when something happens in this process. Nobody is sent what nobody asks
for: who is slow to take a change gets the newest state next, and nothing piles up for him.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from understudy.clock import Clock
from understudy.engine.change import Change, Cursor, Look, Seen
from understudy.engine.journal import Journal
from understudy.errors import NotFound

__all__ = ["Change", "Cursor", "Watch", "Watching"]

_EVERY = 0.25
"""Seconds between two changes of a run that a watcher gets, and between two looks at everything."""

_TOGETHER = 0.05
"""Seconds between two looks because of what happens here: what comes meanwhile shares the next."""

_Answers = list["asyncio.Future[Seen]"]


class Watch:
    """The changes of one run. Iterate it from one task at a time.

    Cancelling the wait for the next change (a timeout, say) loses nothing: ask again. An idle one
    holds no task and nothing in the poller.
    """

    __slots__ = ("_after", "_done", "_rests_until", "_run_id", "_tenant", "_watching")

    def __init__(
        self, watching: Watching, run_id: str, tenant: str | None, after: Cursor | None
    ) -> None:
        self._watching = watching
        self._run_id = run_id
        self._tenant = tenant
        self._after = after
        self._rests_until = 0.0
        self._done = False

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> Change:
        """The next change. Raises `NotFound`, also when the run is forgotten meanwhile."""
        if self._done:
            raise StopAsyncIteration
        clock = self._watching.clock
        if (rests := self._rests_until - clock.now()) > 0:
            await clock.sleep(min(rests, _EVERY))
        seen = await self._watching.look(Look(self._run_id, self._tenant, self._after))
        if not seen.found:
            raise NotFound(f"no run has the id {self._run_id!r}")
        self._done = seen.done
        if seen.change is None:
            raise StopAsyncIteration
        self._after = seen.change.cursor
        self._rests_until = clock.now() + _EVERY
        return seen.change


class Watching:
    """All who watch runs in this process."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self.clock = clock
        self._journal = journal
        self._open: dict[Look, _Answers] = {}
        self._runs: dict[str, int] = {}
        self._heard: set[str] = set()
        self._nudged = asyncio.Event()
        self._poller: asyncio.Task[None] | None = None

    def watch(self, run_id: str, tenant: str | None, after: Cursor | None = None) -> Watch:
        """The run's changes after the cursor; with None, first the whole run as it stands.

        The first one comes at once if there is anything new, then each change, at most four a
        second. It ends after the change with `run.done`, and at once if that was seen before.
        Iterating raises `NotFound` if the run is not there or is another tenant's.
        """
        return Watch(self, run_id, tenant, after)

    async def look(self, look: Look) -> Seen:
        """What is new, once there is anything: a change, an end, or that the run is not there."""
        answer: asyncio.Future[Seen] = asyncio.get_running_loop().create_future()
        self._open.setdefault(look, []).append(answer)
        self._runs[look.run_id] = self._runs.get(look.run_id, 0) + 1
        self._hear(look.run_id)
        if self._poller is None:
            self._poller = asyncio.create_task(self._poll())
        try:
            return await answer
        finally:
            self._leave(look, answer)

    def _leave(self, look: Look, answer: asyncio.Future[Seen]) -> None:
        self._runs[look.run_id] -= 1
        if not self._runs[look.run_id]:
            del self._runs[look.run_id]
        answers = self._open.get(look, [])
        if answer in answers:  # nobody has answered it
            answers.remove(answer)
            if not answers:
                del self._open[look]
        if not self._open:
            self._nudged.set()

    def _hear(self, run_id: str) -> None:
        """Something may be new in a run. Called for each write of this process."""
        if run_id in self._runs:
            if not self._heard:
                self._nudged.set()
            self._heard.add(run_id)

    async def _poll(self) -> None:
        """Look until nobody watches any more."""
        self._journal.on_write(self._hear)
        try:
            rests_until, all_at = 0.0, self.clock.now() + _EVERY
            while self._open:
                now = self.clock.now()
                # The machine's clock may be set back meanwhile.
                all_at, rests_until = min(all_at, now + _EVERY), min(rests_until, now + _TOGETHER)
                at = min(all_at, rests_until) if self._heard else all_at
                if now < at:
                    await self._until(at)
                    continue
                looks = [look for look in self._open if now >= all_at or look.run_id in self._heard]
                self._heard.clear()
                if now >= all_at:
                    all_at = now + _EVERY
                rests_until = now + _TOGETHER
                await self._look(looks)
        finally:
            self._journal.on_write(None)
            self._poller = None

    async def _look(self, looks: Sequence[Look]) -> None:
        try:
            found = await self._journal.changes(looks)
        except Exception as error:  # noqa: BLE001 - each of them hears of it
            for look in looks:
                self._answer(look, error)
            return
        for look, seen in zip(looks, found, strict=True):
            if seen.change is not None or seen.done or not seen.found:
                self._answer(look, seen)

    def _answer(self, look: Look, answer: Seen | Exception) -> None:
        for waiting in self._open.pop(look, ()):
            if waiting.done():
                continue
            if isinstance(answer, Exception):
                waiting.set_exception(answer)
            else:
                waiting.set_result(answer)

    async def _until(self, at: float) -> None:
        """Return at that time, or when nudged."""
        self._nudged.clear()
        sleep = asyncio.ensure_future(self.clock.sleep(at - self.clock.now()))
        nudge = asyncio.ensure_future(self._nudged.wait())
        try:
            await asyncio.wait({sleep, nudge}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleep.cancel()
            nudge.cancel()
