"""The talk of following a run: its events in order, through restarts and cut connections."""

from __future__ import annotations

import dataclasses
import json
from typing import Any
from urllib.parse import quote

import httpx

from understudy.client.effects import Call, Emit, Now, Open, Read, Reply, Sleep, Talk
from understudy.client.events import Decoder, Message
from understudy.client.failures import failure_of, unreachable
from understudy.client.patience import Patience, ask, parsed, passes
from understudy.errors import Error, Unreachable
from understudy.wire import RunView

_SILENCE = 60.0
"""Seconds: the server says something every fifteen, so by then the connection is dead."""
WHOLE = "snapshot"
"""The event after which what was known before is void."""
CHANGE = "change"
"""The one that tells which steps are others than before."""


@dataclasses.dataclass(frozen=True, slots=True)
class Event:
    """A change of a run. `run` is the whole run as it stands; `id` is what resumes behind it."""

    id: str | None
    name: str
    run: RunView


class Picture:
    """A run as far as its events have told: those after the first tell what changed."""

    def __init__(self) -> None:
        self._steps: dict[str, Any] | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing is known yet that a change could be put into."""
        return self._steps is None

    def start(self, run: RunView) -> None:
        """What was known to whoever asks only for what came after it."""
        self._steps = {step.key: step.model_dump() for step in run.steps}

    def add(self, message: Message) -> RunView:
        """The run after this event. Raises `Unreachable` for what is no event of ours."""
        try:
            told = json.loads(message.data)
            steps = {step["key"]: step for step in told["steps"]}
            known = {} if message.name == WHOLE or self._steps is None else self._steps
            self._steps = known | steps
            return RunView.model_validate({**told, "steps": list(self._steps.values())})
        except (ValueError, TypeError, KeyError) as error:
            raise Unreachable(f"an event that this client cannot read: {error}") from error


class _Reader:
    """Who reads a run's events: what he has seen, and how often he has been let down in a row."""

    def __init__(self, run_id: str, after: str | None, patience: Patience) -> None:
        self.last = after
        self.failures = 0
        self._run_id = run_id
        self._patience = patience
        self._picture = Picture()

    def read(self, decoder: Decoder) -> Talk[bool]:
        """Emit what comes until the stream ends; whether the run has ended, too."""
        while True:
            piece: bytes | None = yield Read()
            if piece is None:
                return False
            self.failures = 0
            for message in decoder.feed(piece):
                if message.name not in {WHOLE, CHANGE}:
                    continue  # of a later release
                if message.name != WHOLE and self._picture.empty:
                    known = yield from ask(Call("GET", _path(self._run_id)), self._patience)
                    self._picture.start(parsed(RunView, known))
                run = self._picture.add(message)
                self.last = message.id
                yield Emit(Event(message.id, message.name, run))
                if run.done:
                    return True


def follow(run_id: str, after: str | None, patience: Patience) -> Talk[None]:
    """Emit an `Event` for the run as it is, and for each change until it has ended. Raises `Error`.

    A stream that breaks off is asked for again, behind the last event that came.
    """
    reader = _Reader(run_id, after, patience)
    while True:
        decoder = Decoder(reader.last)
        now: float = yield Now()
        failure: Error = Unreachable(f"the events of {run_id} ended before the run")
        try:
            reply: Reply = yield Open(_call(run_id, reader.last))
            if reply.status == httpx.codes.NO_CONTENT or (
                reply.ok and (yield from reader.read(decoder))
            ):
                return
            if not reply.ok:
                failure = failure_of(reply, now)
                if not passes(reply, failure):
                    raise failure
        except httpx.RequestError as error:
            failure = unreachable(error)
        reader.failures += 1
        pause = patience.pause(reader.failures, failure.retry_after or decoder.retry)
        if pause is None:
            raise failure
        yield Sleep(pause)


def _path(run_id: str, *rest: str) -> str:
    return "/".join(["/v1/runs", quote(run_id, safe=""), *rest])


def _call(run_id: str, last: str | None) -> Call:
    headers = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}
    if last is not None:
        headers["Last-Event-ID"] = last
    return Call("GET", _path(run_id, "events"), headers=headers, timeout=_SILENCE)
