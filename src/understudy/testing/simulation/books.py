"""The books of a history: which bodies ran, under whose claim, and what was stored of them."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from understudy.engine.run import Claimed, Run, Step


@dataclasses.dataclass(frozen=True)
class Execution:
    """One execution of the body at `place`: the `number`-th, under the claim `token`."""

    place: str
    number: int
    token: str
    attempt: int
    life: Any


class Books:
    """Every body's begin and end are entered here, and every claim and stored result."""

    def __init__(self) -> None:
        self.violations: list[str] = []
        self.last: dict[str, int] = {}
        """By place, the number of its last execution under a claim that held."""
        self.first_slot: float | None = None
        """The first hour that is to start a run."""
        self._owners: dict[str, str] = {}
        self._executions: Counter[str] = Counter()
        self._running: dict[str, Execution] = {}
        self._done: dict[str, Execution] = {}
        self._stored: dict[str, Execution] = {}

    def claimed(self, runs: Sequence[Claimed]) -> None:
        """These runs are claimed anew."""
        for claimed in runs:
            self._owners[claimed.run.id] = claimed.claim.token

    def begin(self, place: str, run: Run, life: Any) -> Execution:
        """A body of a driven run begins."""
        self._executions[place] += 1
        token = life.tokens[run.id, run.epoch]
        begun = Execution(place, self._executions[place], token, run.attempt, life)
        if token == self._owners[run.id]:
            self.last[place] = begun.number
            self._judge(begun)
        # Else its worker was stopped and has not yet seen that the run is somebody else's.
        self._running[place] = begun
        return begun

    def end(self, execution: Execution, *, finished: bool) -> None:
        """A body has ended, and cleaned up after itself."""
        if self._running.get(execution.place) is execution:
            del self._running[execution.place]
        if finished:
            self._done[execution.place] = execution

    def left(self, token: str) -> None:
        """The claim has been given up: its run ended, is parked, or was handed back."""
        self.violations += [
            f"{running.place} runs on, though its run has left"
            for running in self._running.values()
            if running.token == token
        ]

    def answered(self, place: str, result: Any) -> None:
        """A step's result comes back to the program; a fork remembers those of its original."""
        if result["place"].partition("/")[2] != place.partition("/")[2]:
            self.violations.append(f"{place} is answered with {result}")

    def stored(self, step: Step) -> None:
        """A result is durable."""
        result = json.loads(step.result or "null")
        done = self._done.get(result["place"])
        if done is not None and done.number == result["execution"]:
            self._stored[done.place] = done

    def _judge(self, begun: Execution) -> None:
        """Whether a body may run again."""
        place = begun.place
        running = self._running.get(place)
        if running is not None and not _lost(running, begun):
            self.violations.append(f"{place} runs twice at once")
        stored = self._stored.get(place)
        if stored is not None and stored.attempt == begun.attempt:
            self.violations.append(f"{place} runs again after its result was stored")
        done = self._done.get(place)
        if done is not None and done.attempt == begun.attempt and not _lost(done, begun):
            self.violations.append(f"{place} runs again, though its claim held when it was done")


def _lost(before: Execution, now: Execution) -> bool:
    """Whether the claim of the execution before may have been lost before the record."""
    life = before.life
    return before.token != now.token and (life.gone or life.shaken or life.drained)
