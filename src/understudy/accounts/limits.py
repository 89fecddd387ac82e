"""How often, and how many times at once, a key may ask: a token bucket for each, in this process.

Several processes each grant the whole of it: these limits keep one caller from pushing the others
aside, and are no quota to be billed by.
"""

from __future__ import annotations

import dataclasses
import math

from understudy.accounts.principal import Principal
from understudy.clock import Clock
from understudy.errors import TooMany

KEPT = 10_000
"""Callers remembered at once; those who ask for nothing now are forgotten first."""

_MINUTE = 60.0


@dataclasses.dataclass(slots=True)
class Allowance:
    """What one caller has left. `left` tokens at the time `at`; `inside` requests at once."""

    per_minute: int
    at_once: int
    left: float
    at: float
    inside: int = 0

    def refill(self, now: float) -> None:
        """Add the tokens that have come since."""
        passed = max(0.0, now - self.at)  # a clock may be set back
        self.left = min(float(self.per_minute), self.left + passed * self.per_minute / _MINUTE)
        self.at = now

    def leave(self) -> None:
        """A request has ended."""
        self.inside -= 1

    @property
    def next_in(self) -> int:
        """Whole seconds until there is a token again; 0 when there is one."""
        if self.left >= 1:
            return 0
        return math.ceil((1 - self.left) * _MINUTE / self.per_minute)

    @property
    def headers(self) -> dict[str, str]:
        """`RateLimit-Policy` and `RateLimit` as the IETF's draft 10 writes them.

        `r` is what is left; `t` the seconds until all is there again, or, with nothing left, until
        the next request may come.
        """
        full_in = math.ceil((self.per_minute - self.left) * _MINUTE / self.per_minute)
        wait = self.next_in or full_in
        return {
            "RateLimit-Policy": f'"requests";q={self.per_minute};w=60, '
            f'"at-once";q={self.at_once};qu="concurrent-requests"',
            "RateLimit": f'"requests";r={math.floor(self.left)};t={wait}, '
            f'"at-once";r={max(0, self.at_once - self.inside)}',
        }


class Limits:
    """The allowances of all callers of this process.

    `per_minute` and `at_once` hold for keys that have no limits of their own.
    """

    def __init__(self, clock: Clock, per_minute: int, at_once: int) -> None:
        self._clock = clock
        self._per_minute = per_minute
        self._at_once = at_once
        self._of: dict[tuple[str, str], Allowance] = {}

    def of(self, principal: Principal) -> Allowance:
        """What a caller has left now."""
        now = self._clock.now()
        who = (principal.tenant, principal.key_id or principal.name)
        per_minute = principal.per_minute or self._per_minute
        at_once = principal.at_once or self._at_once
        allowance = self._of.get(who)
        if allowance is None:
            if len(self._of) >= KEPT:
                self._forget(now)
            allowance = self._of[who] = Allowance(per_minute, at_once, float(per_minute), now)
        allowance.per_minute, allowance.at_once = per_minute, at_once
        allowance.refill(now)
        return allowance

    def enter(self, principal: Principal) -> Allowance:
        """Let a request in, which calls `leave` at its end.

        Raises `TooMany`, with the seconds after which to come again.
        """
        allowance = self.of(principal)
        if allowance.left < 1:
            raise TooMany(
                f"this key may ask {allowance.per_minute} times a minute",
                retry_after=allowance.next_in,
            )
        if allowance.inside >= allowance.at_once:
            raise TooMany(f"this key may ask {allowance.at_once} times at once", retry_after=1)
        allowance.left -= 1
        allowance.inside += 1
        return allowance

    def _forget(self, now: float) -> None:
        for who, allowance in list(self._of.items()):
            allowance.refill(now)
            if allowance.inside == 0 and allowance.left >= allowance.per_minute:
                del self._of[who]
