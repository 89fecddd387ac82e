"""What every command stands on: the settings, an open app, signals, and how it all ends.

The app and its libraries are imported when a command works, so that `--help` answers at once.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import shlex
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from understudy.cli.terminal import say_json, tell
from understudy.errors import ConfigError, Error, Unauthorized
from understudy.loop import run

if TYPE_CHECKING:
    from understudy.app import App
    from understudy.client import AsyncClient
    from understudy.settings import Settings

Work = Callable[["App"], Awaitable[None]]
Remote = Callable[["AsyncClient"], Awaitable[None]]

INTERNAL_ERROR = 70  # EX_SOFTWARE of sysexits.h

_CURSOR = "\x1b[?25h"  # a progress bar hides it


@dataclasses.dataclass(frozen=True, slots=True)
class Session:
    """The options before the command."""

    home: Path | None = None
    load: tuple[Path, ...] = ()
    server: str | None = None
    key: str | None = None

    def settings(self, *, anywhere: bool = False) -> Settings:
        """Settings from the environment, then from the options. Raises `ConfigError`.

        With a server to be asked, they are only for commands that work `anywhere`.
        """
        from pydantic import ValidationError  # noqa: PLC0415 - `--help` answers at once

        from understudy.settings import Settings  # noqa: PLC0415 - the same

        options = {"home": self.home, "server": self.server, "key": self.key}
        given: dict[str, Any] = {name: one for name, one in options.items() if one is not None}
        try:
            settings = Settings(**given)
        except ValidationError as error:
            faults = (
                f"UNDERSTUDY_{str(fault['loc'][0]).upper()}: {fault['msg']}"
                for fault in error.errors()
            )
            raise ConfigError("; ".join(faults)) from error
        if settings.server and not anywhere:
            raise ConfigError(
                f"this works on a machine's own data, and not through {settings.server}: "
                "run it there, or leave out --server (and UNDERSTUDY_SERVER)"
            )
        loaded = [*filter(None, [settings.load]), *map(str, self.load)]
        return settings.model_copy(update={"load": os.pathsep.join(loaded)})

    @property
    def elsewhere(self) -> bool:
        """Whether a server is to be asked; False for settings that `settings` refuses."""
        try:
            return bool(self.settings(anywhere=True).server)
        except ConfigError:
            return False

    def command(self, *words: str) -> str:
        """A command for the person to type, with the options that this one was given."""
        before = [] if self.home is None else ["--home", str(self.home)]
        before += [] if self.server is None else ["--server", self.server]
        before += [word for path in self.load for word in ("--load", str(path))]
        return shlex.join(["understudy", *before, *words])


STOPPING = "Stopping, running steps may finish; once more to leave at once."


def perform(
    ctx: typer.Context,
    work: Work,
    *,
    as_json: bool,
    stopping: str = STOPPING,
    service: bool = False,
    remote: Remote | None = None,
) -> None:
    """Open the app, do the work, and leave with the right exit code and one clear line.

    SIGINT and SIGTERM cancel `work` once, so that it drains, and end with 130 or 143; a second one
    ends the process where it stands, which the journal survives. `stopping` is said at the first.
    A `service` writes all its logs on stderr, in the form of the settings; any other command only
    what should worry its person. With `--server`, `remote` does the work there.
    """

    async def inside() -> None:
        settings = ctx.obj.settings(anywhere=remote is not None)
        if settings.server and remote is not None:
            await _ask(settings, remote)
            return
        from understudy.app import App  # noqa: PLC0415 - `--help` answers at once

        with logged(settings, service=service):
            async with App.open(settings) as app:
                await work(app)

    finish(inside, as_json=as_json, stopping="" if ctx.obj.elsewhere else stopping)


async def _ask(settings: Settings, remote: Remote) -> None:
    from understudy.client import AsyncClient  # noqa: PLC0415 - `--help` answers at once

    key = None if settings.key is None else settings.key.get_secret_value()
    async with AsyncClient(settings.server, key) as client:
        try:
            await remote(client)
        except Unauthorized as error:
            raise Unauthorized(
                f"{error.message}; give a key with UNDERSTUDY_KEY or --key"
            ) from error


def logged(settings: Settings, *, service: bool) -> AbstractContextManager[None]:
    """Write logs inside the block: on stderr, as stdout is for results alone, and kept at home."""
    from understudy.clock import SystemClock  # noqa: PLC0415 - `--help` answers at once
    from understudy.telemetry.kept import Kept  # noqa: PLC0415 - the same
    from understudy.telemetry.logs import Logs, logging_as  # noqa: PLC0415 - the same

    clock = SystemClock()
    key = settings.admin_key
    return logging_as(
        Logs(
            clock,
            form=settings.logs if service else "text",
            level="info" if service else "warning",
            prompts=settings.log_prompts,
            secrets=() if key is None else (key.get_secret_value(),),
            runs=service,
            kept=Kept(settings.logs_folder, clock),
        )
    )


def finish(work: Callable[[], Awaitable[None]], *, as_json: bool, stopping: str = STOPPING) -> None:
    """Run `work` to its end on an event loop; errors become a line and an exit code."""
    stopped: list[signal.Signals] = []
    try:
        run(_stoppable(work, stopped, stopping))
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
