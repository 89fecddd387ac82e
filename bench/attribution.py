"""Shares a thread's CPU time out among parts of the code.

The event loop's thread makes some hundred calls a step, and a profiler that hooks into each would
measure itself. It is sampled: after each few milliseconds of CPU time a signal asks in which
function it is, and what is written in C counts for its caller. The writer's thread makes few calls
for many steps and runs under cProfile, on the thread's CPU clock and for Python functions alone;
what that adds to each call is measured on empty functions and taken off.
"""

from __future__ import annotations

import cProfile
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from types import CodeType, FrameType

Parts = Sequence[tuple[str, Sequence[str]]]
"""The name of each part, and what the path of its files contains."""

_EVERY = 0.001
"""Seconds of the process's CPU time; a kernel may round it up to its own tick of 4 ms."""

_CALLS = 20_000


class Sampler:
    """Where the main thread is, asked over and over. An idle event loop is not counted."""

    def __init__(self, parts: Parts, otherwise: str) -> None:
        self._parts = parts
        self._otherwise = otherwise
        self.found: Counter[str] = Counter()

    def start(self) -> None:
        """To be called in the main thread, whose place is noted from now on."""
        signal.signal(signal.SIGPROF, self._note)
        signal.setitimer(signal.ITIMER_PROF, _EVERY, _EVERY)

    def stop(self) -> None:
        """Note no more."""
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, signal.SIG_IGN)

    def _note(self, _: int, frame: FrameType | None) -> None:
        if frame is not None and frame.f_code.co_filename.endswith("selectors.py"):
            return
        while frame is not None:
            part = _part_of(frame.f_code.co_filename, self._parts)
            if part is not None:
                self.found[part] += 1
                return
            frame = frame.f_back
        self.found[self._otherwise] += 1


def profiler() -> cProfile.Profile:
    """It counts the CPU time of the thread that enables it, and not what the thread waits for."""
    return cProfile.Profile(time.thread_time, builtins=False)


def shares(profile: cProfile.Profile, parts: Parts, otherwise: str) -> dict[str, float]:
    """Seconds by part, of which the ratios count; what is in none of the parts is `otherwise`."""
    called, caller = _overhead()
    found: defaultdict[str, float] = defaultdict(float)
    for entry in profile.getstats():
        assert isinstance(entry.code, CodeType)  # what is written in C counts for its caller
        made = sum(call.callcount for call in entry.calls or ())
        seconds = entry.inlinetime - entry.callcount * called - made * caller
        found[_part_of(entry.code.co_filename, parts) or otherwise] += max(0.0, seconds)
    return dict(found)


def _overhead() -> tuple[float, float]:
    """Seconds that the profiler adds for each call: to the called function, and to its caller."""
    started = time.thread_time()
    _many()
    bare = (time.thread_time() - started) / _CALLS / 2  # of each of the two
    profile = profiler()
    profile.enable()
    _many()
    profile.disable()
    own = {entry.code: entry.inlinetime / _CALLS - bare for entry in profile.getstats()}
    return max(0.0, own[_empty.__code__]), max(0.0, own[_many.__code__])


def _many() -> None:
    for _ in range(_CALLS):
        _empty()


def _empty() -> None:
    pass


def _part_of(place: str, parts: Parts) -> str | None:
    for name, marks in parts:
        if any(mark in place for mark in marks):
            return name
    return None
