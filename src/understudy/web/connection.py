"""A connection whose head has a limit: uvicorn's fast parser keeps headers of any length.

Nobody has shown a key yet when his headers come, so what they may fill has to be bounded here.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HEAD = 64 * 1024
"""Bytes of a request's line and headers, and of the trailers behind a body."""


class Connection(HttpToolsProtocol):
    """Uvicorn's connection, closed as soon as a head is over `MOST_HEAD`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's own
        """Begin to count."""
        self._kept = 0
        self._got_on = False
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Parse what came; what is neither body nor the end of something is being kept."""
        self._got_on = False
        super().data_received(data)
        self._kept = 0 if self._got_on else self._kept + len(data)
        if self._kept > MOST_HEAD and not self.transport.is_closing():
            self.send_400_response("The headers of this request are too large.")

    def on_headers_complete(self) -> None:
        """A head has ended."""
        self._got_on = True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of a body has come."""
        self._got_on = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """A request has ended."""
        self._got_on = True
        super().on_message_complete()
