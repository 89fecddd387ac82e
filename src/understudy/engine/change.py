"""What changed in a run since somebody looked, and how one says what one has seen. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple, Self

from understudy.engine.run import Run, Step

_TEXT = re.compile(r"(\d{1,15})\.(\d{1,15})\.(\d{1,15})", re.ASCII)


class Cursor(NamedTuple):
    """All that somebody has seen of a run.

    `attempt` of the run, the number of its row's last change, the number of its steps' last change.
    As text it is `1.7.12`, which is also the id of a server-sent event.
    """

    attempt: int
    run: int
    steps: int

    def __str__(self) -> str:
        return f"{self.attempt}.{self.run}.{self.steps}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The cursor of this text; None if it is none."""
        found = _TEXT.fullmatch(text)
        return None if found is None else cls(*map(int, found.groups()))


class Look(NamedTuple):
    """A look at one run: by whom (None: whoever works here), and after what he has seen."""

    run_id: str
    tenant: str | None
    after: Cursor | None


class Change(NamedTuple):
    """A run as it stands at `cursor`, and those of its steps that changed since the one before.

    `steps` are in the order of the calls. With `whole` they are all that the run remembers, and
    what was known before is void.
    """

    cursor: Cursor
    run: Run
    steps: tuple[Step, ...]
    whole: bool


class Seen(NamedTuple):
    """What a look found: `change` is None if nothing is new. `found` is False if it is not there.

    `done` says that nothing will change any more unless the run is tried again.
    """

    found: bool
    done: bool
    change: Change | None
