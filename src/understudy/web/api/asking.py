"""What an asking says besides its body: its idempotency key, and how long it wants to wait."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any

import fastapi.requests
from fastapi import Depends, Header
from pydantic import BaseModel

from understudy.app import App
from understudy.engine.run import Request
from understudy.engine.submission import MOST_KEY
from understudy.web.context import Server
from understudy.web.problem import MalformedError

LONGEST_WAIT = 60.0
"""Seconds: what `Prefer: wait` gets at most."""

_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_BARE = re.compile(r"[!#-\[\]-~]+")
KEY_PATTERN = r'^([!#-\[\]-~]{1,200}|"([ !#-\[\]-~]|\\["\\]){1,200}")$'
"""The same for the API's description."""

_WAIT = re.compile(r"wait(?:\s*=\s*\"?(\d{1,9})\"?)?", re.IGNORECASE | re.ASCII)


def key_of(header: str) -> str:
    """The key that an `Idempotency-Key` names: a quoted string (RFC 8941), or bare as most send it.

    Raises `MalformedError`.
    """
    given = header.strip()
    quoted = _QUOTED.fullmatch(given)
    key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else given
    if not (quoted or _BARE.fullmatch(given)) or not 0 < len(key) <= MOST_KEY:
        raise MalformedError(
            f"Idempotency-Key is 1 to {MOST_KEY} printable ASCII characters, best in double quotes",
            "header:idempotency-key",
        )
    return key


def wait_of(header: str) -> float | None:
    """The seconds that a `Prefer` header (RFC 7240) asks to wait; None if it does not.

    What else it prefers is ignored, as the RFC has it. `wait` alone is the longest.
    """
    for preference in header.split(","):
        found = _WAIT.fullmatch(preference.partition(";")[0].strip())
        if found:
            return min(float(found[1] or LONGEST_WAIT), LONGEST_WAIT)
    return None


def fingerprint(method: str, path: str, body: Any) -> str:
    """SHA-256 of what was asked; the order of an object's fields does not count."""
    asked = json.dumps([method, path, body], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(asked.encode("utf-8", "backslashreplace")).hexdigest()


@dataclasses.dataclass(frozen=True, slots=True)
class Asking:
    """How a request asks: under which key, and for how many seconds it waits."""

    web: fastapi.requests.Request
    key: str | None = None
    wait: float | None = None

    @property
    def app(self) -> App:
        """The app that is asked. From here it costs less than as a dependency of its own."""
        app: App = self.web.app.state.app
        return app

    @property
    def server(self) -> Server:
        """What the requests of this server share; the same."""
        server: Server = self.web.app.state.server
        return server

    def request(self, body: BaseModel | Mapping[str, Any]) -> Request | None:
        """What tells a repetition of this request from another one; None without a key.

        Fields that were left out count as such: the default of today need not be tomorrow's.
        """
        if self.key is None:
            return None
        if isinstance(body, BaseModel):
            body = body.model_dump(mode="json", exclude_unset=True)
        scope = self.web.scope
        return Request(self.key, fingerprint(scope["method"], scope["path"], body))


_KEY = Header(
    description="A key of your own, unique for each asking: the same request with it again is"
    " answered by the run of the first time. It is kept as long as the run.",
    examples=['"8e03978e-40d5-43e8-bc93-6894a57f9324"'],
    json_schema_extra={"pattern": KEY_PATTERN},
)
_PREFER = Header(
    description="`wait=N` holds the answer back until the run is done, for N seconds (at most"
    f" {LONGEST_WAIT:.0f}). Going away ends the wait and never the run.",
    examples=["wait=30"],
)


async def _repeatable(
    request: fastapi.requests.Request,
    idempotency_key: Annotated[str | None, _KEY] = None,
) -> Asking:
    return Asking(request, None if idempotency_key is None else key_of(idempotency_key))


async def _patient(
    request: fastapi.requests.Request,
    idempotency_key: Annotated[str | None, _KEY] = None,
    prefer: Annotated[str | None, _PREFER] = None,
) -> Asking:
    key = None if idempotency_key is None else key_of(idempotency_key)
    return Asking(request, key, None if prefer is None else wait_of(prefer))


async def _waiting(
    request: fastapi.requests.Request, prefer: Annotated[str | None, _PREFER] = None
) -> Asking:
    return Asking(request, wait=None if prefer is None else wait_of(prefer))


Repeatable = Annotated[Asking, Depends(_repeatable)]
"""With an `Idempotency-Key`."""

Patient = Annotated[Asking, Depends(_patient)]
"""With an `Idempotency-Key` and `Prefer: wait`."""

Waiting = Annotated[Asking, Depends(_waiting)]
"""With `Prefer: wait`."""
