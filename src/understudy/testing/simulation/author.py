"""Writes random programs."""

from __future__ import annotations

import random
from typing import Any

from understudy.testing.simulation.operations import Instruction

NAMES = ("red", "blue")
KEYS = ("a", "b")
CALLED = ("plain", "keyed", "throttled", "timed", "ordered")


class Author:
    """Programs end by themselves within a few minutes."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def program(self, depth: int) -> dict[str, Any]:
        """A program, which may call others if `depth` is 1."""
        chance = self._chance
        return {
            "code": self.code(depth),
            "key": chance.choice(KEYS),
            "ahead": chance.choice((0, 0, 0, 600, 43_200)),
            "order": chance.choice(KEYS),
        }

    def order(self, mark: str) -> dict[str, Any]:
        """The data of a signal that starts a program, if its kind is the right one."""
        kind = self._chance.choice(("new", "new", "old"))
        return {**self.program(depth=0), "kind": kind, "mark": mark}

    def code(self, depth: int) -> list[Instruction]:
        """One to three instructions; `depth` limits programs inside programs."""
        kinds = [
            "step",
            "step",
            "sleep",
            "wait",
            "map",
            *(["call", "both", "both", "emit"] * depth),
        ]
        return [
            self._instruction(self._chance.choice(kinds), depth)
            for _ in range(self._chance.randint(1, 3))
        ]

    def _instruction(self, kind: str, depth: int) -> Instruction:
        chance = self._chance
        if kind == "sleep":
            rest: Instruction = [chance.choice((0, 1, 10, 50))]
        elif kind == "wait":
            match = chance.choice(({}, {"key": chance.choice(KEYS)}))
            rest = [chance.choice(NAMES), match, chance.choice((1, 10, 50))]
        elif kind == "map":
            rest = [[self._effort() for _ in range(chance.randint(0, 3))]]
        elif kind == "emit":
            rest = [*self._signal()]
        elif kind == "call":
            rest = [chance.choice(CALLED), self.program(depth - 1)]
        elif kind == "both":
            # A branch is known by its first call.
            rest = [[["step", 0, 0], *self.code(depth - 1)] for _ in range(2)]
        else:
            rest = [*self._effort()]
        return [kind, *rest]

    def _signal(self) -> tuple[str, dict[str, Any]]:
        if self._chance.random() < 0.5:
            return self._chance.choice(NAMES), {"key": self._chance.choice(KEYS)}
        return "go", self.order("")

    def _effort(self) -> tuple[int, float]:
        chance = self._chance
        return chance.choice((0, 0, 0, 0, 1, 2, 4)), chance.choice((0, 0, 0.5, 5))
