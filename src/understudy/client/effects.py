"""What a talk with the server asks of whoever drives it: send this, wait so long, hand that out.

A *talk* is a generator. It yields effects and is sent their results, so it does no input or output
itself: `sync.py` and `aio.py` drive the same talks, one by blocking, one on an event loop.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Mapping
from typing import Any, TypeVar

import httpx

from understudy.client.body import Body

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """One request. `timeout` is in seconds without a byte; None is the client's own."""

    method: str
    path: str
    query: Mapping[str, str | int] = dataclasses.field(default_factory=dict)
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    body: bytes | Body | None = None
    timeout: float | None = None
    twice: bool = True
    """Whether the server may get it again when nobody knows what became of the first one."""


@dataclasses.dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a request; of one that is read piece by piece, without its content."""

    status: int
    headers: httpx.Headers
    content: bytes = b""

    @property
    def ok(self) -> bool:
        """Whether the server did what it was asked."""
        return 200 <= self.status < 300


@dataclasses.dataclass(frozen=True, slots=True)
class Send:
    """Send the call; the result is a whole `Reply`. Raises `httpx.RequestError` into the talk."""

    call: Call


@dataclasses.dataclass(frozen=True, slots=True)
class Open:
    """Send the call and leave its answer open for `Read`; what was open before is closed.

    The result is a `Reply`: whole if the server refused, else without content.
    """

    call: Call


@dataclasses.dataclass(frozen=True, slots=True)
class Read:
    """The next bytes of the open answer; None at its end."""


@dataclasses.dataclass(frozen=True, slots=True)
class Sleep:
    """Let so many seconds pass."""

    seconds: float


@dataclasses.dataclass(frozen=True, slots=True)
class Now:
    """Seconds since 1970, by the driver's clock."""


@dataclasses.dataclass(frozen=True, slots=True)
class Do:
    """Call a function that blocks on the disk; its result or its error comes back."""

    function: Callable[[], Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Emit:
    """Hand a value to the caller and go on when he asks for the next one."""

    value: Any


Effect = Send | Open | Read | Sleep | Now | Do | Emit
Talk = Generator[Effect, Any, T]
