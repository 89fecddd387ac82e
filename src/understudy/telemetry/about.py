"""What a log line is about: the run and the step at hand, known to everything called for them.

Context variables carry it, so that a line of any library, from any thread that a step started,
says which run it belongs to.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any

import structlog

_OWN_ID = re.compile(r"[a-z]+_[0-9a-z]{26}")
_SHORT = 8
_SHORT_NAME = 4
_MOST = 1000
"""Letters: a shorter text of an input, or id of a user, is a word that anybody may use. Of one
input so many texts are looked for."""

OF_RUNS = "understudy.run"
"""The name of the logger that says what happens to runs."""

_log = structlog.get_logger(OF_RUNS)
_listeners: list[object] = []


class About:
    """A run as its lines show it: `facts` stand in each line.

    `input` is its input as JSON text and `user` whom it is for: neither may be seen in any line.
    """

    def __init__(
        self,
        facts: Mapping[str, Any],
        input: str = "null",  # noqa: A002 - as in `Run`
        user: str | None = None,
    ) -> None:
        self.facts = facts
        self._input = input
        self._user = user

    @functools.cached_property
    def private(self) -> tuple[str, ...]:
        """The texts to mask in the run's lines, the longest first; read when a line is written.

        Each also as errors and logs quote it, and line by line.
        """
        found: set[str] = set()
        for text in itertools.islice(_texts(json.loads(self._input)), _MOST):
            if not _OWN_ID.fullmatch(text):
                for part in {text, *text.splitlines()}:
                    quoted = json.dumps(part), json.dumps(part, ensure_ascii=False), repr(part)
                    found |= {part, *(one[1:-1] for one in quoted)}
        found = {text for text in found if len(text) >= _SHORT}
        if self._user and len(self._user) >= _SHORT_NAME:
            found.add(self._user)
        return tuple(sorted(found, key=len, reverse=True))


_NOTHING = About({})
_run: ContextVar[About] = ContextVar("understudy_run", default=_NOTHING)
STEP: ContextVar[str | None] = ContextVar("understudy_step", default=None)
"""The key of the step whose body runs; set by hand, as that is the path of every step."""


@contextlib.contextmanager
def about(what: About) -> Iterator[None]:
    """Everything said inside, and by what is started inside, is about this run."""
    outer = _run.get()
    _run.set(what)
    try:
        yield
    finally:
        _run.set(outer)  # a `reset` would fail in a task that the end of the loop throws away


def at_hand() -> About:
    """The run that is being driven here, if any."""
    return _run.get()


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """Until the block ends, `note` has somebody to say it to."""
    _listeners.append(None)
    try:
        yield
    finally:
        _listeners.pop()


def note(event: str, /, *, level: str = "info", **facts: Any) -> None:
    """A line about the run at hand; nothing unless this process writes logs.

    `level` is `debug`, `info`, `warning` or `error`. Libraries' own default would print it.
    """
    if _listeners:
        getattr(_log, level)(event, **facts)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
