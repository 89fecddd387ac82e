"""What every command stands on: the settings, an open app, signals, and how it all ends.

The app and its libraries are imported when a command works, so that `--help` answers at once.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import shlex
import signal
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from understudy.cli.terminal import say_json, tell
from understudy.errors import ConfigError, Error

if TYPE_CHECKING:
    from understudy.app import App
    from understudy.settings import Settings

Work = Callable[["App"], Awaitable[None]]

INTERNAL_ERROR = 70  # EX_SOFTWARE of sysexits.h

_CURSOR = "\x1b[?25h"  # a progress bar hides it


@dataclasses.dataclass(frozen=True, slots=True)
class Session:
    """The options before the command."""

    home: Path | None = None
    load: tuple[Path, ...] = ()

    def settings(self) -> Settings:
        """Settings from the environment, then from the options. Raises `ConfigError`."""
        from pydantic import ValidationError  # noqa: PLC0415 - `--help` answers at once

        from understudy.settings import Settings  # noqa: PLC0415 - the same

        given: dict[str, Any] = {} if self.home is None else {"home": self.home}
        try:
            settings = Settings(**given)
        except ValidationError as error:
            faults = (
                f"UNDERSTUDY_{str(fault['loc'][0]).upper()}: {fault['msg']}"
                for fault in error.errors()
            )
            raise ConfigError("; ".join(faults)) from error
        loaded = [*filter(None, [settings.load]), *map(str, self.load)]
        return settings.model_copy(update={"load": os.pathsep.join(loaded)})

    def command(self, *words: str) -> str:
        """A command for the person to type, with the options that this one was given."""
        before = [] if self.home is None else ["--home", str(self.home)]
        before += [word for path in self.load for word in ("--load", str(path))]
        return shlex.join(["understudy", *before, *words])


STOPPING = "Stopping, running steps may finish; once more to leave at once."


def perform(ctx: typer.Context, work: Work, *, as_json: bool, stopping: str = STOPPING) -> None:
    """Open the app, do the work, and leave with the right exit code and one clear line.

    SIGINT and SIGTERM cancel `work` once, so that it drains, and end with 130 or 143; a second one
    ends the process where it stands, which the journal survives. `stopping` is said at the first.
    """

    async def inside() -> None:
        from understudy.app import App  # noqa: PLC0415 - `--help` answers at once

        _log_to_stderr()
        async with App.open(ctx.obj.settings()) as app:
            await work(app)

    finish(inside, as_json=as_json, stopping=stopping)


def finish(work: Callable[[], Awaitable[None]], *, as_json: bool, stopping: str = STOPPING) -> None:
    """Run `work` to its end on an event loop; errors become a line and an exit code."""
    stopped: list[signal.Signals] = []
    try:
        asyncio.run(_stoppable(work, stopped, stopping))
    except asyncio.CancelledError:
        if not stopped:
            raise
        raise typer.Exit(128 + stopped[0]) from None
    except Error as error:
        _report(error.code, error.category, error.message, as_json=as_json)
        raise typer.Exit(1) from None
    except (typer.Exit, BrokenPipeError):
        raise
    except Exception as error:  # noqa: BLE001 - the edge of the process: nobody else will catch it
        message = f"{type(error).__name__}: {error} (a fault in Understudy; please report it)"
        _report("internal", "internal", message, as_json=as_json)
        raise typer.Exit(INTERNAL_ERROR) from None


async def _stoppable(
    work: Callable[[], Awaitable[None]], stopped: list[signal.Signals], stopping: str
) -> None:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def stop(number: signal.Signals) -> None:
        if stopped:
            sys.stderr.write(_CURSOR if sys.stderr.isatty() else "")
            sys.stderr.flush()
            os._exit(128 + number)
        stopped.append(number)
        if stopping:
            tell(stopping)
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    await work()


def _report(code: str, category: str, message: str, *, as_json: bool) -> None:
    if as_json:
        say_json({"error": {"code": code, "category": category, "message": message}})
    else:
        tell(f"error: {message}")


def _log_to_stderr() -> None:
    """Stdout is for results alone."""
    import structlog  # noqa: PLC0415 - `--help` answers at once

    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            _in_one_line,
            # Plain: the fancy one prints local variables, and with them what users gave us.
            structlog.dev.ConsoleRenderer(
                colors=False, exception_formatter=structlog.dev.plain_traceback
            ),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )


def _in_one_line(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Any:
    """An error that the house expects, such as a full disk, needs no traceback."""
    if isinstance(event.get("exc_info"), Error):
        event["error"] = str(event.pop("exc_info"))
    return event
