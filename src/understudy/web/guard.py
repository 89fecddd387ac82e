"""Around every request: bodies are stopped at their limit, faults become problems, all is counted.

Plain ASGI, since nothing here may cost much: no task, no copy of a body.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Collection

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from understudy.errors import TooLarge, TooSlow
from understudy.web.metrics import Metrics
from understudy.web.problem import problem

_log = structlog.get_logger(__name__)

_UNKNOWN = "(unknown)"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_FIXED = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
"""Headers of every answer that does not say otherwise itself."""


class Guard:
    """The outermost middleware. `body` is the limit of a body in bytes.

    Paths that `uploads` names take larger ones, and count them themselves. A body of which nothing
    comes for `patience` seconds is given up.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        metrics: Metrics,
        body: int,
        uploads: Collection[str],
        patience: float = 30.0,
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._body = body
        self._uploads = uploads
        self._patience = patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, guarded; what is no request passes as it is."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(scope, send)
        began = time.perf_counter()
        try:
            await self._app(scope, self._limited(scope, receive, answer), answer)
        except (TooLarge, TooSlow) as error:
            await answer.fail(scope, receive, error.code, error.message)
        except Exception as error:  # noqa: BLE001 - the edge: what nobody expected is logged here
            _log.error("request_broke", path=scope["path"], exc_info=error)
            await answer.fail(
                scope, receive, "internal", "a fault in Understudy; its log says more"
            )
        finally:
            self._count(scope, answer, time.perf_counter() - began)

    def _limited(self, scope: Scope, receive: Receive, answer: _Answer) -> Receive:
        """`receive` that reads no more of a body that is over its limit, or has stopped coming.

        It raises `TooLarge` or `TooSlow`, and the connection is closed behind the answer.
        """
        headers = Headers(scope=scope)
        limit = math.inf if scope["path"] in self._uploads else self._body
        said = headers.get("content-length", "0")
        if said.isascii() and said.isdecimal() and int(said[:18]) > limit:
            raise self._too_large(answer)
        got, coming = 0, said != "0" or "transfer-encoding" in headers

        async def limited() -> Message:
            nonlocal got, coming
            if not coming:
                return await receive()
            try:
                async with asyncio.timeout(self._patience):
                    message = await receive()
            except TimeoutError:
                answer.last = True
                raise TooSlow(f"nothing came of the body for {self._patience:g} s") from None
            coming = message.get("more_body", False)
            got += len(message.get("body", b""))
            if got > limit:
                raise self._too_large(answer)
            return message

        return limited

    def _too_large(self, answer: _Answer) -> TooLarge:
        answer.last = True
        return TooLarge(f"a body may have {self._body} bytes; send files to /v1/artifacts")

    def _count(self, scope: Scope, answer: _Answer, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", _UNKNOWN)
        method = scope["method"]
        if route == _UNKNOWN or method not in _METHODS:  # a stranger must not make up labels
            method = "(any)"
        self._metrics.requests.labels(route, method, answer.status).inc()
        if not answer.stream:
            self._metrics.seconds.labels(route, method).observe(seconds)


class _Answer:
    """What is sent, with the headers that every answer has.

    `last` closes the connection behind it, since there is something on it that nobody will read.
    """

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self.status = 0
        self.stream = False
        self.last = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=message.setdefault("headers", []))
            met = self._scope.get("state", {}).get("headers", {})  # the limits; see `auth.py`
            for name, value in (*_FIXED.items(), *met.items()):
                headers.setdefault(name, value)
            if self.last:
                headers["connection"] = "close"
            self.status = message["status"]
            self.stream = headers.get("content-type", "").startswith("text/event-stream")
        await self._send(message)

    async def fail(self, scope: Scope, receive: Receive, code: str, detail: str) -> None:
        """Answer with a problem; where an answer has begun already, break the connection off."""
        if self.status:
            raise ConnectionAbortedError(detail)
        self.last = True
        await problem(code, detail, instance=scope["path"])(scope, receive, self)
