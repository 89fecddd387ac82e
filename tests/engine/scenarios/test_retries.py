"""A step fails and is tried again: when, how often, and what the run does meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from understudy import Context, Permanent, Retry, StepFailed, Transient, operation
from understudy.engine.journal import Journal
from understudy.testing.harness import Answer, Given, Harness


class Flaky:
    """Fails with each of the errors given, then answers; keeps the times of its attempts."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.times: list[float] = []
        self.harness: Harness | None = None

    async def __call__(self) -> int:
        assert self.harness is not None
        self.times.append(self.harness.clock.now())
        if self.errors:
            raise self.errors.pop(0)
        return 7

    def pauses(self) -> list[float]:
        return [b - a for a, b in zip(self.times, self.times[1:], strict=False)]


def flaky_operation(flaky: Flaky, retry: Retry | None = None) -> Any:
    @operation("flaky", retry=retry)
    async def run(ctx: Context, input: Given) -> Answer:
        return Answer(value=await ctx.step("try", flaky))

    return run


async def test_a_short_pause_stays_in_memory(journal: Journal) -> None:
    """Backoff doubles within its jitter; attempts are counted; the run keeps its claim."""
    flaky = Flaky(ValueError("one"), ValueError("two"))
    async with Harness([flaky_operation(flaky, Retry(first=0.5))], journal=journal) as harness:
        flaky.harness = harness
        run = await harness.submit("flaky")
        step = (await harness.steps(run.id))["try"]
        assert (run.status, step.state, step.attempt) == ("running", "retry", 1)
        assert step.error is not None
        assert step.error["message"] == "one"
        for _ in range(12):
            await harness.advance(0.125)
        step = (await harness.steps(run.id))["try"]
        assert (await harness.engine.get(run.id)).epoch == 1
        assert (step.state, step.attempt, step.result, step.error) == ("succeeded", 3, "7", None)
    first, second = flaky.pauses()
    assert 0.25 <= first <= 0.5 + 0.125
    assert 0.5 <= second <= 1.0 + 0.125


async def test_a_long_pause_leaves_memory(journal: Journal) -> None:
    """A run that waits a minute for its next attempt is a row, and says so; a crash is nothing."""
    flaky = Flaky(Transient("busy", retry_after=60))
    async with Harness([flaky_operation(flaky)], journal=journal) as harness:
        flaky.harness = harness
        run = await harness.submit("flaky")
        assert (run.status, harness.plan.driving) == ("waiting", ())
        assert run.waiting_for is not None
        assert run.waiting_for["kind"] == "retry"
        assert run.waiting_for["text"] == "attempt 2 of 4 of step 'try' at 08:01:00Z: busy"
        facts = run.waiting_for
        assert (facts["step"], facts["attempt"], facts["attempts"]) == ("try", 2, 4)
        await harness.crash()
        await harness.advance(59)
        assert len(flaky.times) == 1
        await harness.advance(1)
        assert await harness.output(run.id) == {"value": 7}
        assert (await harness.steps(run.id))["try"].attempt == 2
    assert flaky.pauses() == [60]


async def test_attempts_run_out(journal: Journal) -> None:
    """After the last attempt the step has failed, and so has the run, with the body's error."""
    flaky = Flaky(*(ValueError(f"no {n}") for n in range(9)))
    async with Harness([flaky_operation(flaky, Retry(attempts=3))], journal=journal) as harness:
        flaky.harness = harness
        run = await harness.run("flaky")
        assert run.status == "failed"
        assert run.error == {
            "code": "step_failed",
            "category": "internal",
            "message": "no 2",
            "type": "ValueError",
            "step": "try",
        }
    assert len(flaky.times) == 3


@pytest.mark.parametrize("error", [Permanent("never", category="moderation")])
async def test_a_permanent_error_is_not_tried_again(journal: Journal, error: Exception) -> None:
    """One attempt, and the error's category reaches the run."""
    flaky = Flaky(error)
    async with Harness([flaky_operation(flaky)], journal=journal) as harness:
        flaky.harness = harness
        run = await harness.submit("flaky")
        assert run.status == "failed"
        assert run.error is not None
        assert run.error["category"] == "moderation"
    assert len(flaky.times) == 1


async def test_a_failure_is_replayed_as_it_was(journal: Journal) -> None:
    """The code sees the same error on the first run and after a crash, and may go on."""
    seen: list[tuple[str, str, str]] = []

    async def broken() -> None:
        raise Permanent("no")

    @operation("careful")
    async def careful(ctx: Context, input: Given) -> Answer:
        try:
            await ctx.step("broken", broken)
        except StepFailed as failure:
            seen.append((str(failure), failure.step, failure.type))
        await ctx.sleep(60)
        return Answer(value="went on")

    async with Harness([careful], journal=journal) as harness:
        run = await harness.submit("careful")
        await harness.crash()
        await harness.finish(run.id)
        assert await harness.output(run.id) == {"value": "went on"}
    assert len(seen) >= 2
    assert set(seen) == {("no", "broken", "Permanent")}


async def test_a_crash_in_an_attempt_does_not_count_it(journal: Journal) -> None:
    """The attempt in flight when the process died has the same number again."""
    flaky = Flaky(Transient("busy", retry_after=60), KeyError("again"))
    async with Harness([flaky_operation(flaky, Retry(attempts=2))], journal=journal) as harness:
        flaky.harness = harness
        run = await harness.submit("flaky")
        await harness.crash()
        await harness.finish(run.id)
        step = (await harness.steps(run.id))["try"]
    assert (step.state, step.attempt) == ("failed", 2)
