"""Who looks at the dashboard, and what he may do: each page and each action asks for one."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from starlette.datastructures import FormData

from understudy.accounts.principal import ANONYMOUS, Principal, Scope
from understudy.accounts.sessions import Session
from understudy.app import App
from understudy.artifacts.artifacts import Artifacts
from understudy.engine.run import WorkerRow
from understudy.errors import Unauthorized
from understudy.web.auth import address_of, browser_session, check_form
from understudy.web.context import TheApp
from understudy.web.dashboard.rendering import render, render_live

_LONGEST_REASON = 500


@dataclasses.dataclass(frozen=True)
class Visitor:
    """A browser that was let in: everything that it sees and does is inside its tenant."""

    request: Request
    app: App
    session: Session

    @property
    def principal(self) -> Principal:
        """Whose key it signed in with."""
        return self.session.principal

    @property
    def tenant(self) -> str:
        """Whose runs and files it sees."""
        return self.principal.tenant

    @property
    def signed_in(self) -> bool:
        """False for the machine's own people while there are no keys: they need not sign out."""
        return self.principal.name != ANONYMOUS

    @property
    def at_home(self) -> bool:
        """Whether this is the installation's own tenant, which may know how it is set up."""
        return self.tenant == self.app.tenant

    @property
    def files(self) -> Artifacts:
        """The tenant's files."""
        return self.app.artifacts.bound(tenant=self.tenant)

    def may(self, scope: Scope) -> bool:
        """Whether it has this right."""
        return self.principal.may(scope)

    def check(self, scope: Scope, csrf: str) -> None:
        """Raise `Forbidden` unless it has the right, and the form came from a page of its own."""
        self.principal.require(scope)
        check_form(self.request, self.session, csrf)

    async def confirmed(self, scope: Scope) -> FormData:
        """The form of an action. Raises `Forbidden` as `check` does."""
        async with self.request.form(max_files=0, max_fields=20) as form:
            self.check(scope, str(form.get("csrf") or ""))
            return form

    async def note(self, action: str, subject: str | None, reason: str = "") -> None:
        """Leave a row in the audit."""
        await self.app.audit.write(
            self.tenant,
            self.principal.actor,
            action,
            subject=subject,
            reason=reason[:_LONGEST_REASON] or None,
            address=address_of(self.request),
        )

    async def show(self, template: str, *, status: int = 200, **context: Any) -> Response:
        """A page with its frame."""
        values = {**await self._frame(), **context}
        return render(self.request, template, values, status=status)

    async def show_live(self, template: str, *, every: float | None, **context: Any) -> Response:
        """A page that keeps itself up to date; see `render_live`."""
        values = {**await self._frame(), **context}
        return render_live(self.request, template, values, every=every)

    async def _frame(self) -> dict[str, Any]:
        """What every page says: who looks, when its data were read, and whether anybody works."""
        now = self.app.clock.now()
        workers = await self.app.engine.workers()
        return {"visitor": self, "now": now, "workers": alive(workers, now)}


def alive(workers: Any, now: float) -> list[WorkerRow]:
    """Those whose lease has not lapsed."""
    return [worker for worker in workers if worker.lease_until > now]


async def _visitor(request: Request, app: TheApp) -> AsyncIterator[Visitor]:
    """Let a browser in under the limits of its key until its route has returned."""
    session = await browser_session(request)
    if session is None:
        raise Unauthorized("sign in first")
    # A refusal is shown inside the frame of whoever it is for.
    request.state.visitor = visitor = Visitor(request, app, session)
    session.principal.require("read")
    allowance = app.limits.enter(session.principal)
    try:
        yield visitor
    finally:
        allowance.leave()


Visit = Annotated[Visitor, Depends(_visitor, scope="function")]
"""A page asks for one. Raises `Unauthorized`, which sends the browser to the sign-in page, and
`TooMany`.
"""
