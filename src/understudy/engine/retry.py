"""When a failed attempt is tried again. Pure."""

from __future__ import annotations

import dataclasses
import random

from understudy.errors import Error


@dataclasses.dataclass(frozen=True, slots=True)
class Retry:
    """Exponential backoff with jitter; delays in seconds.

    The n-th pause is drawn from the upper half of `first * factor ** (n - 1)`, capped at `maximum`
    ("equal jitter" of the AWS Architecture Blog, Exponential Backoff and Jitter, 2015).
    `Retry-After` of the error beats it. `Permanent` errors are never tried again.
    """

    attempts: int = 4
    first: float = 1.0
    factor: float = 2.0
    maximum: float = 60.0

    def __post_init__(self) -> None:
        # Asked for, and not against, so that NaN is refused.
        asked = (self.attempts >= 1, self.first >= 0, self.factor >= 1, self.maximum >= 0)
        if not all(asked):
            raise ValueError(f"{self} needs attempts >= 1, first >= 0, factor >= 1, maximum >= 0")

    def delay(self, attempt: int, error: BaseException, chance: random.Random) -> float | None:
        """Seconds to wait after failed attempt number `attempt`; None when it was the last one."""
        if attempt >= self.attempts or not getattr(error, "retriable", True):
            return None
        if isinstance(error, Error) and error.retry_after is not None:
            return max(0.0, error.retry_after)
        try:
            pause = min(self.maximum, self.first * self.factor ** (attempt - 1))
        except OverflowError:
            pause = self.maximum if self.first else 0.0
        return pause * chance.uniform(0.5, 1.0)
