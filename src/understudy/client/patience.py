"""How often a request is tried again, and after which pauses."""

from __future__ import annotations

import dataclasses
import random
from typing import TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from understudy.client.effects import Call, Now, Reply, Send, Sleep, Talk
from understudy.client.failures import failure_of, unreachable
from understudy.errors import Error, Unreachable

M = TypeVar("M", bound=BaseModel)

# The server did not do it, or whoever stands before it does not know; another try may help.
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
# These end before a byte of the request is sent.
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_GROWTH = 2.0


@dataclasses.dataclass(frozen=True, slots=True)
class Patience:
    """At most `attempts` tries; `first`, `longest` and `obeyed` are seconds.

    Pauses double from `first` to `longest`, give or take a half. A `Retry-After` of the server is
    kept instead; one over `obeyed` ends the tries, and the error says how long it would have been.
    """

    attempts: int = 5
    first: float = 0.5
    longest: float = 8.0
    obeyed: float = 60.0

    def pause(self, failures: int, asked: float | None) -> float | None:
        """Seconds before the next try, after so many failures; None to give up."""
        if failures >= self.attempts:
            return None
        if asked is not None:
            return asked if asked <= self.obeyed else None
        grown = min(self.longest, self.first * _GROWTH ** min(failures - 1, 30))
        return grown * random.uniform(0.5, 1.5)

    def longer(self) -> Patience:
        """For who only looks on, and may as well outlast a restart of the server."""
        return dataclasses.replace(self, attempts=self.attempts + 4)


def ask(call: Call, patience: Patience) -> Talk[Reply]:
    """The server's answer once it is a good one.

    A call is sent again after a failure that may pass: all that change something carry a key by
    which the server knows the second one. Raises `Error`.
    """
    failures = 0
    while True:
        now: float = yield Now()
        try:
            reply: Reply = yield Send(call)
        except httpx.RequestError as error:
            failure: Error = unreachable(error)
            may_pass = call.twice or isinstance(error, _NEVER_SENT)
        else:
            if reply.ok:
                return reply
            failure = failure_of(reply, now)
            may_pass = passes(reply, failure)
        failures += 1
        pause = patience.pause(failures, failure.retry_after) if may_pass else None
        if pause is None:
            raise failure
        yield Sleep(pause)


def passes(reply: Reply, failure: Error) -> bool:
    """Whether the same request may succeed later."""
    known = reply.status in _AGAIN or (reply.status == 409 and failure.retry_after is not None)
    return known and failure.retriable


def parsed(model: type[M], reply: Reply) -> M:
    """The body as its type. Raises `Unreachable` if something else than this API answers."""
    try:
        return model.model_validate_json(reply.content)
    except ValidationError as error:
        raise Unreachable(
            f"the answer is not what this API gives ({error.error_count()} faults, first: "
            f"{error.errors()[0]['msg']}); is the address that of an Understudy server?"
        ) from error
