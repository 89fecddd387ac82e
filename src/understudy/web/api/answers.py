"""What the routes about runs answer with: the run's view with its links, and headers to go on."""

from __future__ import annotations

import http
import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any

from fastapi import Path
from fastapi.responses import Response

from understudy.app import App
from understudy.engine.run import Accepted, Run
from understudy.web.problem import MEDIA_TYPE, PROBLEMS
from understudy.wire import ProblemView, RunUrls, RunView

AGAIN_SECONDS = 1
"""How soon it is worth looking at an unfinished run again, for those who poll."""

RunId = Annotated[
    str,
    Path(
        pattern=r"^[0-9A-Za-z_]{1,64}$",
        description="The run's id.",
        examples=["run_01kafyb8xq2c4e6g8j0m2p4r6t"],
    ),
]

LOCATION = {"description": "Where the run is.", "schema": {"type": "string"}}
RETRY_AFTER = {
    "description": "Seconds after which it is worth looking again.",
    "schema": {"type": "integer"},
}
REPLAYED = {
    "description": "`true` when this asking was accepted before under the same key.",
    "schema": {"type": "string", "const": "true"},
}
PREFERENCE = {
    "description": "The preference that was followed.",
    "schema": {"type": "string"},
}


_LINKS = {
    name: {"operationId": f"runs_{name}", "parameters": {"run_id": "$response.body#/id"}}
    for name in ("show", "steps", "events", "cancel", "retry", "replay")
}
"""What can be done with a run that was answered, for those who read the OpenAPI document."""

_NONE: Mapping[str, str] = MappingProxyType({})


def run_urls(app: App, run_id: str) -> RunUrls:
    """The run's links: absolute with `public_url`, else relative to the server."""
    at = f"{origin(app)}/v1/runs/{run_id}"
    return RunUrls(
        self=at,
        steps=f"{at}/steps",
        events=f"{at}/events",
        cancel=f"{at}/cancel",
        retry=f"{at}/retry",
        replay=f"{at}/replay",
    )


def origin(app: App) -> str:
    """What stands before a path in links."""
    return app.settings.public_url.rstrip("/")


def linked(app: App, view: RunView) -> RunView:
    """The view with its links."""
    return view.model_copy(update={"urls": run_urls(app, view.id)})


async def viewed(app: App, run: Run) -> RunView:
    """A run's view with its links, as it stands now."""
    return linked(app, await app.engine.view(run.id, tenant=run.tenant))


def answer(
    view: RunView, *, pending: int = http.HTTPStatus.ACCEPTED, headers: Mapping[str, str] = _NONE
) -> Response:
    """The run as JSON: 200 once it is done, else `pending` and when to look again."""
    said = dict(headers)
    if view.urls is not None:
        said["Location"] = view.urls.self
    if not view.done:
        said["Retry-After"] = str(AGAIN_SECONDS)
    status = http.HTTPStatus.OK if view.done else pending
    return Response(view.model_dump_json(), status, said, media_type="application/json")


async def accepted(app: App, made: Accepted, headers: Mapping[str, str] = _NONE) -> Response:
    """The answer to an asking for a run: 202, and a header if it was asked before."""
    repeated = {"Idempotent-Replayed": "true"} if made.replayed else {}
    return answer(await viewed(app, made.run), headers={**headers, **repeated})


def says(model: type[Any], description: str, **headers: Mapping[str, Any]) -> dict[str, Any]:
    """A response for the OpenAPI document, with its headers; `retry_after` is `Retry-After`."""
    named = {name.replace("_", "-").title(): dict(value) for name, value in headers.items()}
    links = {"links": _LINKS} if model is RunView else {}
    return {"model": model, "description": description, "headers": named, **links}


def refused(*codes: str) -> dict[int | str, dict[str, Any]]:
    """The refusals of a route for the OpenAPI document, by code: `refused("not_found")`."""
    by_status: dict[int, list[str]] = {}
    for code in codes:
        by_status.setdefault(PROBLEMS[code].status, []).append(code)
    return {status: _refusal(found) for status, found in by_status.items()}


def _refusal(codes: Sequence[str]) -> dict[str, Any]:
    kinds = [PROBLEMS[code] for code in codes]
    examples = {
        kind.code: {
            "summary": kind.title,
            "value": json.loads(
                ProblemView(
                    type=kind.type,
                    title=kind.title,
                    status=kind.status,
                    detail=kind.meaning,
                    code=kind.code,
                    category=kind.category,
                ).model_dump_json()
            ),
        }
        for kind in kinds
    }
    schema = {"$ref": "#/components/schemas/ProblemView"}
    return {
        "description": " ".join(f"`{kind.code}`: {kind.meaning}" for kind in kinds),
        "content": {MEDIA_TYPE: {"schema": schema, "examples": examples}},
    }
