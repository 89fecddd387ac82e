"""Webhooks: an address is told that a run has ended, by a run of its own.

That run is queued in the transaction that ends the other one, so neither can be without the other.
Its one step is tried again for about a day; there is no second machine for retries.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from understudy.accounts.webhooks import Webhook, Webhooks
from understudy.clock import Clock
from understudy.engine.consequences import submission_of
from understudy.engine.context import Context
from understudy.engine.flow import Concurrency
from understudy.engine.operation import operation
from understudy.engine.retry import Retry
from understudy.engine.run import Run, Submission
from understudy.engine.submission import Asking, new_run
from understudy.errors import AddressRefused, Error, NotFound, Permanent, Unreachable
from understudy.outbound import Fetcher
from understudy.signing import signed_headers
from understudy.wire import RunView

_WITHIN = 20.0
"""Seconds that a receiver has for its answer."""

_GONE = 410


class Delivery(BaseModel):
    """What is to be told: that the run's `attempt` came to this end, to whom."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    run_id: str
    url: str
    event: Literal["run.succeeded", "run.failed", "run.canceled"]
    attempt: int = Field(default=1, ge=1)


class Delivered(BaseModel):
    """What became of it, and the HTTP `status` of the answer if there was one.

    `disabled`: the address is switched off. `outdated`: the run was tried again meanwhile, and its
    new end is told instead. `gone`: the run was deleted.
    """

    state: Literal["delivered", "disabled", "outdated", "gone"]
    status: int | None = None


class View(Protocol):
    """How a run stands, as its tenant may see it. Raises NotFound."""

    async def __call__(self, run_id: str, *, tenant: str) -> RunView:
        """The run with its steps."""
        ...


@dataclasses.dataclass(frozen=True)
class Courier:
    """Brings what is told to its address, signed, and remembers how the address does."""

    webhooks: Webhooks
    fetcher: Fetcher
    clock: Clock
    view: View
    tenant: str

    async def deliver(self, delivery: Delivery) -> Delivered:
        """One try. Raises Unreachable when another may help, else a Permanent error."""
        hook = await self.webhooks.register(self.tenant, delivery.url)
        if not hook.enabled:
            return Delivered(state="disabled")
        try:
            run = await self.view(delivery.run_id, tenant=self.tenant)
        except NotFound:
            return Delivered(state="gone")
        if run.attempt != delivery.attempt or not run.done:
            return Delivered(state="outdated")
        return await self._send(hook, delivery, run)

    async def _send(self, hook: Webhook, delivery: Delivery, run: RunView) -> Delivered:
        body = message_of(delivery.event, run)
        secrets = await self.webhooks.secrets(hook.tenant, hook.id)
        headers = signed_headers(secrets, message_id(run), int(self.clock.now()), body)
        headers["Content-Type"] = "application/json"
        try:
            posted = await self.fetcher.post(delivery.url, body, headers, within=_WITHIN)
        except (AddressRefused, Unreachable) as error:
            await self._failed(hook, error)
            raise
        if posted.taken:
            await self.webhooks.taken(hook)
            return Delivered(state="delivered", status=posted.status)
        said = f"{hook.url} answered {posted.status}"
        if posted.status == _GONE:
            await self.webhooks.disable(hook.tenant, hook.id, "it answered 410: it is gone")
            raise Permanent(f"{said} and was switched off", category="network")
        failure = Unreachable(said, retry_after=posted.retry_after)
        await self._failed(hook, failure)
        raise failure

    async def _failed(self, hook: Webhook, error: Error) -> None:
        """Note it. Raises Permanent once the address is switched off for it."""
        after = await self.webhooks.failed(hook, error.message)
        if not after.enabled:
            said = f"{error.message}; it was switched off: {after.reason}"
            raise Permanent(said, category="network") from error


def message_id(run: RunView) -> str:
    """The same for every try and every repetition, so that a receiver knows what it has seen."""
    return f"msg_{run.id.removeprefix('run_')}_{run.attempt}"


def message_of(event: str, run: RunView) -> bytes:
    """The body: `{"type", "timestamp", "data"}`, where `data` is the run without its steps."""
    data = run.model_copy(update={"steps": []}).model_dump(mode="json")
    message = {"type": event, "timestamp": run.ended_at, "data": data}
    return json.dumps(message, separators=(",", ":")).encode()


# The pauses grow from 5 seconds to 8 hours: a day in all.
@operation(
    "deliver-webhook",
    retry=Retry(attempts=12, first=5.0, factor=3.0, maximum=8 * 3600.0),
    concurrency=Concurrency(key="url", each=16),
    examples={
        "succeeded": Delivery(
            run_id="run_01kafyb8xq2c4e6g8j0m2p4r6t",
            url="https://example.com/told",
            event="run.succeeded",
        )
    },
)
async def deliver_webhook(ctx: Context, input: Delivery, *, courier: Courier) -> Delivered:  # noqa: A002
    """Tell an address that a run has ended."""
    return await ctx.step("post", courier.deliver, input)


def told_of(run: Run) -> Submission | None:
    """The run that tells of this one's end; None if it has not ended, or names no address."""
    if run.webhook is None or run.ended_at is None:
        return None
    return delivery_of(run, key=f"webhook:{run.id}:{run.attempt}", now=run.ended_at)


def delivery_of(run: Run, *, key: str | None, now: float) -> Submission:
    """The run that tells of an ended run; with the `key` of an earlier one it is the same run."""
    told = {"run_id": run.id, "url": run.webhook, "event": f"run.{run.status}"}
    delivery = {**told, "attempt": run.attempt}
    asking = Asking(run.tenant, run.user, idempotency_key=key)
    return submission_of(deliver_webhook, new_run(deliver_webhook, delivery, asking, now=now))
