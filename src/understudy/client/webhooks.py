"""For whoever is told of ended runs: check that a webhook came from the server, and read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict, ValidationError

from understudy import signing
from understudy.clock import BlockingClock, SystemBlockingClock
from understudy.signing import BadSignature
from understudy.wire import RunView

__all__ = ["BadSignature", "Webhook", "verify"]


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True)

    type: str
    timestamp: str
    data: RunView


class Webhook(_Told):
    """What was told: `type` such as `run.succeeded`, the run as `data`.

    `id` is the same each time that this is delivered: keep those you have dealt with.
    """

    id: str


def verify(
    secret: str | Sequence[str],
    headers: Mapping[str, str],
    body: bytes,
    *,
    tolerance: float = 300.0,
    clock: BlockingClock | None = None,
) -> Webhook:
    """The webhook, if it was signed with the secret (`whsec_…`) at most `tolerance` seconds ago.

    `body` is what came, byte for byte. With several secrets, as while one is replaced, one that
    fits is enough. Raises `BadSignature`, also for a body that no server of ours sends.
    """
    now = (clock or SystemBlockingClock()).now()
    known = signing.verify(secret, headers, body, now, tolerance)
    try:
        told = _Told.model_validate_json(body)
    except ValidationError as error:
        raise BadSignature(
            f"the signature fits, but this is no webhook of a run: {error}"
        ) from error
    return Webhook(id=known, **dict(told))
