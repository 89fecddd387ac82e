"""What schemathesis is told about values that fit a schema and yet need more than it can say."""

from __future__ import annotations

import uuid
from typing import Any

import schemathesis


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Make values possible that no schema describes, and waits short.

    - An idempotency key is unique: that another request with the same is refused is tested in
      `test_runs.py`.
    - A page token is left out where it was made up: a wrong one is tested there, too.
    - `Prefer: wait` waits for nothing: time is not what is tested here.
    - A webhook has a public address: which ones are, no schema says.
    - Whom it erases is none of those whose runs it has just asked for: they would be gone.
    - A film's size is the default one: an encoder takes multiples of four only.
    """
    headers = case.headers or {}
    for name in [name for name in headers if name.lower() == "idempotency-key"]:
        if case.meta is None or case.meta.generation.mode.is_positive:
            headers[name] = f"key-{uuid.uuid4()}"
    for name in [name for name in headers if name.lower() == "prefer"]:
        headers[name] = "wait=0"
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    (case.query or {}).pop("page", None)
    if "user" in (case.path_parameters or {}):
        case.path_parameters["user"] = f"gone {case.path_parameters['user']}"[:200]
    if not isinstance(case.body, dict):
        return
    if case.body.get("webhook"):
        case.body["webhook"] = "https://example.com/told"
    if case.body.get("operation") == "morph":
        for field in ("size", "fps"):
            (case.body.get("input") or {}).pop(field, None)
