"""Log lines, kept for a while: one file a day, for whoever asks later what a run said.

    <home>/logs/2026-11-22.jsonl    a JSON object a line, appended by all processes on this home

The files are bounded in size and in days. A log that cannot be written stops nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from understudy.clock import Clock, iso

_SUFFIX = ".jsonl"
_DAY = len("2026-11-22")
_LONGEST = 64 * 1024
_LATE = 60.0
"""Seconds: what is said of a run's end is said a moment later."""


class Kept:
    """The kept lines of one home, in `folder`.

    Up to `megabytes` a day are kept, for `days`. `write` may be called from any thread.
    """

    def __init__(
        self, folder: Path, clock: Clock, *, days: int = 14, megabytes: float = 64.0
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._days = days
        self._limit = megabytes * 1_000_000
        self._lock = threading.Lock()
        self._day = ""
        self._file: int | None = None

    def write(self, line: dict[str, Any]) -> None:
        """Append a line; a full disk, or a full day, loses it without a word."""
        text = json.dumps(line, ensure_ascii=False, default=str) + "\n"
        data = text.encode("utf-8", "backslashreplace")
        if len(data) > _LONGEST:
            return
        with self._lock, contextlib.suppress(OSError):
            file = self._today()
            # One write each: lines of several processes never mix.
            if os.fstat(file).st_size + len(data) <= self._limit:
                os.write(file, data)

    def of_run(
        self, run_id: str, since: float = 0.0, until: float | None = None
    ) -> Iterator[dict[str, Any]]:
        """The lines about a run, oldest first. Blocks.

        Only the days from `since` to `until` are looked through (seconds since 1970).
        """
        wanted = f'"{run_id}"'.encode()
        last = self._clock.now() if until is None else until
        days = _day(since), _day(last + _LATE)
        for path in self._files():
            if not days[0] <= path.stem <= days[1]:
                continue
            with contextlib.suppress(OSError), path.open("rb") as file:
                for line in file:
                    if wanted in line and (said := _read(line)) and said.get("run") == run_id:
                        yield said

    def close(self) -> None:
        """Close today's file; the next line opens it again."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None
                self._day = ""

    def _today(self) -> int:
        day = _day(self._clock.now())
        if self._file is None or day != self._day:
            if self._file is not None:
                os.close(self._file)
                self._file = None
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._file = os.open(self._folder / f"{day}{_SUFFIX}", flags, 0o600)
            self._day = day
            for path in self._files()[: -self._days]:
                path.unlink(missing_ok=True)
        return self._file

    def _files(self) -> list[Path]:
        """The days' files, oldest first."""
        if not self._folder.is_dir():
            return []
        found = (path for path in self._folder.glob(f"*{_SUFFIX}") if len(path.stem) == _DAY)
        return sorted(found)


def _day(seconds: float) -> str:
    return iso(seconds)[:_DAY]


def _read(line: bytes) -> dict[str, Any] | None:
    """A line's object; None for what a full disk has cut short."""
    with contextlib.suppress(ValueError):
        said = json.loads(line)
        if isinstance(said, dict):
            return said
    return None
