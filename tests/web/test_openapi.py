"""The API's own description."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from understudy.engine.registry import Registry
from understudy.web import openapi
from understudy.web.app import routed


def described(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every operation with its name."""
    for path, methods in document["paths"].items():
        yield from ((f"{method} {path}", operation) for method, operation in methods.items())


async def test_it_is_whole(site: Any) -> None:
    """Every reference leads somewhere, every route has a name, a summary and says how it refuses.

    Pages of the dashboard are not in it.
    """
    async with site() as one:
        document = (await one.client.get("/openapi.json")).json()
        assert document["openapi"].startswith("3.1")
        assert not any(path.startswith("/dashboard") for path in document["paths"])
        schemas = document["components"]["schemas"]
        for name in re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)):
            assert name in schemas
        names = [operation["operationId"] for _, operation in described(document)]
        assert len(names) == len(set(names))
        assert {"runs_submit", "runs_events", "queue_show"} <= set(names)
        accepted = document["paths"]["/v1/runs"]["post"]["responses"]["202"]["links"]
        assert {link["operationId"] for link in accepted.values()} <= set(names)
        tags = {tag["name"] for tag in document["tags"]}
        for name, operation in described(document):
            assert operation["summary"], name
            assert operation["description"], name
            assert set(operation["tags"]) <= tags
            assert "500" in operation["responses"]
            for status, answer in operation["responses"].items():
                if status >= "400":
                    assert [*answer["content"]] == ["application/problem+json"], (name, status)
                    assert answer["content"]["application/problem+json"]["examples"]
            if operation.get("security"):
                assert {"401", "403", "429"} <= set(operation["responses"])
                assert "RateLimit" in operation["responses"]["429"]["headers"]
                assert "Retry-After" in operation["responses"]["429"]["headers"]
        assert document["webhooks"]["run.ended"]


async def test_each_operation_has_its_own_body(site: Any) -> None:
    """Who reads the description knows what an operation takes, without asking for it."""
    async with site() as one:
        schemas = (await one.client.get("/openapi.json")).json()["components"]["schemas"]
        forms = {form["$ref"].rpartition("/")[2] for form in schemas["Asked"]["oneOf"]}
        assert "echo.asked" in forms
        assert "erase-user.asked" not in forms
        echo = schemas["echo.asked"]
        assert echo["properties"]["operation"] == {"type": "string", "const": "echo"}
        assert schemas["echo.input"]["properties"]["times"]["maximum"] == 5
        assert echo["examples"] == [{"operation": "echo", "input": {"text": "hi", "times": 2}}]
        assert "input" in schemas["morph.asked"]["required"]


def test_routes_are_described_without_an_app() -> None:
    """The reference is written from the routes alone; what may be left out is never null."""
    document = openapi.document(routed(), Registry([], {}))
    for name, operation in described(document):
        for given in operation.get("parameters", ()):
            assert {"type": "null"} not in given["schema"].get("anyOf", ()), name
