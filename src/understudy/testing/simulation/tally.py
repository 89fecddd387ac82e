"""What happened in a history, and which faults it met."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

ACTIONS = (
    "submit",
    "claim",
    "step",
    "pause",
    "wait",
    "emit",
    "call",
    "park",
    "poke",
    "finish",
    "release",
    "adopt",
    "signal",
    "cancel",
    "retry",
    "fork",
)
"""Changes of the journal: by a driver from `claim` to `adopt`, by others the rest. `pause` is the
begin or end of a sleep; `poke` is a driver that looks because somebody woke its run."""

FAULTS = (
    "crash",
    "stopped",
    "lapsed",
    "late",
    "refused",
    "unsure",
    "unheard",
    "twice",
    "forward",
    "backward",
)
"""A worker killed; one stopped, as by SIGSTOP; a lease run out; a call that others overtake; one
that the database refuses; one that it makes but says that it refused; a word to another process
lost; a wake without reason; the clock set forward by hours, or backward by minutes."""

_JUST_BEFORE = 8


class Tally:
    """Counts actions, and for each fault the actions while it is there or just after it."""

    def __init__(self) -> None:
        self.actions: Counter[str] = Counter()
        self.met: Counter[tuple[str, str]] = Counter()
        self._last: dict[str, int] = {}
        self.lasting: Counter[str] = Counter()

    @property
    def count(self) -> int:
        """All actions so far."""
        return self.actions.total()

    def fault(self, name: str) -> None:
        """A fault happens."""
        self._last[name] = self.count

    def act(self, action: str) -> None:
        """An action happens."""
        self.met.update((action, fault) for fault in self._present())
        self.actions[action] += 1

    def add(self, other: Tally) -> None:
        """Count what happened in another history, too."""
        self.actions.update(other.actions)
        self.met.update(other.met)

    def table(self) -> str:
        """How often each action met each fault, as text."""
        lines = [f"{'':9} {'all':>7}" + "".join(f"{fault:>9}" for fault in FAULTS)]
        for action in ACTIONS:
            met = "".join(f"{self.met[action, fault]:9}" for fault in FAULTS)
            lines.append(f"{action:9} {self.actions[action]:7}{met}")
        return "\n".join(lines)

    def _present(self) -> Iterator[str]:
        for fault, at in self._last.items():
            if self.lasting[fault] or self.count - at < _JUST_BEFORE:
                yield fault
