"""Every route, and: no key, a key that does not work, too little a key, another tenant's things.

The routes come from the API's own description: a new one is in the matrix at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import select

from understudy.db.database import Tx
from understudy.db.schema import metadata
from understudy.db.statement import Statement

OPEN = {"/healthz", "/readyz", "/problems", "/problems/{code}"}
"""What tells nothing of anybody, and so takes no key."""

BODIES: Mapping[str, Any] = {
    "POST /v1/runs": {"operation": "echo"},
    "POST /v1/signals": {"name": "answer", "data": {"text": "hi"}},
    "POST /v1/artifacts": {"url": "https://127.0.0.1/photo.jpg"},
    "POST /v1/webhooks": {"url": "https://example.com/other"},
}
"""What fits, where a body must; elsewhere an empty object does."""

GRANTS = {"read": {"read"}, "submit": {"read", "submit"}, "admin": {"read", "submit", "admin"}}

OWN = {"api_keys", "audit", "sessions", "secrets", "workers"}
"""Tables that a refused request may write to: when a key was last used, who tried."""


@dataclasses.dataclass(frozen=True)
class Route:
    """One route with one method; `scope` is what its key must have, None if it takes none."""

    method: str
    path: str
    scope: str | None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    async def ask(self, client: httpx.AsyncClient, things: Mapping[str, str]) -> httpx.Response:
        """The answer for these ids."""
        body = None
        if self.method == "POST":
            body = BODIES.get(str(self), {})
        return await client.request(self.method, self.path.format_map(things), json=body)


@dataclasses.dataclass
class World:
    """A tenant with a thing of each kind, and somebody of another tenant."""

    site: Any
    things: Mapping[str, str]
    routes: list[Route]

    async def rows(self) -> dict[str, list[Any]]:
        """All that is stored of anybody's things."""
        wanted = [table for table in metadata.sorted_tables if table.name not in OWN]

        def read(tx: Tx) -> dict[str, list[Any]]:
            return {
                table.name: [
                    tuple(row)
                    for row in tx.rows(Statement(select(table).order_by(*table.primary_key)), {})
                ]
                for table in wanted
            }

        found: dict[str, list[Any]] = await self.site.app.database.read(read)
        return found


@asynccontextmanager
async def world(site: Any, tmp_path: Path) -> AsyncIterator[World]:
    """The tenant `default` has a run, a file and a webhook; there is no worker."""
    async with site() as one:
        run = await one.submit("ask", user="ann")
        photo = tmp_path / "photo.txt"
        photo.write_text("hello")
        files = one.app.artifacts.bound(tenant="default", user="ann", run_id=run["id"])
        artifact = await files.copy_in(photo, name="photo.txt")
        webhook = await one.app.webhooks.register("default", "https://example.com/told")
        document = (await one.client.get("/openapi.json")).json()
        things = {
            "run_id": run["id"],
            "artifact_id": artifact.id,
            "webhook_id": webhook.id,
            "user": "ann",
            "name": "echo",
            "code": "not_found",
        }
        yield World(one, things, [*described(document)])


def described(document: Any) -> Iterator[Route]:
    """The routes of an OpenAPI document."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            needed = [one["bearer"] for one in operation.get("security", ()) if "bearer" in one]
            yield Route(method.upper(), path, needed[0][0] if needed else None)


async def test_only_what_tells_nothing_takes_no_key(site: Any, tmp_path: Path) -> None:
    """Each route says which scope it takes; those without one are the few that are meant."""
    async with world(site, tmp_path) as one:
        assert {route.path for route in one.routes if route.scope is None} == OPEN
        assert len(one.routes) >= 20
        assert {route.scope for route in one.routes} == {None, *GRANTS}


async def test_no_route_works_without_a_key(site: Any, tmp_path: Path) -> None:
    """Once there is a key: no key, a made-up one, a revoked and an expired one are all 401."""
    async with world(site, tmp_path) as one:
        app = one.site.app
        revoked, gone = await app.keys.create("default", "revoked", ["admin"])
        await app.keys.revoke("default", revoked.id)
        _, late = await app.keys.create("default", "late", ["admin"], expires_in=1e-6)
        await app.keys.create("default", "good", ["admin"])
        before = await one.rows()
        wrong = []
        for token in ("", "us_nonsense", gone, late):
            async with one.site.holder(token) as client:
                if not token:
                    del client.headers["authorization"]
                for route in [route for route in one.routes if route.scope]:
                    answer = await route.ask(client, one.things)
                    if answer.status_code != 401 or "www-authenticate" not in answer.headers:
                        wrong.append((str(route), token[:6], answer.status_code))
        assert not wrong
        assert await one.rows() == before


async def test_too_little_a_key_is_refused(site: Any, tmp_path: Path) -> None:
    """403 names the scope, and nothing is changed; a route that only reads takes each key."""
    async with world(site, tmp_path) as one:
        before = await one.rows()
        wrong = []
        for scope, may in GRANTS.items():
            async with one.site.holder(await one.site.key(scope)) as client:
                for route in [route for route in one.routes if route.scope not in may]:
                    if route.scope is None:
                        continue
                    answer = await route.ask(client, one.things)
                    named = f"'{route.scope}'" in answer.json()["detail"]
                    if answer.status_code != 403 or not named:
                        wrong.append((str(route), scope, answer.status_code))
        assert not wrong
        assert await one.rows() == before


async def test_enough_of_a_key_is_let_in(site: Any, tmp_path: Path) -> None:
    """The other side of the same: with just the scope that a route asks for, it is not refused."""
    async with world(site, tmp_path) as one:
        wrong = []
        for scope in GRANTS:
            async with one.site.holder(await one.site.key(scope)) as client:
                for route in [route for route in one.routes if route.scope == scope]:
                    if route.path.endswith("/events"):  # it stays open
                        continue
                    answer = await route.ask(client, one.things)
                    if answer.status_code in {401, 403} or answer.status_code == 500:
                        wrong.append((str(route), scope, answer.status_code))
        assert not wrong


async def test_another_tenants_things_are_not_there(site: Any, tmp_path: Path) -> None:
    """With the highest key of another tenant: 404 for each id, empty lists, nothing changed."""
    async with world(site, tmp_path) as one:
        before = await one.rows()
        ids = {"run_id", "artifact_id", "webhook_id"}
        wrong = []
        async with one.site.holder(await one.site.key("admin", tenant="other")) as client:
            for route in one.routes:
                if any(f"{{{name}}}" in route.path for name in ids):
                    answer = await route.ask(client, one.things)
                    if answer.status_code != 404 or answer.json()["code"] != "not_found":
                        wrong.append((str(route), answer.status_code))
                elif route.method == "GET" and route.path.startswith("/v1/"):
                    answer = await route.ask(client, one.things)
                    if any(one.things[name] in answer.text for name in ids):
                        wrong.append((str(route), answer.status_code))
            assert not wrong
            assert await one.rows() == before
            # What acts on the tenant as a whole acts on its own tenant alone.
            await client.post("/v1/signals", json={"name": "answer", "data": {"text": "hi"}})
            await client.delete("/v1/users/ann")
        kept = [row for row in (await one.rows())["runs"] if row[0] == one.things["run_id"]]
        assert kept == [row for row in before["runs"] if row[0] == one.things["run_id"]]
