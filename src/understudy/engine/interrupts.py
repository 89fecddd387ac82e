"""Why a driver stops before its operation ends: no errors, `except Exception` lets them pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Interrupt(BaseException):
    """The operation is being stopped from outside; let it pass."""


class SuspendInterrupt(Interrupt):
    """Everything the run does is waiting: it leaves memory until `until` (seconds), or a wake."""

    def __init__(self, until: float | None, waiting_for: Mapping[str, Any]) -> None:
        super().__init__(until)
        self.until = until
        self.waiting_for = waiting_for


class CancelInterrupt(Interrupt):
    """Somebody canceled the run."""


class TimeoutInterrupt(Interrupt):
    """The run's deadline has passed."""


class ReleaseInterrupt(Interrupt):
    """The worker is shutting down and hands the run back."""


class EndedInterrupt(Interrupt):
    """The operation has ended; a call that it left behind begins nothing more."""


class SupersededInterrupt(Interrupt):
    """The run has another owner now; whatever this driver does no longer counts."""
