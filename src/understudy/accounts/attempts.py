"""How often somebody may fail to sign in, from one address and from all of them, in this process.

Keys have too many random bits to be guessed; this keeps a guesser from costing anything, and the
audit readable.
"""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict

from understudy.clock import Clock
from understudy.errors import TooMany

WINDOW = 900.0
"""Seconds over which failures are counted, from the first one."""

FROM_ONE = 10
"""Failures from one address in that time."""

FROM_ALL = 500
"""Failures from all addresses in that time."""

KEPT = 10_000
"""Addresses remembered at once; the one that failed first is forgotten first."""


class Attempts:
    """Failures by address. Times are the clock's."""

    def __init__(self, clock: Clock, from_one: int = FROM_ONE, from_all: int = FROM_ALL) -> None:
        self._clock = clock
        self._limits = (from_one, from_all)
        self._from_all = _Window(clock.now())
        self._from: OrderedDict[str, _Window] = OrderedDict()

    def check(self, address: str) -> None:
        """Raise `TooMany`, with the seconds to wait, after too many failures."""
        now = self._clock.now()
        windows = (self._from.get(_network(address)), self._from_all)
        waits = [
            window.ends_in(now)
            for window, limit in zip(windows, self._limits, strict=True)
            if window is not None and window.count(now) >= limit
        ]
        if waits:
            raise TooMany("too many failed sign-ins; wait a while", retry_after=max(waits))

    def failed(self, address: str) -> bool:
        """Count a failure; whether it is one of the few that are worth a line in the audit."""
        now = self._clock.now()
        window = self._from.setdefault(_network(address), _Window(now))
        while len(self._from) > KEPT:
            self._from.popitem(last=False)
        one, every = window.add(now), self._from_all.add(now)
        return one <= self._limits[0] and every <= self._limits[1]


class _Window:
    """Failures since a time, forgotten after `WINDOW` seconds."""

    __slots__ = ("_failures", "_since")

    def __init__(self, now: float) -> None:
        self._since = now
        self._failures = 0

    def count(self, now: float) -> int:
        if not 0 <= now - self._since < WINDOW:
            self._since, self._failures = now, 0
        return self._failures

    def add(self, now: float) -> int:
        if self.count(now) == 0:
            self._since = now
        self._failures += 1
        return self._failures

    def ends_in(self, now: float) -> int:
        return math.ceil(self._since + WINDOW - now)


def _network(address: str) -> str:
    """Whom to count: an IPv4 address, or the /64 that one customer of a network has by IPv6."""
    try:
        known = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if known.version == 4:
        return str(known)
    if known.ipv4_mapped is not None:
        return str(known.ipv4_mapped)
    return str(ipaddress.ip_network((known, 64), strict=False))
