"""What is shown of a run's future: when it will end, and a percent that never goes back."""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from understudy.clock import Clock
from understudy.engine.eta import Eta, estimate
from understudy.engine.history import History, Records
from understudy.engine.run import Run, Step
from understudy.engine.situation import Ahead, Moment

_FRESH = 0.2
"""Seconds for which a forecast is good enough: many may watch one run."""

_MOST_A_SECOND = 100
"""Forecasts that may be made anew: each takes about a millisecond."""

_LISTED = 2.0
_STALE = 30.0
"""Seconds for which it is good enough in lists, and where too many are asked for."""

_REMEMBERED = 4096
"""Runs of which something is remembered in memory."""


class Forecast(NamedTuple):
    """`eta` is None once the run is done, and where nobody can tell; `percent` where nobody can."""

    eta: Eta | None = None
    percent: int | None = None


_UNKNOWN = Forecast()


class Forecasts:
    """Forecasts for whoever shows runs. Without a history nothing is known.

    What was shown is remembered before it is shown, so that no percent goes back, whichever
    process shows it.
    """

    def __init__(self, history: History | None, records: Records | None, clock: Clock) -> None:
        self._history = history
        self._records = records
        self._clock = clock
        self._given: _Remembered = _Remembered()
        self._begun: _Remembered = _Remembered()
        self._second = 0.0
        self._made = 0

    async def of(self, run: Run, steps: Sequence[Step], ahead: Ahead | None = None) -> Forecast:
        """The forecast of one run as it stands now, after what was shown of it before."""
        if run.done or self._records is None:
            return _UNKNOWN
        now = self._clock.now()
        given = self._known(run, now, _FRESH)
        if given is not None:
            return given
        given = self._known(run, now, _STALE) if self._busy(now) else None
        eta = await self._guess(run, steps, ahead) if given is None else given.eta
        forecast = (await self._settled({run.id: eta}))[run.id]
        self._keep(run, now, forecast)
        return forecast

    async def of_many(self, runs: Sequence[Run]) -> Mapping[str, Forecast]:
        """The same for a list of runs, by id; what they remember is read in one go."""
        now = self._clock.now()
        wanted, known = [], {}
        for run in runs:
            given = self._known(run, now, _LISTED)
            if given is not None:
                known[run.id] = given
            elif not run.done:
                wanted.append(run)
        if not wanted or self._records is None:
            return known
        steps = await self._records.steps([run.id for run in wanted])
        guesses: dict[str, Eta | None] = {}
        for run in wanted:
            mine = steps.get(run.id, ())
            guesses[run.id] = None if self._busy(now) else await self._guess(run, mine, None)
            await asyncio.sleep(0)  # others have their turn
        settled = await self._settled(guesses)
        for run in wanted:
            if guesses[run.id] is not None:
                self._keep(run, now, settled[run.id])
        return known | settled

    def _known(self, run: Run, now: float, fresh: float) -> Forecast | None:
        """What was said of the run in this state, unless that is too long ago."""
        given: _Given | None = self._given.get(run.id)
        if given is None or given.state != (run.status, run.attempt):
            return None
        return given.later(now - given.at) if 0 <= now - given.at < fresh else None

    def _keep(self, run: Run, at: float, forecast: Forecast) -> None:
        state = (run.status, run.attempt)
        given: _Given | None = self._given.get(run.id)
        if given is None or given.at <= at or given.state != state:
            self._given.put(run.id, _Given(state, at, forecast))

    def _busy(self, now: float) -> bool:
        """Whether so many runs are watched that old forecasts must do."""
        if not 0 <= now - self._second < 1.0:
            self._second, self._made = now, 0
        return self._made >= _MOST_A_SECOND

    async def _guess(self, run: Run, steps: Sequence[Step], ahead: Ahead | None) -> Eta | None:
        if self._history is None:
            return None
        samples = await self._history.samples(run.operation)
        self._made += bool(samples)
        moment = Moment(self._clock.now(), ahead, self._since(run))
        return estimate(run, steps, samples, moment, random.Random(run.id))

    def _since(self, run: Run) -> float | None:
        """When this tenure was first seen here, if it is not the run's first one."""
        if run.epoch == 1 and run.attempt == 1:
            return None
        begun = self._begun.get(run.id)
        if begun is None or begun[0] != run.epoch:
            begun = (run.epoch, self._clock.now())
            self._begun.put(run.id, begun)
        since: float = begun[1]
        return since

    async def _settled(self, guesses: Mapping[str, Eta | None]) -> dict[str, Forecast]:
        """The guesses with a percent that is not below what was shown before."""
        assert self._records is not None
        shown = dict(await self._records.percents(list(guesses)))
        raised = {
            run_id: eta.percent
            for run_id, eta in guesses.items()
            if eta is not None and eta.percent > shown.get(run_id, -1)
        }
        if raised:
            shown |= await self._records.show(raised)
        return {
            run_id: Forecast(eta and eta._replace(percent=shown[run_id]), shown.get(run_id))
            for run_id, eta in guesses.items()
        }


class _Given(NamedTuple):
    """A forecast that was given, when, and for a run in which state."""

    state: tuple[str, int]
    at: float
    forecast: Forecast

    def later(self, seconds: float) -> Forecast:
        """The same, so many seconds later."""
        eta = self.forecast.eta
        if eta is None:
            return self.forecast
        p50, p90 = max(0.0, eta.p50 - seconds), max(0.0, eta.p90 - seconds)
        return self.forecast._replace(eta=eta._replace(p50=p50, p90=p90))


class _Remembered:
    """Something about each of the runs that were asked for last."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Any] = OrderedDict()

    def get(self, run_id: str) -> Any:
        return self._known.get(run_id)

    def put(self, run_id: str, value: Any) -> None:
        self._known[run_id] = value
        self._known.move_to_end(run_id)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
