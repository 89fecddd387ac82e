"""Who asks, and whether he may: bearer keys at the API, sessions in browsers, and this machine.

A route asks for `Reader`, `Submitter` or `Admin` and is handed a `Principal`. The limits that a
request met are left in `request.state.headers`, for whoever writes the answer.

Without any key the machine's own people may do everything, and nobody else anything. A page in
their browser is somebody else: it is told by the headers that browsers send and pages cannot
change (`Host`, against names that were rebound to this machine; `Origin` and `Sec-Fetch-Site`).
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
from typing import Annotated
from urllib.parse import urlsplit

import structlog
from fastapi import Request, Response, Security
from fastapi.security import HTTPBearer

from understudy.accounts.principal import Principal, Scope, anonymous
from understudy.accounts.sessions import LASTS, Session
from understudy.app import App
from understudy.errors import ConfigError, Error, Forbidden, Unauthorized

_log = structlog.get_logger(__name__)

_ABOUT = (
    "A key from `understudy keys create`. Its scopes are `read`, `submit` (which implies read) and "
    "`admin` (which implies both)."
)

_HERE = secrets.token_bytes(32)
"""What the forms of those without a key are signed with; they last as long as the process."""


async def principal_of(app: App, request: Request, token: str | None) -> Principal:
    """Whoever shows this token, or, while there are no keys, the machine's own people.

    Raises `Unauthorized`.
    """
    if token is None:
        if await app.keys.configured():
            raise Unauthorized("send a key: `Authorization: Bearer us_…`")
        return _own_people(app, request)
    try:
        return await app.keys.authenticate(token)
    except Unauthorized as error:
        _log.info("key_refused", address=address_of(request), reason=error.message)
        raise


async def admit(request: Request, scope: Scope) -> Principal:
    """Let a request in that may do what `scope` says, under its key's limits.

    It counts as being at once until its route has returned: what is streamed after that has a cap
    of its own. For routes that some enter by other ways; all others ask for one of those below.
    Raises `Unauthorized`, `Forbidden` or `TooMany`.
    """
    app: App = request.app.state.app
    principal = await principal_of(app, request, _token_of(request))
    request.state.headers = headers = dict[str, str]()
    try:
        allowance = app.limits.enter(principal)
        # A dependency with `yield` would do the same, and cost more than all the rest of this.
        request.scope["fastapi_function_astack"].callback(allowance.leave)
    finally:
        headers |= app.limits.of(principal).headers
    principal.require(scope)
    return principal


class _Key(HTTPBearer):
    """The same as a dependency, which the API's description shows as a bearer key."""

    def __init__(self, scope: Scope) -> None:
        super().__init__(scheme_name="bearer", bearerFormat="us_…", description=_ABOUT)
        self._scope = scope

    async def __call__(self, request: Request) -> Principal:  # type: ignore[override] # no text
        return await admit(request, self._scope)


def _token_of(request: Request) -> str | None:
    given = request.headers.get("authorization")
    if given is None:
        return None
    scheme, _, token = given.partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthorized("`Authorization` is to be `Bearer`, a space, and a key")
    return token.strip()


Reader = Annotated[Principal, Security(_Key("read"), scopes=["read"])]
"""A route that only looks. Raises `Unauthorized`, `Forbidden` or `TooMany` before the route."""

Submitter = Annotated[Principal, Security(_Key("submit"), scopes=["submit"])]
"""A route that starts or changes runs; the same."""

Admin = Annotated[Principal, Security(_Key("admin"), scopes=["admin"])]
"""A route that concerns the tenant as a whole; the same."""


# Browsers


async def browser_session(request: Request) -> Session | None:
    """The session of a browser; None for one that is to sign in first.

    While there are no keys, the machine's own people need none.
    """
    app: App = request.app.state.app
    token = request.cookies.get(_cookie_of(app, request))
    session = await app.sessions.get(token) if token else None
    if session is not None or await app.keys.configured():
        return session
    try:
        principal = _own_people(app, request)
    except Unauthorized:
        return None
    csrf = hmac.new(_HERE, principal.tenant.encode(), hashlib.sha256).hexdigest()
    return Session(principal, app.clock.now() + LASTS, csrf)


async def sign_in(request: Request, token: str) -> tuple[str, Session]:
    """Trade a key for a session; hand the first part to `remember`. Audited, and limited.

    Raises `Unauthorized`, and `TooMany` after too many failures.
    """
    app: App = request.app.state.app
    app.attempts.check(address_of(request))
    try:
        principal = await app.keys.authenticate(token.strip())
    except Unauthorized as error:
        await _note_failure(app, request, error)
        raise
    return await _signed_in(request, await app.sessions.create(principal))


async def redeem(request: Request, link: str) -> tuple[str, Session]:
    """Trade a one-time link for a session; the same."""
    app: App = request.app.state.app
    app.attempts.check(address_of(request))
    try:
        made = await app.sessions.redeem(link)
    except Unauthorized as error:
        await _note_failure(app, request, error)
        raise
    return await _signed_in(request, made)


async def sign_out(request: Request, response: Response) -> None:
    """End the browser's session, and have it forget its token."""
    app: App = request.app.state.app
    cookie = _cookie_of(app, request)
    token = request.cookies.get(cookie)
    session = await app.sessions.get(token) if token else None
    if token and session is not None:
        await app.sessions.revoke(token)
        who = session.principal
        await app.audit.write(who.tenant, who.actor, "sign-out", address=address_of(request))
    response.delete_cookie(
        cookie, secure=_is_secure(app, request), httponly=True, samesite="strict"
    )


def remember(request: Request, response: Response, token: str) -> None:
    """Have the browser keep the token of its session, where no script reads it."""
    app: App = request.app.state.app
    response.set_cookie(
        _cookie_of(app, request),
        token,
        max_age=int(LASTS),
        secure=_is_secure(app, request),
        httponly=True,
        samesite="strict",
    )


def check_form(request: Request, session: Session, csrf: str) -> None:
    """Raise `Forbidden` unless a form came from a page that this session was shown."""
    if not session.fits(csrf) or _is_foreign(request):
        raise Forbidden("this form is too old, or came from elsewhere; load its page again")


def check_site(request: Request) -> None:
    """Raise `Forbidden` when another site's page signs somebody in, as somebody else perhaps."""
    if _is_foreign(request):
        raise Forbidden("this form came from elsewhere; load the sign-in page again")


async def _signed_in(request: Request, made: tuple[str, Session]) -> tuple[str, Session]:
    app: App = request.app.state.app
    who = made[1].principal
    await app.audit.write(who.tenant, who.actor, "sign-in", address=address_of(request))
    return made


async def _note_failure(app: App, request: Request, error: Error) -> None:
    """Count it, and audit the first ones: a guesser must not fill the database."""
    address, why = address_of(request), error.message
    if app.attempts.failed(address):
        await app.audit.write(app.tenant, "unknown", "sign-in.refused", reason=why, address=address)


def _cookie_of(app: App, request: Request) -> str:
    """Its name; with `__Host-` a browser takes it from this host alone, over TLS."""
    return "__Host-understudy" if _is_secure(app, request) else "understudy"


def _is_secure(app: App, request: Request) -> bool:
    return request.url.scheme == "https" or app.settings.public_url.startswith("https:")


# This machine


def address_of(request: Request) -> str:
    """Where a request came from, for the audit."""
    return request.client.host if request.client is not None else "unknown"


def check_binding(host: str, *, configured: bool) -> None:
    """Raise `ConfigError` for an interface that others reach while there is no key."""
    if configured or is_loopback(host):
        return
    raise ConfigError(
        f"without a key, only this machine may be let in: {host or 'every interface'} is open to "
        "others. Make one with `understudy keys create NAME --scope admin`, set "
        "UNDERSTUDY_ADMIN_KEY, or listen on 127.0.0.1"
    )


def is_loopback(host: str) -> bool:
    """Whether a name or address, with or without the brackets of IPv6, is this machine's own."""
    if host.lower() == "localhost":
        return True
    try:
        known = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    mapped = known.ipv4_mapped if known.version == 6 else None
    return (mapped or known).is_loopback


def _own_people(app: App, request: Request) -> Principal:
    """The anonymous of this machine. Raises `Unauthorized` for anybody else."""
    peer = request.client is not None and is_loopback(request.client.host)
    if not peer or _FORWARDED & set(request.headers.keys()):
        raise Unauthorized("there is no key yet, so only this machine is let in; make a key")
    if not is_loopback(_host_in(f"//{request.headers.get('host', '')}")):
        raise Unauthorized("there is no key yet, so the host is to be localhost or 127.0.0.1")
    if _is_foreign(request):
        raise Unauthorized("there is no key yet, and another site's page asks for this")
    return anonymous(app.tenant)


_FORWARDED = frozenset({"forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip"})
"""Headers of a proxy: it sits on this machine, and those whom it speaks for may not."""

_LOOKING = frozenset({"GET", "HEAD"})


def _is_foreign(request: Request) -> bool:
    """Whether a browser says that a page of another origin asks. Following a link is no asking."""
    headers = request.headers
    app: App = request.app.state.app
    ours = {headers.get("host", "").lower(), _netloc_of(app.settings.public_url)}
    origin = headers.get("origin")
    if origin is not None and (_netloc_of(origin) or "null") not in ours:
        return True
    if headers.get("sec-fetch-site", "none") in {"none", "same-origin"}:
        return False
    follows = headers.get("sec-fetch-mode") == "navigate" and request.method in _LOOKING
    return not follows or headers.get("sec-fetch-dest", "document") != "document"


def _netloc_of(url: str) -> str:
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:
        return ""


def _host_in(url: str) -> str:
    """The host of a URL without its port; empty when it is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
