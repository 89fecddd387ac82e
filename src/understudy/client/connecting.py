"""How the server is reached: its address, who asks, and how long it may be silent."""

from __future__ import annotations

import importlib.metadata
from collections.abc import AsyncIterable, Iterable
from typing import Any

import httpx

from understudy.client.body import Body
from understudy.client.effects import Call, Reply
from understudy.errors import InputError

_CONNECT = 10.0


class Server:
    """An address, and what every request to it says. Raises `InputError` for what cannot work."""

    def __init__(self, url: str, key: str | None, timeout: float) -> None:
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise InputError(f"the server address cannot be read: {error}") from error
        if parsed.scheme not in {"http", "https"} or not parsed.host or parsed.userinfo:
            raise InputError(
                f"server address {parsed.copy_with(password=None)}: write it as "
                "http://host:port or https://host, without a name or password"
            )
        if key is not None and not (key.isascii() and key.isprintable() and key.strip()):
            raise InputError("the key has characters that no key has; was it copied whole?")
        self._url = parsed
        self._key = key
        self._timeout = timeout

    def settings(self) -> dict[str, Any]:
        """What both kinds of `httpx` client are made with. A redirect would get the key: none."""
        headers = {"User-Agent": f"understudy-python/{importlib.metadata.version('understudy')}"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key.strip()}"
        return {
            "base_url": self._url,
            "headers": headers,
            "timeout": self.patient(self._timeout),
            "follow_redirects": False,
        }

    def patient(self, seconds: float | None) -> httpx.Timeout:
        """Wait so long for each piece of an answer, and never long for a connection."""
        return httpx.Timeout(self._timeout if seconds is None else seconds, connect=_CONNECT)


def request_of(http: httpx.Client | httpx.AsyncClient, server: Server, call: Call) -> httpx.Request:
    """The call as a request of this client."""
    content: bytes | Iterable[bytes] | AsyncIterable[bytes] | None = call.body
    if isinstance(content, Body) and isinstance(http, httpx.AsyncClient):
        content = content.streamed()
    return http.build_request(
        call.method,
        call.path,
        params=dict(call.query) or None,
        headers=dict(call.headers),
        content=content,
        timeout=server.patient(call.timeout),
    )


def whole(response: httpx.Response) -> Reply:
    """An answer that was read to its end."""
    return Reply(response.status_code, response.headers, response.content)
