"""Running a step's body: an async function on the loop, a plain one in a thread, each with an end.

A timeout or a cancellation really ends the body before anything else happens: an async body is
cancelled and awaited; in a thread the next Python instruction raises. (A thread inside one long
call of a C library ends when that call returns: use an async function or a subprocess for those.)
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import ctypes
import functools
import inspect
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import FunctionType
from typing import Any, ParamSpec, TypeVar

from understudy.clock import Clock
from understudy.errors import Permanent, StepTimeout

T = TypeVar("T")
P = ParamSpec("P")

_THREADS = 64
"""Plain functions at once; their own pool, so that they hold up nothing else of the process."""


_LOOKS = 9
"""Turns of a loop after which the interpreter has surely looked for a pending exception."""


class _Ended(BaseException):
    """Raised inside a thread whose step is over."""


async def run_body(
    function: Callable[..., Any], arguments: Sequence[Any], seconds: float | None, clock: Clock
) -> Any:
    """The function's result. Raises `StepTimeout` once a body past its `seconds` has ended."""
    if seconds is None:
        return await _call(function, arguments)
    body = asyncio.ensure_future(_call(function, arguments))
    alarm = asyncio.ensure_future(clock.sleep(seconds))
    try:
        await asyncio.wait({body, alarm}, return_when=asyncio.FIRST_COMPLETED)
        if not body.done():
            await _end(body)
            raise StepTimeout(f"the step ran past its timeout of {seconds:g} s and was ended")
        return body.result()
    finally:
        alarm.cancel()
        await _end(body)


async def contained(
    function: Callable[P, Awaitable[T]], *arguments: P.args, **named: P.kwargs
) -> T:
    """Call the author's code, which may end itself but not the process."""
    try:
        return await function(*arguments, **named)
    except SystemExit as error:
        raise _exited(error) from error


async def _end(body: asyncio.Future[Any]) -> None:
    """Cancel a body and wait until it is over, whatever it says on the way out.

    Being cancelled meanwhile does not cut this short; it is raised afterwards.
    """
    canceled: asyncio.CancelledError | None = None
    body.cancel()
    while not body.done():
        try:
            await asyncio.wait({body})
        except asyncio.CancelledError as error:
            canceled = error
    if not body.cancelled():
        body.exception()
    if canceled is not None:
        raise canceled


async def _call(function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    try:
        if _is_async(function):
            return await function(*arguments)
        result = await _in_thread(function, arguments)
        # A lambda or a partial around an async function.
        return await result if inspect.isawaitable(result) else result
    except SystemExit as error:
        raise _exited(error) from error
    except asyncio.CancelledError as error:
        current = asyncio.current_task()
        if current is not None and not current.cancelling():
            # Nobody cancelled us: the body gave up on something of its own.
            raise Permanent("the step's body was cancelled from inside") from error
        raise


def _exited(error: SystemExit) -> Permanent:
    return Permanent(f"the code called sys.exit({error.code!r})")


def _is_async(function: Callable[..., Any]) -> bool:
    """Also for an object that is called like an async function."""
    if isinstance(function, FunctionType) and function.__code__.co_flags & inspect.CO_COROUTINE:
        return True  # most are, and `inspect` takes ten times as long to say so
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - its function is wanted
    )


async def _in_thread(function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    thread = _Thread(function, arguments)
    job = _threads().submit(contextvars.copy_context().run, thread.run)
    work = asyncio.wrap_future(job)
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        # One that still waits for a thread never begins.
        while not (job.cancel() or work.done()):
            thread.end()
            # Being cancelled once more does not leave the thread behind.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({work}, timeout=0.05)
        if work.done() and not work.cancelled():
            work.exception()
        raise


@functools.cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="understudy-step")


class _Thread:
    """One call in a pool's thread, which can be told to end but never after it has ended."""

    def __init__(self, function: Callable[..., Any], arguments: Sequence[Any]) -> None:
        self._function = function
        self._arguments = arguments
        self._lock = threading.Lock()
        self._ident: int | None = None

    def run(self) -> Any:
        self._ident = threading.get_ident()
        try:
            return self._function(*self._arguments)
        except _Ended as ended:
            raise asyncio.CancelledError from ended
        finally:
            self._over()

    def end(self) -> None:
        with self._lock:
            if self._ident is not None:
                ended = ctypes.py_object(_Ended)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._ident), ended)

    def _over(self) -> None:
        """Let nothing more be raised here, and let what is on its way arrive.

        It cannot be taken back: setting no exception (NULL) leaves Python 3.11's interpreter
        looking for one for ever, which under a tracer is an endless loop.
        """
        while True:
            try:
                with self._lock:
                    self._ident = None
                for _ in range(_LOOKS):
                    pass
            except _Ended:
                continue
            return
