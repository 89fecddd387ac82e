"""Media work in other processes: the event loop stays free, and cancelling really ends the work."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Self

from understudy import errors
from understudy.errors import MediaError

Params = dict[str, Any]
OnProgress = Callable[[int], None]

# -P: a `json.py` in the user's working folder is not ours to import.
WORKER: Final = (sys.executable, "-P", "-m", "understudy.media.worker")
_LINE_BYTES: Final = 64 << 20  # of one answer; an archive's 2,000 members take under 1 MB
_LOG_BYTES: Final = 1 << 20
_ERRORS: Final[Mapping[str, type[errors.Error]]] = {
    kind.__name__: kind
    for kind in (
        errors.ConfigError,
        errors.InputError,
        errors.MediaError,
        errors.StorageError,
        errors.StorageFull,
    )
}


class MediaPool:
    """At most `cores` worker processes, started when needed and kept; one task each at a time.

    Tasks wait in the order they came. `env` is the workers' whole environment (None: this
    process's own). Belongs to the event loop that it is first used on; `close` it there.
    """

    def __init__(
        self,
        cores: int,
        *,
        env: Mapping[str, str] | None = None,
        command: Sequence[str] = WORKER,
    ) -> None:
        self.cores = cores
        self._env = env
        self._command = command
        self._turns = asyncio.Semaphore(cores)
        self._idle: list[_Worker] = []
        self._workers: set[_Worker] = set()
        self._closed = False

    async def run(self, task: str, params: Params, on_progress: OnProgress | None = None) -> Params:
        """Do one task of `understudy.media.worker.TASKS` and return what it answers.

        `on_progress` is called on the event loop with the task's own count. Errors are those that
        the task raised; `MediaError` if its process died. Cancelling kills the task's process, and
        any ffmpeg it started, before the cancellation goes on.
        """
        async with self._turns:
            worker = await self._free_worker()
            try:
                answer = await worker.ask({"task": task, "params": params}, on_progress)
            except BaseException:
                await self._end(worker)
                raise
            self._idle.append(worker)
        if "error" in answer:
            raise _revived(answer["error"])
        result: Params = answer["result"]
        return result

    async def _free_worker(self) -> _Worker:
        while self._idle:
            # The last one used: its libraries are loaded and its memory is warm.
            worker = self._idle.pop()
            if worker.alive:
                return worker
            await self._end(worker)
        if self._closed:
            raise MediaError("the media pool is closed")
        worker = _Worker(self._command, self._env)
        self._workers.add(worker)
        try:
            await worker.connect()
        except BaseException:
            await self._end(worker)
            raise
        return worker

    async def _end(self, worker: _Worker) -> None:
        gone = worker.end()
        gone.add_done_callback(lambda _: self._workers.discard(worker))
        # The wait goes on if this is cancelled: a process that nobody waits for stays a zombie.
        await asyncio.shield(gone)

    @property
    def pids(self) -> list[int]:
        """The processes that live now, busy or idle."""
        return [worker.pid for worker in self._workers]

    async def close(self) -> None:
        """Kill every worker and wait for its end; tasks under way fail with `MediaError`."""
        self._closed = True
        self._idle.clear()
        await asyncio.gather(*map(self._end, list(self._workers)))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()


class _Worker:
    """One process, and the socket that carries its requests and answers.

    One socket both ways: its end comes with the parent's, however the parent ends, and with it
    the end of the worker.
    """

    def __init__(self, command: Sequence[str], env: Mapping[str, str] | None) -> None:
        self._socket, theirs = socket.socketpair()
        self._log = tempfile.TemporaryFile("a+b")  # noqa: SIM115 - closed when the process is gone
        with theirs:
            try:
                self._process = subprocess.Popen(  # noqa: S603 - our own module
                    command,
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    stderr=self._log,
                    env=env,
                    start_new_session=True,
                )
            except OSError as error:
                self._socket.close()
                self._log.close()
                raise MediaError(f"no media worker could be started: {error}") from error
        self.pid = self._process.pid
        self._requests: asyncio.StreamWriter | None = None
        self._gone: asyncio.Task[None] | None = None
        self._last_words = ""

    async def connect(self) -> None:
        """Open the socket's streams on the running event loop."""
        self._answers, self._requests = await asyncio.open_unix_connection(
            sock=self._socket, limit=_LINE_BYTES
        )

    @property
    def alive(self) -> bool:
        """Whether it still listens, as far as can be told without asking."""
        return not self._answers.at_eof()

    async def ask(self, request: Params, on_progress: OnProgress | None) -> Params:
        """Send a request, hand on its progress, return its result or error."""
        assert self._requests is not None
        with contextlib.suppress(ConnectionError):  # it died with our words unread
            self._requests.write(json.dumps(request).encode() + b"\n")
            await self._requests.drain()
            while (line := await self._answers.readline()).endswith(b"\n"):
                answer: Params = json.loads(line)
                if "progress" not in answer:
                    self._trim_log()
                    return answer
                if on_progress is not None:
                    on_progress(answer["progress"])
        await asyncio.shield(self.end())
        raise MediaError(self._obituary(request["task"]))

    def end(self) -> asyncio.Task[None]:
        """Kill the process and its children now; the task is done when they are gone."""
        if self._gone is None:
            # Nobody has waited for the process, so the number is surely still its own.
            with contextlib.suppress(PermissionError):  # macOS' answer when it is dead already
                os.killpg(self.pid, signal.SIGKILL)
            self._gone = asyncio.create_task(self._bury())
        return self._gone

    async def _bury(self) -> None:
        await asyncio.to_thread(self._wait)
        self._last_words = self._log_tail()
        self._log.close()
        if self._requests is not None:
            self._requests.transport.abort()
            with contextlib.suppress(ConnectionError):
                await self._requests.wait_closed()
        self._socket.close()

    def _wait(self) -> None:
        self._process.wait()
        # As the first process of a container this one inherits the worker's children.
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-self.pid, 0)

    def _obituary(self, task: str) -> str:
        code = self._process.returncode
        how = f"ended with exit code {code}"
        if code < 0:
            name = next((known.name for known in signal.Signals if known == -code), str(-code))
            how = f"was killed by {name}"
        hint = " (out of memory?)" if code == -signal.SIGKILL else ""
        return f"the media worker {how}{hint} during {task!r}{self._last_words}"

    def _log_tail(self) -> str:
        """The last line that the process wrote to standard error, if any."""
        self._log.seek(max(0, os.fstat(self._log.fileno()).st_size - 1000))
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return f": {lines[-1].strip()}" if lines else ""

    def _trim_log(self) -> None:
        if os.fstat(self._log.fileno()).st_size > _LOG_BYTES:
            self._log.truncate(0)


def _revived(described: Params) -> errors.Error:
    """The error that a worker described, as the same class."""
    kind = _ERRORS.get(described["class"], MediaError)
    return kind(described["message"], category=described["category"])
