"""`/v1/runs`: ask for a run, look at it, list runs, cancel, try again, replay."""

from __future__ import annotations

import http
import json
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from understudy.app import App
from understudy.engine.run import Accepted, Run, RunFilter, RunStatus, Step
from understudy.engine.view import run_view
from understudy.errors import AddressRefused, UnknownOperation
from understudy.web.api import answers, pages
from understudy.web.api.answers import RunId, refused, says
from understudy.web.api.asking import Asking, Patient, Waiting
from understudy.web.api.values import TEXT, JsonObject, Moment, whole
from understudy.web.auth import Reader, Submitter
from understudy.web.context import TheApp
from understudy.web.problem import PointedError
from understudy.wire import RunPage, RunView, StepDetail, StepPage

router = APIRouter(prefix="/v1/runs", tags=["runs"])

HOUSE = frozenset({"deliver-webhook", "erase-user", "retention"})
"""Operations that the server asks of itself: to ask for one by name takes the scope `admin`."""

LONGEST_DELAY = 3_660 * 86_400.0


class Asked(BaseModel):
    """The body that asks for a run. The OpenAPI document has one for each operation instead."""

    model_config = ConfigDict(extra="forbid", strict=True)

    operation: str = Field(
        min_length=1, max_length=200, description="Its name; `GET /v1/operations` lists them."
    )
    input: JsonObject = Field(
        default_factory=dict, description="As the operation's input schema has it."
    )
    user: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        pattern=TEXT,
        description="Whom it is for: your own id of your customer.",
    )
    delay: float = Field(
        default=0.0, ge=0, le=LONGEST_DELAY, description="Seconds until it is due."
    )
    webhook: str | None = Field(
        default=None,
        min_length=1,
        max_length=2_000,
        pattern=TEXT,
        description="A URL that is told of the run's end, signed.",
    )


class Replay(BaseModel):
    """The body that asks for a run again."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [{}]})

    input: JsonObject | None = Field(
        default=None, description="Another input; without it, the run's own."
    )


class Listing(BaseModel):
    """Which runs to list, and which page of them."""

    model_config = ConfigDict(extra="forbid")

    operation: str | None = Field(default=None, max_length=200, pattern=TEXT)
    status: RunStatus | None = None
    user: str | None = Field(default=None, max_length=200, pattern=TEXT)
    since: Moment | None = Field(default=None, description="Created then or later.")
    until: Moment | None = Field(default=None, description="Created before.")
    unfinished: bool = Field(default=False, description="Only what has not ended.")
    limit: int = Field(default=50, ge=1, le=200, description="How many a page.")
    page: str | None = Field(
        default=None, max_length=500, description="`next` of the page before; all else the same."
    )

    @property
    def question(self) -> str:
        """What the pages of one list have in common."""
        return self.model_dump_json(exclude={"limit", "page"})


_PLACED = {"location": answers.LOCATION, "retry_after": answers.RETRY_AFTER}
_MADE = {**_PLACED, "idempotent_replayed": answers.REPLAYED}
_TAKEN: dict[int | str, dict[str, Any]] = {
    202: says(RunView, "Accepted and durable; follow `Location`, or its `urls`.", **_MADE),
    200: says(RunView, "The run is done already.", **_MADE),
}
_WAITED: dict[int | str, dict[str, Any]] = {
    status: {**said, "headers": {**said["headers"], "Preference-Applied": answers.PREFERENCE}}
    for status, said in _TAKEN.items()
}


@router.post(
    "",
    status_code=http.HTTPStatus.ACCEPTED,
    response_model=RunView,
    responses={
        **_WAITED,
        **refused(
            "unknown_operation", "invalid_input", "idempotency_key_reused", "address_refused"
        ),
    },
)
async def submit(who: Submitter, asked: Asked, asking: Patient) -> Response:
    """Ask for a run. It is durable when the answer comes, and goes on whatever becomes of you."""
    app = asking.app
    if asked.operation in HOUSE:
        who.require("admin")
    _check_input(app, asked.operation, asked.input)
    webhook = asked.webhook and await _told(app, who.tenant, asked.webhook)
    made = await app.engine.accept(
        asked.operation,
        asked.input,
        tenant=who.tenant,
        request=asking.request(asked),
        user=asked.user,
        delay=asked.delay,
        webhook=webhook,
    )
    return await _taken(made, asking)


@router.get("", responses=refused("malformed", "invalid_input"))
async def listing(app: TheApp, who: Reader, wanted: Annotated[Listing, Query()]) -> RunPage:
    """List runs, the newest first, without their steps. `next` is the token of the next page."""
    before = None if wanted.page is None else pages.place_of(wanted.page, wanted.question)
    found = await app.engine.list(
        RunFilter(
            tenant=who.tenant,
            operation=wanted.operation,
            status=wanted.status,
            user=wanted.user,
            since=None if wanted.since is None else wanted.since.timestamp(),
            until=None if wanted.until is None else wanted.until.timestamp(),
            unfinished=wanted.unfinished,
            before_id=before,
            limit=wanted.limit + 1,
        )
    )
    shown = found[: wanted.limit]
    more = len(found) > wanted.limit
    return RunPage(
        items=[answers.linked(app, view) for view in await app.engine.show_many(shown)],
        next=pages.token_for(shown[-1].id, wanted.question) if more else None,
    )


@router.get(
    "/{run_id}",
    response_model=RunView,
    responses={
        200: says(
            RunView,
            "The run as it stands.",
            retry_after=answers.RETRY_AFTER,
            preference_applied=answers.PREFERENCE,
        ),
        **refused("not_found"),
    },
)
async def show(who: Reader, run_id: RunId, asking: Waiting) -> Response:
    """Look at a run: its state, its steps, what it waits for, and when it will probably end."""
    app = asking.app
    waited = {}
    if asking.wait is not None:
        waited = await _waited(await app.engine.get(run_id, who.tenant), asking)
    view = await app.engine.view(run_id, tenant=who.tenant)
    return answers.answer(answers.linked(app, view), pending=http.HTTPStatus.OK, headers=waited)


@router.get("/{run_id}/steps", responses=refused("not_found"))
async def steps(app: TheApp, who: Reader, run_id: RunId) -> StepPage:
    """What a run remembers, in the order of its calls, with what each step returned."""
    run = await app.engine.get(run_id, who.tenant)
    found = await app.engine.steps(run_id, who.tenant)
    views = run_view(run, found).steps
    return StepPage(items=[_detail(step, view) for step, view in zip(found, views, strict=True)])


@router.post(
    "/{run_id}/cancel",
    response_model=RunView,
    responses={
        200: says(RunView, "It is canceled."),
        202: says(RunView, "Its running steps are being stopped.", **_PLACED),
        **refused("not_found", "conflict"),
    },
)
async def cancel(app: TheApp, who: Submitter, run_id: RunId) -> Response:
    """Cancel a run and its children. Again is no error; it may still end otherwise."""
    return answers.answer(await answers.viewed(app, await app.engine.cancel(run_id, who.tenant)))


@router.post(
    "/{run_id}/retry",
    status_code=http.HTTPStatus.ACCEPTED,
    response_model=RunView,
    responses={
        202: says(RunView, "Queued again.", **_PLACED),
        200: says(RunView, "It was tried again at once, and has ended."),
        **refused("not_found", "conflict"),
    },
)
async def retry(app: TheApp, who: Submitter, run_id: RunId) -> Response:
    """Try a failed or canceled run again: the steps that it finished are kept."""
    return answers.answer(await answers.viewed(app, await app.engine.retry(run_id, who.tenant)))


@router.post(
    "/{run_id}/replay",
    status_code=http.HTTPStatus.ACCEPTED,
    response_model=RunView,
    responses={
        **_WAITED,
        **refused("not_found", "unknown_operation", "invalid_input", "idempotency_key_reused"),
    },
)
async def replay(
    who: Submitter, run_id: RunId, asking: Patient, again: Replay | None = None
) -> Response:
    """Ask for the same again as a new run, with the same input or an edited one."""
    app, again = asking.app, again or Replay()
    run = await app.engine.get(run_id, who.tenant)
    if run.operation in HOUSE:
        who.require("admin")
    if again.input is not None:
        _check_input(app, run.operation, again.input)
    made = await app.engine.replay(run_id, who.tenant, again.input, asking.request(again))
    return await _taken(made, asking)


def _check_input(app: App, operation: str, given: Mapping[str, Any]) -> None:
    """Raise unless the input fits the schema as it is: no text is taken for a number here."""
    try:
        wanted = app.registry.get(operation)
    except UnknownOperation as error:
        raise PointedError(error, "/operation") from error
    wanted.check(json.dumps(whole(given)))


async def _told(app: App, tenant: str, url: str) -> str:
    """The address that is told of the run's end, as it is kept."""
    try:
        return await app.webhooks.accept(tenant, url)
    except AddressRefused as error:
        raise PointedError(error, "/webhook") from error


async def _taken(made: Accepted, asking: Asking) -> Response:
    """The answer to an asking, once its wait is over if it waits."""
    app = asking.app
    asking.server.metrics.accepted.labels(made.run.operation, str(made.replayed).lower()).inc()
    if asking.wait is not None or made.replayed:
        return await answers.accepted(app, made, await _waited(made.run, asking))
    # As it was stored a moment ago: whoever asks by the thousand pays for no look at the queues.
    return answers.answer(answers.linked(app, run_view(made.run, ())))


async def _waited(run: Run, asking: Asking) -> dict[str, str]:
    """Return when the run is done, the wait is over or nobody waits; the headers that say so."""
    if asking.wait is None:
        return {}
    async with asking.server.holding(asking.web.receive, asking.wait):
        async for change in asking.app.engine.watching.watch(run.id, run.tenant):
            if change.run.done:
                break
    return {"Preference-Applied": f"wait={asking.wait:g}"}


def _detail(step: Step, view: Any) -> StepDetail:
    result = None if step.result is None else json.loads(step.result)
    return StepDetail(**view.model_dump(), name=step.name, result=result)
