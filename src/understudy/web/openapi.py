"""The OpenAPI 3.1 document: what FastAPI reads off the routes, and what all of them have in common.

Every route may refuse a request without a key, over a limit or with a body that does not fit; this
is said here once, by what the route takes, so that no route forgets it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

import understudy
from understudy.engine.registry import Registry
from understudy.web.api.answers import refused
from understudy.web.api.runs import HOUSE
from understudy.wire import EventView, ProblemView, RunView

ABOUT = """
Ask for a run, follow it, take what it made. A run is durable once its `202` is here: it survives
any crash and never repeats a finished step. Refusals are `application/problem+json`; decide by
their `code`. Fields and events may be added: ignore what you do not know.
"""

_TAGS = {
    "runs": "Ask for runs, follow them and act on them.",
    "operations": "What can be asked for.",
    "artifacts": "Files that go in and come out.",
    "signals": "Messages to waiting runs.",
    "webhooks": "Who is told of a run's end.",
    "queue": "What is unfinished.",
    "users": "The people whom runs are for.",
    "health": "For those who run the server.",
    "problems": "What refusals mean.",
}
_METHODS = frozenset({"get", "put", "post", "delete", "patch"})
_SCHEMAS = "#/components/schemas/{model}"


def _header(text: str, kind: str = "string") -> dict[str, Any]:
    return {"description": text, "schema": {"type": kind}}


_RETRY_AFTER = _header("Seconds after which it is worth coming again.", "integer")
_CHALLENGE = _header("How to say who you are.")
_LIMITS = {
    "RateLimit-Policy": _header("The limits of the key (draft-ietf-httpapi-ratelimit-headers)."),
    "RateLimit": _header("What is left of them."),
}


def install(api: FastAPI, registry: Registry) -> None:
    """Have `/openapi.json` answer with the whole document, made once."""

    def made() -> dict[str, Any]:
        if api.openapi_schema is None:
            api.openapi_schema = document(api, registry)
        return api.openapi_schema

    api.openapi = made  # type: ignore[method-assign] # FastAPI's own way to extend it


def document(api: FastAPI, registry: Registry) -> dict[str, Any]:
    """The document of an application's routes, and of what can be asked for."""
    said = get_openapi(
        title="Understudy",
        version=understudy.__version__,
        summary="Durable runs for AI media work.",
        description=ABOUT,
        routes=api.routes,
        tags=[{"name": name, "description": text} for name, text in _TAGS.items()],
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    schemas = said.setdefault("components", {}).setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    for model in (ProblemView, RunView, EventView):
        made = model.model_json_schema(ref_template=_SCHEMAS, mode="serialization")
        for name, inner in made.pop("$defs", {}).items():
            schemas.setdefault(name, inner)
        schemas.setdefault(model.__name__, made)
    schemas |= _askings(schemas["Asked"], registry)
    for method, operation in _operations(said):
        _complete(method, operation)
    said["webhooks"] = _webhooks()
    return said


def _askings(asked: dict[str, Any], registry: Registry) -> dict[str, Any]:
    """The body that asks for a run, one form for each operation, with that one's own input."""
    schemas: dict[str, Any] = {}
    for operation in registry:
        if operation.name in HOUSE:
            continue
        name = f"{operation.name}.{{model}}"
        given = operation.input.model_json_schema(ref_template=_SCHEMAS.format(model=name))
        for inner, schema in given.pop("$defs", {}).items():
            schemas[name.format(model=inner)] = schema
        required = ["operation", *(["input"] if given.get("required") else [])]
        wanted = {"type": "string", "const": operation.name}
        examples = [
            {"operation": operation.name, "input": example.model_dump(mode="json")}
            for example in operation.examples.values()
        ]
        schemas[name.format(model="input")] = given
        schemas[name.format(model="asked")] = {
            **asked,
            "title": operation.name,
            "description": operation.summary,
            "properties": asked["properties"]
            | {
                "operation": wanted,
                "input": {"$ref": _SCHEMAS.format(model=name.format(model="input"))},
            },
            "required": required,
            "examples": examples,
        }
    forms = [name for name in schemas if name.endswith(".asked")]
    return schemas | {"Asked": {"oneOf": [{"$ref": _SCHEMAS.format(model=form)} for form in forms]}}


def _operations(said: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in said["paths"].values():
        yield from ((method, one) for method, one in path.items() if method in _METHODS)


def _complete(method: str, operation: dict[str, Any]) -> None:
    """Add the refusals and headers that come with what the operation takes."""
    for given in operation.get("parameters", ()):
        given["schema"] = _without_null(given["schema"])
    responses = operation["responses"]
    if "HTTPValidationError" in str(responses.get("422")):
        del responses["422"]
    for status, refusal in refused(*dict.fromkeys(_codes(method, operation))).items():
        _merge(responses.setdefault(str(status), {}), refusal)
    for status, answer in responses.items():
        headers = _LIMITS if operation.get("security") else {}
        if status in {"429", "503"}:
            headers = headers | {"Retry-After": _RETRY_AFTER}
        if status == "401":
            headers = headers | {"WWW-Authenticate": _CHALLENGE}
        if headers:
            answer["headers"] = headers | answer.get("headers", {})


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a parameter that may be left out: it is never the word null."""
    some: list[dict[str, Any]] = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    if len(some) != 1:
        return schema
    return {key: schema[key] for key in schema.keys() - {"anyOf", "default"}} | some[0]


def _codes(method: str, operation: dict[str, Any]) -> Iterator[str]:
    """How an operation may refuse, by what it takes."""
    yield "internal"
    if operation.get("security"):
        yield from ("unauthorized", "forbidden", "too_many", "storage")
    if method != "get":
        yield "storage_full"
    if operation.get("requestBody"):
        yield from ("malformed", "invalid_input", "too_large", "too_slow")
    places = {given["in"] for given in operation.get("parameters", ())}
    if places & {"query", "header"}:
        yield from ("malformed", "invalid_input")
    if "path" in places:
        yield "not_found"


def _merge(response: dict[str, Any], refusal: dict[str, Any]) -> None:
    """Say a refusal beside what the route itself says of that status."""
    if "content" not in response:
        response.update(refusal | {key: response[key] for key in ("headers",) if key in response})
        return
    for media_type, content in refusal["content"].items():
        known = response["content"].setdefault(media_type, {"schema": content["schema"]})
        examples = known.setdefault("examples", {})
        for code, example in content["examples"].items():
            examples.setdefault(code, example)


def _webhooks() -> dict[str, Any]:
    """What a run's `webhook` is sent."""
    body = {"schema": {"$ref": "#/components/schemas/EventView"}}
    headers = {
        "webhook-id": "The same at each try of one message.",
        "webhook-timestamp": "Seconds since 1970, of this try.",
        "webhook-signature": "`v1,` and HMAC-SHA256 of `id.timestamp.body`, base64; maybe several.",
    }
    return {
        "run.ended": {
            "post": {
                "summary": "A run has succeeded, failed or been canceled.",
                "description": "Sent to the run's `webhook`, signed as Standard Webhooks has it,"
                " and again for about a day until the answer is 2xx. 410 switches the address off.",
                "parameters": [
                    {
                        "name": name,
                        "in": "header",
                        "required": True,
                        "description": text,
                        "schema": {"type": "string"},
                    }
                    for name, text in headers.items()
                ],
                "requestBody": {"required": True, "content": {"application/json": body}},
                "responses": {"2XX": {"description": "Received."}},
            }
        }
    }
