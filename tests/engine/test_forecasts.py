"""What is shown of a run's future, from what the journal remembers, in each database."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from understudy import Context, operation
from understudy.clock import ManualClock
from understudy.db.database import Database
from understudy.engine.forecasts import Forecast, Forecasts
from understudy.engine.history import History
from understudy.engine.journal import Journal
from understudy.engine.journals.history import DatabaseRecords
from understudy.engine.run import Run, RunFilter
from understudy.engine.sample import Sample, Stage
from understudy.testing.conformance.rows import NOW, SCOPE, a_run, a_step, asked
from understudy.testing.harness import TENANT, Answer, Given, Harness


class Past(History):
    """A history that says what the test wants."""

    seconds: float = 100.0

    async def samples(self, operation: str) -> Sequence[Sample]:
        """Runs of one step."""
        return [Sample(1, NOW, 0.0, (Stage("draw", 0, 0, 1, self.seconds, self.seconds),), 0.0)] * 9


class Process:
    """One process that shows runs."""

    def __init__(self, database: Database, clock: ManualClock) -> None:
        records = DatabaseRecords(database)
        self.past = Past(records, clock)
        self.forecasts = Forecasts(self.past, records, clock)

    async def percent(self, run: Run) -> int | None:
        """What it shows."""
        return (await self.forecasts.of(run, [])).percent


def running(run_id: str = "run_1") -> Run:
    """A run that was begun at `NOW`."""
    return a_run(run_id, status="running", started_at=NOW)


@pytest.fixture
def clock() -> ManualClock:
    """It stands at `NOW`."""
    return ManualClock(NOW)


async def test_no_percent_goes_back(
    database: Database, journal: Journal, clock: ManualClock
) -> None:
    """When it turns out that runs take longer, the percent stays; also in another process, and in
    one that has been started since.
    """
    await journal.submit(asked())
    first, second = Process(database, clock), Process(database, clock)
    clock.advance(50)
    assert await first.percent(running()) == 50
    for process in (first, second):
        process.past.seconds = 1000.0
    clock.advance(10)
    assert await second.percent(running()) == 50
    assert await first.percent(running()) == 50
    clock.advance(600)
    assert await second.percent(running()) == 66
    third = Process(database, clock)
    third.past.seconds = 1000.0
    assert await third.percent(running()) == 66


async def test_a_percent_is_at_most_99_until_the_end(
    database: Database, journal: Journal, clock: ManualClock
) -> None:
    """However long a run takes; and once it is done nothing is foretold."""
    await journal.submit(asked())
    process = Process(database, clock)
    process.past.seconds = 1e9
    clock.advance(1e9 - 1)
    assert await process.percent(running()) == 99
    assert await process.forecasts.of(running()._replace(status="failed"), []) == Forecast()


async def test_what_is_unknown_is_not_shown(
    database: Database, journal: Journal, clock: ManualClock
) -> None:
    """Without a history there is neither a time nor a percent."""
    await journal.submit(asked())
    records = DatabaseRecords(database)
    forecasts = Forecasts(History(records, clock), records, clock)
    for _ in range(2):
        assert await forecasts.of(running(), []) == Forecast()
    assert await Forecasts(None, records, clock).of(running(), []) == Forecast()
    assert await Forecasts(None, None, clock).of(running(), []) == Forecast()
    assert await Forecasts(None, None, clock).of_many([running()]) == {}


async def test_many_looks_at_one_run_cost_one_forecast(
    database: Database, journal: Journal, clock: ManualClock
) -> None:
    """For a fifth of a second it is the same forecast, which counts down."""
    await journal.submit(asked())
    process = Process(database, clock)
    before = (await process.forecasts.of(running(), [])).eta
    process.past.seconds = 1000.0
    clock.advance(0.125)
    after = (await process.forecasts.of(running(), [])).eta
    assert before is not None
    assert after is not None
    assert before.p50 - after.p50 == 0.125
    clock.advance(0.125)
    later = (await process.forecasts.of(running(), [])).eta
    assert later is not None
    assert later.p50 == 999.75


async def test_a_list_is_read_in_one_go(
    database: Database, journal: Journal, clock: ManualClock
) -> None:
    """Each open run has its forecast, after its own steps; what has ended has none."""
    for number in (1, 2, 3):
        await journal.submit(asked(f"run_{number}"))
    claims = await journal.claim("worker", SCOPE, limit=9, now=NOW)
    held = {claimed.run.id: claimed.claim for claimed in claims.runs}
    drawn = a_step("draw", started_at=NOW, ended_at=NOW + 40)
    await journal.record(held["run_2"], drawn)
    process = Process(database, clock)
    clock.advance(50)
    ended = running("run_3")._replace(status="succeeded")
    told = await process.forecasts.of_many([running("run_1"), running("run_2"), ended])
    assert {run_id: forecast.percent for run_id, forecast in told.items()} == {
        "run_1": 50,
        "run_2": 95,
    }
    assert await process.forecasts.of_many([running("run_1"), running("run_2")]) == told
    assert await process.forecasts.of_many([ended]) == {}


async def test_too_many_runs_at_once_are_shown_older_forecasts(
    database: Database, journal: Journal, clock: ManualClock
) -> None:
    """A hundred are made in a second; a run that was looked at before keeps what was said."""
    runs = [running(f"run_{number}") for number in range(120)]
    for run in runs:
        await journal.submit(asked(run.id))
    process = Process(database, clock)
    clock.advance(10)
    assert await process.percent(runs[0]) == 10
    clock.advance(0.5)
    process.past.seconds = 20.0
    told = await process.forecasts.of_many(runs[1:])
    assert sum(forecast.eta is not None for forecast in told.values()) == 99
    assert await process.percent(runs[0]) == 10
    clock.advance(1)
    assert await process.percent(runs[0]) == 57


async def test_the_latest_run_is_remembered(
    database: Database, journal: Journal, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is bounded: what was looked at long ago is forgotten, and made anew."""
    monkeypatch.setattr("understudy.engine.forecasts._REMEMBERED", 1)
    for number in (1, 2):
        await journal.submit(asked(f"run_{number}"))
    process = Process(database, clock)
    await process.percent(running("run_1"))
    await process.percent(running("run_2"))
    process.past.seconds = 1000.0
    forecast = (await process.forecasts.of(running("run_1"), [])).eta
    assert forecast is not None
    assert forecast.p50 == 1000


async def test_a_handed_over_run_counts_from_when_it_was_seen(
    database: Database, journal: Journal, clock: ManualClock
) -> None:
    """A later tenure begins its step again; how long it took before does not make it late."""
    await journal.submit(asked())
    process = Process(database, clock)
    clock.advance(5000)
    run = running()._replace(epoch=2)
    for seconds, left in ((0, 100), (40, 60)):
        clock.advance(seconds)
        eta = (await process.forecasts.of(run, [])).eta
        assert eta is not None
        assert (eta.p50, "overdue" in eta.basis) == (left, False)


async def test_history_is_what_succeeded(journal: Journal, database: Database) -> None:
    """Runs that end are looked up after ten seconds; each stage has its own time, as it was."""
    harness = Harness([film, fails], journal=journal)
    async with harness:
        film_takes.clock = harness.clock
        history = History(DatabaseRecords(database), harness.clock)
        assert await history.samples("film") == ()
        run = await harness.submit("film", {"draw": 5.0, "items": 3})
        await harness.run("fails")
        assert await history.samples("film") == ()
        harness.clock.advance(10)
        (sample,) = await history.samples("film")
        assert [(stage.name, stage.count, stage.span) for stage in sample.stages] == [
            ("draw", 1, 5.0),
            ("item", 3, 3.0),
        ]
        assert (sample.version, sample.queued, sample.rest) == (1, 0.0, 0.0)
        assert sample.seconds == 8.0
        assert await history.samples("fails") == ()
        harness.clock.advance(10)
        await harness.submit("film", {"draw": 7.0})
        harness.clock.advance(10)
        assert [one.seconds for one in await history.samples("film")] == [8.0, 7.0]
        await harness.engine.get(run.id)


async def test_a_run_is_shown_with_its_forecast(journal: Journal, database: Database) -> None:
    """From the first five runs on, the JSON of a run says when it will end, and how far it is."""
    harness = Harness([film, long_film], journal=journal)
    async with harness:
        film_takes.clock = harness.clock
        records = DatabaseRecords(database)
        harness.engine.forecasts = Forecasts(
            History(records, harness.clock), records, harness.clock
        )
        for _ in range(5):
            await harness.submit("long-film", {"draw": 5.0})
            await harness.emit("go")
            harness.clock.advance(10)
        run = await harness.submit("long-film", {"draw": 5.0})
        view = await harness.engine.view(run.id)
        assert view.eta is not None
        assert (view.eta.p90, view.eta.confidence) == (0.0, "low")
        assert view.percent == view.eta.percent == 99
        (listed,) = [one for one in await harness.engine.show_many([run]) if one.id == run.id]
        assert (listed.percent, listed.steps) == (99, [])
        await harness.emit("go")
        ended = await harness.engine.view(run.id)
        assert (ended.status, ended.percent, ended.eta) == ("succeeded", 100, None)
        assert (await harness.engine.list(RunFilter(TENANT)))[0].id == run.id


class Takes:
    """Steps that take time on the harness's clock."""

    clock: ManualClock

    def __call__(self, seconds: float) -> None:
        self.clock.advance(seconds)


film_takes = Takes()


async def work(seconds: float) -> None:
    """Take so long."""
    film_takes(seconds)


@operation("film")
async def film(ctx: Context, input: Given) -> Answer:
    """Draws, then works at some items."""
    given = input.model_dump()
    await ctx.step("draw", work, given["draw"])
    await ctx.map("item", work, [1.0] * given.get("items", 0), limit=1)
    return Answer()


@operation("long-film")
async def long_film(ctx: Context, input: Given) -> Answer:
    """Draws, then waits for somebody."""
    await ctx.step("draw", work, input.model_dump()["draw"])
    return Answer(value=await ctx.wait("go"))


@operation("fails")
async def fails(ctx: Context, input: Given) -> Answer:
    """Has no history."""
    raise ValueError
