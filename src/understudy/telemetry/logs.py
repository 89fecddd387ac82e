"""Log lines from everywhere in the process, on stderr and in the kept files.

`structlog` and Python's own `logging` end in the same place: time, level, run and step are added,
what is private is masked, and the line is written as JSON or as text.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import sys
from collections.abc import Iterator, MutableMapping
from typing import Any, Literal, TextIO

import structlog

from understudy.clock import Clock, iso
from understudy.errors import Error
from understudy.telemetry.about import OF_RUNS, STEP, at_hand, listening
from understudy.telemetry.kept import Kept
from understudy.telemetry.redaction import Redaction

Form = Literal["auto", "text", "json"]
Event = MutableMapping[str, Any]

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_METHODS = {"exception": "error", "warn": "warning", "fatal": "critical", "msg": "info"}
_FIRST = ("event", "run", "step")
# Other people's libraries at work tell more than anybody asked for, addresses among it.
_QUIET = ("alembic", "httpcore", "httpx", "asyncio", "multipart", "python_multipart")


@dataclasses.dataclass(frozen=True)
class Logs:
    """How a process writes logs.

    `form`: `auto` is text on a terminal, else JSON. `level` is the least that is written to
    `stream` (None: stderr, whatever that is at the time); `kept` gets everything from `info` on.
    With `prompts`, what customers wrote is not masked; `secrets` are masked wherever they stand.
    With `runs`, the stream also gets what happens to runs, which some commands show in their own
    way.
    """

    clock: Clock
    form: Form = "auto"
    level: str = "info"
    prompts: bool = False
    secrets: tuple[str, ...] = ()
    runs: bool = True
    kept: Kept | None = None
    stream: TextIO | None = None


@contextlib.contextmanager
def logging_as(logs: Logs) -> Iterator[None]:
    """Write logs that way until the block ends. One such block at a time in a process."""
    pipe = _Pipe(logs)
    bridge = _Bridge(pipe)
    root = logging.getLogger()
    before = root.level, {name: logging.getLogger(name).level for name in _QUIET}
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, _with_level],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *name: _Sayer(pipe, name[0] if name else None),
    )
    root.addHandler(bridge)
    root.setLevel(logging.INFO)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        with listening():
            yield
    finally:
        root.removeHandler(bridge)
        root.setLevel(before[0])
        for name, level in before[1].items():
            logging.getLogger(name).setLevel(level)
        structlog.reset_defaults()
        if logs.kept is not None:
            logs.kept.close()


class _Pipe:
    """The one way out of a line."""

    def __init__(self, logs: Logs) -> None:
        self._logs = logs
        self._redaction = Redaction(prompts=logs.prompts, secrets=logs.secrets)
        self._level = _LEVELS[logs.level]

    def say(self, event: Event) -> None:
        """Complete a line, mask it, write it. Never raises: a log stops no work."""
        with contextlib.suppress(Exception):
            line = self._complete(event)
            if self._logs.kept is not None:
                self._logs.kept.write(line)
            shown = self._logs.runs or line.get("logger") != OF_RUNS
            if shown and _LEVELS.get(line["level"], 0) >= self._level:
                self._print(line)

    def _complete(self, event: Event) -> dict[str, Any]:
        what = at_hand()
        _explain(event)
        # What the house says of a run is nobody's private text, even if somebody wrote the same.
        line = {"timestamp": iso(self._logs.clock.now()), "level": event.pop("level", "info")}
        step = STEP.get()
        said = event if step is None else {"step": step, **event}
        masked = {
            **self._redaction.event(what.facts),
            **self._redaction.event(said, what.private),
        }
        line.update((name, masked.pop(name)) for name in _FIRST if name in masked)
        line.update(masked)
        return line

    def _print(self, line: dict[str, Any]) -> None:
        stream = self._logs.stream or sys.stderr
        form = self._logs.form
        if form == "auto":
            form = "text" if stream.isatty() else "json"
        text = json.dumps(line, default=str) if form == "json" else as_text(line)
        encoding = getattr(stream, "encoding", None) or "utf-8"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        stream.flush()


class _Sayer:
    """What structlog takes for a logger: every level is one more word of the line."""

    def __init__(self, pipe: _Pipe, name: str | None) -> None:
        self._pipe = pipe
        self._name = name

    def _say(self, /, **event: Any) -> None:
        if self._name is not None:
            event.setdefault("logger", self._name)
        self._pipe.say(event)

    debug = info = warning = warn = error = critical = fatal = exception = msg = log = _say


class _Bridge(logging.Handler):
    """Lines of Python's own `logging`, from libraries."""

    def __init__(self, pipe: _Pipe) -> None:
        super().__init__()
        self._pipe = pipe

    def emit(self, record: logging.LogRecord) -> None:
        """Hand the record on as an event."""
        event: Event = {"level": record.levelname.lower(), "logger": record.name}
        try:
            event["event"] = record.getMessage()
        except (TypeError, ValueError):  # arguments that do not fit their message
            event["event"] = str(record.msg)
        if record.exc_info:
            event["exc_info"] = record.exc_info
        self._pipe.say(event)


def as_text(line: MutableMapping[str, Any]) -> str:
    """A line for people: time, level, event, `name=value` …; a traceback on lines below.

    Whatever could move a cursor or begin a line of its own is shown as its code.
    """
    rest = dict(line)
    words = [str(rest.pop("timestamp", "")), f"{rest.pop('level', ''):<8}"]
    words.append(_plain(rest.pop("event", "")))
    traceback = rest.pop("exception", None)
    words += [f"{_plain(name)}={_plain(_shown(value))}" for name, value in rest.items()]
    below = [f"    {_plain(one)}" for one in str(traceback or "").splitlines()]
    return "\n".join([" ".join(words), *below])


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value if value and " " not in value else repr(value)
    return json.dumps(value, ensure_ascii=False, default=str)


def _plain(text: object) -> str:
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in str(text)
    )


def _with_level(_logger: Any, method: str, event: Event) -> Event:
    event["level"] = _METHODS.get(method, method)
    return event


def _explain(event: Event) -> None:
    """An error in words: one line if the house expects it, such as a full disk; else a traceback.

    The traceback shows code and no values of variables, which could be a customer's.
    """
    given = event.pop("exc_info", None)
    error = given[1] if isinstance(given, tuple) else given
    if error is True:
        error = sys.exc_info()[1]
    if isinstance(error, Error):
        event["error"] = str(error)
    elif isinstance(error, BaseException):
        event["exception"] = "".join(_traceback(error)).rstrip()


def _traceback(error: BaseException) -> list[str]:
    import traceback  # noqa: PLC0415 - only a fault needs it

    return traceback.format_exception(error)
