"""From an asking to a queued run. Pure."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel

from understudy import ids
from understudy.engine.codec import Codec
from understudy.engine.dotted import ABSENT, value_at
from understudy.engine.operation import Operation
from understudy.engine.run import Run
from understudy.errors import InvalidInput

MOST_KEY = 200
"""Characters of a key that are stored as they are."""

_EMBEDDED = "embedded"
_MOST_DELAY = 3_660 * 86_400.0
_MOST_URL = 2_000
_PLAIN = Codec()


@dataclasses.dataclass(frozen=True, slots=True)
class Asking:
    """Who asks, for whom, and how.

    The run is due after `delay` seconds. A second asking of the tenant for the same operation with
    the same `idempotency_key` is the same run. The address `webhook` is told of its end. Raises
    `InvalidInput`, which names the limit.
    """

    tenant: str
    user: str | None = None
    delay: float = 0.0
    idempotency_key: str | None = None
    webhook: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.delay <= _MOST_DELAY:
            raise InvalidInput(f"delay is 0 to {_MOST_DELAY:.0f} seconds, not {self.delay}")
        key = self.idempotency_key
        if key is not None and (not 0 < len(key) <= MOST_KEY or "\0" in key):
            raise InvalidInput(f"an idempotency key has 1 to {MOST_KEY} characters, none of them 0")
        if self.webhook is not None and not 0 < len(self.webhook) <= _MOST_URL:
            raise InvalidInput(f"the address of a webhook has 1 to {_MOST_URL} characters")


def new_run(
    operation: Operation[Any, Any],
    data: Mapping[str, Any] | BaseModel,
    asking: Asking,
    *,
    now: float,
) -> Run:
    """A queued run. Raises `InvalidInput`."""
    given = operation.parse(data)
    return _queued(
        operation,
        given.model_dump_json(),
        asking,
        head_start=operation.head_start(given),
        now=now,
    )


def triggered_run(operation: Operation[Any, Any], data: Any, asking: Asking, *, now: float) -> Run:
    """A queued run for a signal's `data`, any JSON, which becomes its input as it is.

    Nothing is refused here: a run that cannot read its input fails where everybody sees it, and
    takes nothing else of the signal with it.
    """
    text = _PLAIN.dump(data)
    try:
        read = new_run(operation, data, asking, now=now)
    except Exception:  # noqa: BLE001 - the author's validators and priority may raise anything
        return _queued(operation, text, asking, head_start=0.0, now=now)
    return read._replace(input=text)


def child_run(
    parent: Run,
    key: str,
    operation: Operation[Any, Any],
    data: Mapping[str, Any] | BaseModel,
    *,
    now: float,
) -> Run:
    """A run for the call step `key` of `parent`, whose tenant, user and root it shares.

    It must end when its parent must. The operation's own idempotency does not count: what makes
    the run unique is its parent's step.
    """
    run = new_run(operation, data, Asking(parent.tenant, parent.user), now=now)
    deadlines = [at for at in (run.deadline_at, parent.deadline_at) if at is not None]
    return run._replace(
        parent_id=parent.id,
        parent_key=key,
        root_id=parent.root_id,
        plan=parent.plan,
        deadline_at=min(deadlines, default=None),
        idempotency_key=None,
    )


def _queued(
    operation: Operation[Any, Any], text: str, asking: Asking, *, head_start: float, now: float
) -> Run:
    """The run of the input `text` (JSON), due `head_start` seconds early if it is due at once."""
    run_id = ids.ordered("run", now)
    due = now + asking.delay
    timeout = operation.timeout
    start_within = timeout.start_within if timeout else None
    keys = _keys(operation, asking, text)
    return Run(
        id=run_id,
        tenant=asking.tenant,
        user=asking.user,
        operation=operation.name,
        version=operation.version,
        input=text,
        status="queued",
        plan=_EMBEDDED,
        epoch=1,
        attempt=1,
        claim=None,
        worker=None,
        wake_at=due if asking.delay else now - head_start,
        cancel_requested_at=None,
        waiting_for=None,
        progress=None,
        output=None,
        error=None,
        parent_id=None,
        parent_key=None,
        root_id=run_id,
        lane=operation.lane,
        concurrency_key=keys.concurrency,
        throttle_key=keys.throttle,
        held=0,
        deadline_at=None if start_within is None else due + start_within,
        finish_within=timeout.finish_within if timeout else None,
        idempotency_key=asking.idempotency_key or keys.idempotency,
        forked_from=None,
        webhook=asking.webhook,
        change=0,
        created_at=now,
        started_at=None,
        ended_at=None,
    )


class _Keys(NamedTuple):
    """What a run counts under; None where its operation has no such limit."""

    concurrency: str | None = None
    throttle: str | None = None
    idempotency: str | None = None


def _keys(operation: Operation[Any, Any], asking: Asking, text: str) -> _Keys:
    if not operation.limited and not operation.idempotency:
        return _Keys()
    data = json.loads(text)
    concurrency = operation.concurrency.key if operation.concurrency else None
    throttle = operation.throttle
    return _Keys(
        concurrency=None if concurrency is None else _key(concurrency, asking, data),
        throttle=None if throttle is None else _key(throttle.key, asking, data),
        idempotency=_idempotency_key(operation.idempotency, data),
    )


def _key(key: str | None, asking: Asking, data: Any) -> str:
    """The value of a flow key: "" without a key, and for what is missing."""
    if key is None:
        return ""
    if key == "tenant":
        return asking.tenant
    if key == "user":
        # The tenant's own id of its customer: another tenant may have the same.
        return _stored(f"{asking.tenant}/{asking.user or ''}")
    value = value_at(data, key)
    if value is ABSENT or value is None:
        return ""
    return _stored(value if isinstance(value, str) else _canonical(value))


def _idempotency_key(paths: tuple[str, ...], data: Any) -> str | None:
    """The key of the values at `paths`; None if one is missing, for then nothing is the same."""
    values = [value_at(data, path) for path in paths]
    if not values or any(value is ABSENT for value in values):
        return None
    return _stored(f"input:{_canonical(values)}")


def _canonical(value: Any) -> str:
    """The same text for equal JSON."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _stored(key: str) -> str:
    """A key that fits an index of either database: a long one, or one with a NUL, as its hash."""
    if len(key) <= MOST_KEY and "\0" not in key:
        return key
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"
