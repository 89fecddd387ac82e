"""Understudy: durable runs for AI media work.

What an operation's author needs is here; everything else is imported from its own module.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from understudy.artifacts.artifact import Artifact, ArtifactId
    from understudy.artifacts.artifacts import Artifacts
    from understudy.engine.context import Context
    from understudy.engine.cron import Cron
    from understudy.engine.flow import (
        CancelOn,
        Concurrency,
        Failure,
        Throttle,
        Timeout,
        Trigger,
    )
    from understudy.engine.operation import Operation, operation
    from understudy.engine.retry import Retry
    from understudy.errors import (
        Diverged,
        Error,
        InputError,
        Permanent,
        StepFailed,
        StepTimeout,
        Transient,
        WaitTimeout,
    )

_HOMES = {
    "Artifact": "understudy.artifacts.artifact",
    "ArtifactId": "understudy.artifacts.artifact",
    "Artifacts": "understudy.artifacts.artifacts",
    "CancelOn": "understudy.engine.flow",
    "Concurrency": "understudy.engine.flow",
    "Context": "understudy.engine.context",
    "Cron": "understudy.engine.cron",
    "Diverged": "understudy.errors",
    "Error": "understudy.errors",
    "Failure": "understudy.engine.flow",
    "InputError": "understudy.errors",
    "Operation": "understudy.engine.operation",
    "Permanent": "understudy.errors",
    "Retry": "understudy.engine.retry",
    "StepFailed": "understudy.errors",
    "StepTimeout": "understudy.errors",
    "Throttle": "understudy.engine.flow",
    "Timeout": "understudy.engine.flow",
    "Transient": "understudy.errors",
    "Trigger": "understudy.engine.flow",
    "WaitTimeout": "understudy.errors",
    "operation": "understudy.engine.operation",
}

__version__ = "0.1.0"

__all__ = [
    "Artifact",
    "ArtifactId",
    "Artifacts",
    "CancelOn",
    "Concurrency",
    "Context",
    "Cron",
    "Diverged",
    "Error",
    "Failure",
    "InputError",
    "Operation",
    "Permanent",
    "Retry",
    "StepFailed",
    "StepTimeout",
    "Throttle",
    "Timeout",
    "Transient",
    "Trigger",
    "WaitTimeout",
    "operation",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that `--help` stays quick."""
    if name not in _HOMES:
        raise AttributeError(f"module 'understudy' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
