"""What a resumed operation already knows. Pure: no clock, no database.

A call's key is its name plus its occurrence: `add`, `add#2`, `add#3`; an item of a map is
`pair[0]`. Beside the operation's body, in a task of its own, it is counted there: `add@1`,
`add@1#2` (see `branch`). Keys therefore do not depend on the order in which tasks take turns.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from understudy.engine.run import Step, StepKind, StepState
from understudy.errors import Diverged

_LONGEST = 200
_RESERVED = frozenset("@#[]")


@dataclasses.dataclass(slots=True)
class Call:
    """One call of the context: its key, its place in the order of calls, and what is known."""

    key: str
    seq: int
    name: str
    kind: StepKind
    step: Step | None

    def stands(self, state: StepState, started_at: float, **facts: Any) -> Step:
        """The step to remember for this call; `facts` are the other fields of `Step`."""
        return Step(
            self.key,
            self.seq,
            self.name,
            self.kind,
            state,
            facts.get("attempt", 1),
            facts.get("due_at"),
            facts.get("result"),
            facts.get("error"),
            started_at,
            facts.get("ended_at"),
        )


class Replay:
    """Answers each call of an operation from the journal, and notices when the two disagree."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._unasked = {step.key: step for step in steps}
        self._occurrences: dict[str, int] = {}
        self._calls = 0

    def ask(self, name: str, kind: StepKind, branch: str = "") -> Call:
        """The next call of that name in the branch.

        Raises `Diverged` if the journal has another kind there.
        """
        return self._call(self._next_key(name, branch), name, kind)

    def ask_items(self, name: str, count: int, branch: str = "") -> list[Call]:
        """The calls of a map's items, all at once, so that their order is the items' order."""
        key = self._next_key(name, branch)
        return [self._call(f"{key}[{index}]", name, "step") for index in range(count)]

    @property
    def first_unasked(self) -> Step | None:
        """The earliest remembered step that the code has not asked for yet."""
        if not self._unasked:
            return None
        return min(self._unasked.values(), key=lambda step: step.seq)

    def check_complete(self) -> None:
        """Raise `Diverged` if the code ended without asking for all that the journal remembers."""
        if forgotten := self.first_unasked:
            raise Diverged(
                f"the operation ended, but the journal remembers step {forgotten.key!r}: "
                "its code has changed; restore it, or cancel the run",
                expected=forgotten.key,
                found=None,
            )

    def check_new(self, call: Call) -> None:
        """Raise `Diverged` if a new step would start while remembered ones have not been asked for.

        Only meaningful when nothing else of the run is in flight.
        """
        if call.step is None and (expected := self.first_unasked):
            raise Diverged(
                f"the operation asks for step {call.key!r} where the journal remembers "
                f"{expected.key!r}: its code has changed; restore it, or cancel the run",
                expected=expected.key,
                found=call.key,
            )

    def _next_key(self, name: str, branch: str) -> str:
        key = f"{name}@{branch}" if branch else name
        count = self._occurrences.get(key, 0) + 1
        if count == 1 and (not 0 < len(name) <= _LONGEST or not _RESERVED.isdisjoint(name)):
            raise ValueError(
                f"a step's name is 1 to {_LONGEST} characters without '@', '#', '[', ']': {name!r}"
            )
        self._occurrences[key] = count
        return key if count == 1 else f"{key}#{count}"

    def _call(self, key: str, name: str, kind: StepKind) -> Call:
        seq = self._calls
        self._calls += 1
        step = self._unasked.pop(key, None)
        if step is not None and step.kind != kind:
            raise Diverged(
                f"the operation asks for a {kind} {key!r} where the journal remembers a "
                f"{step.kind}: its code has changed; restore it, or cancel the run",
                expected=f"{step.kind} {key}",
                found=f"{kind} {key}",
            )
        return Call(key, seq, name, kind, step)
