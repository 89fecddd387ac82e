"""The event stream of the web (server-sent events), read from bytes in any pieces."""

from __future__ import annotations

import dataclasses
import re

_LINE = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


@dataclasses.dataclass(frozen=True, slots=True)
class Message:
    """One event. `id` is the last that the stream gave: what `Last-Event-ID` resumes behind."""

    id: str | None
    name: str
    data: str


class Decoder:
    """Turns the bytes of a stream into its messages, as the HTML standard says.

    `retry` is in how many seconds the server wants to be asked again; None if it did not say.
    """

    def __init__(self, last_id: str | None = None) -> None:
        self.retry: float | None = None
        self._id = last_id
        self._rest = b""
        self._begun = False
        self._name = ""
        self._data: list[str] = []

    def feed(self, piece: bytes) -> list[Message]:
        """The messages that these bytes complete."""
        text = self._rest + piece
        if not self._begun:
            if len(text) < len(_BOM) and _BOM.startswith(text):
                self._rest = text
                return []
            self._begun = True
            text = text.removeprefix(_BOM)
        # A CR at the end may be half of a CR LF.
        held = b"\r" if text.endswith(b"\r") else b""
        *lines, rest = _LINE.split(text.removesuffix(held))
        self._rest = rest + held
        return [
            message for line in lines if (message := self._line(line.decode("utf-8", "replace")))
        ]

    def _line(self, line: str) -> Message | None:
        if not line:
            return self._message()
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            self._data.append(value)
        elif field == "event":
            self._name = value
        elif field == "id" and "\0" not in value:
            self._id = value
        elif field == "retry" and value.isascii() and value.isdecimal():
            self.retry = int(value[:9]) / 1000
        return None

    def _message(self) -> Message | None:
        data, name = self._data, self._name
        self._data, self._name = [], ""
        if not data:
            return None
        return Message(self._id, name or "message", "\n".join(data))
