"""An ffmpeg process that is fed through a pipe; what stops it becomes a typed error."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from understudy.errors import MediaError, StorageFull

_PIPE_BYTES: Final = 1 << 20
_KEPT_LINES: Final = 20
_LINE_BYTES: Final = 2_000


class Child:
    """Runs ffmpeg with `arguments` on the data written to it; `doing` names that in errors.

    End it with `finish` or `kill`, whatever happened. It stays in the caller's process group, so
    that whoever ends the group ends it too. MediaError if it cannot be started.
    """

    def __init__(self, ffmpeg: Path, arguments: Sequence[str], *, doing: str) -> None:
        self._doing = doing
        quiet = ("-hide_banner", "-loglevel", "error", "-y")
        try:
            process = subprocess.Popen(  # noqa: S603 - no shell, our own arguments
                [str(ffmpeg), *quiet, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                bufsize=0,
            )
        except OSError as error:
            raise MediaError(f"{doing}: ffmpeg could not be started: {error}") from error
        assert process.stdin is not None
        assert process.stderr is not None
        self._process, self._pipe, self._voice = process, process.stdin, process.stderr
        if sys.platform == "linux":
            with contextlib.suppress(OSError):  # a larger pipe only saves process switches
                fcntl.fcntl(self._pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._words: deque[bytes] = deque(maxlen=_KEPT_LINES)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        with os.fdopen(os.dup(self._voice.fileno()), "rb") as lines:
            while line := lines.readline(_LINE_BYTES):
                self._words.append(line)

    def write(self, data: bytes | memoryview) -> None:
        """Feed it; the error of `finish`, or MediaError, if it has stopped listening."""
        rest = memoryview(data).cast("B")
        try:
            while rest:
                rest = rest[self._pipe.write(rest) :]
        except BrokenPipeError as error:
            self.finish()
            raise MediaError(f"{self._doing}: ffmpeg ended before it had read all") from error

    def finish(self) -> None:
        """End its input and wait for it; StorageFull or MediaError unless it succeeds."""
        self._pipe.close()
        code = self._process.wait()
        self._release()
        if code == 0:
            return
        words = b"".join(self._words).decode("utf-8", "replace").strip()
        # ffmpeg leaves with the negated errno of what stopped it, on most paths.
        if code == 256 - errno.ENOSPC or os.strerror(errno.ENOSPC) in words:
            raise StorageFull(f"{self._doing}: no space is left on the device")
        raise MediaError(f"{self._doing}: ffmpeg ended with {code}: {words or 'no explanation'}")

    def kill(self) -> None:
        """End it now, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        self._release()

    def _release(self) -> None:
        self._pipe.close()
        self._listener.join()
        self._voice.close()
