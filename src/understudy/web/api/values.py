"""Types of what comes in: times, texts and JSON, no looser than what the API's schema says."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, JsonValue

TEXT = r"^[^\x00]*$"
"""No NUL: PostgreSQL cannot store one in a text."""

_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _moment(given: object) -> object:
    if isinstance(given, str) and not _MOMENT.fullmatch(given):
        raise ValueError("a time is like 2026-11-22T14:26:46Z")
    return given


def _finite(given: Any) -> Any:
    try:
        json.dumps(given, allow_nan=False).encode()
    except ValueError:
        raise ValueError("NaN and Infinity are no JSON") from None
    return given


Moment = Annotated[AwareDatetime, BeforeValidator(_moment)]
"""RFC 3339, and nothing else that a parser of dates would also take."""

Json = Annotated[JsonValue, AfterValidator(_finite)]
"""Any JSON; Python's parser would let NaN through."""

JsonObject = Annotated[dict[str, JsonValue], AfterValidator(_finite)]
"""The same, as an object."""


def whole(value: Any) -> Any:
    """The same JSON with `2.0` as `2`: a schema takes both for an integer."""
    if isinstance(value, dict):
        return {name: whole(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [whole(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
