"""The client for asyncio."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx

from understudy.client import following
from understudy.client.connecting import Server, request_of, whole
from understudy.client.effects import Do, Effect, Emit, Now, Open, Read, Reply, Send, Sleep, Talk
from understudy.client.following import Event
from understudy.client.patience import Patience
from understudy.client.talks import File, How, Input, Stored, Talks, Wanted
from understudy.clock import Clock, SystemClock
from understudy.wire import ArtifactView, OperationView, RunPage, RunView, SignalView

T = TypeVar("T")


class AsyncClient:
    """An Understudy server at `url`, asked with the bearer key `key`.

    Whatever asks for something carries an idempotency key, so that a request whose answer was lost
    is sent again without doing anything twice. Errors are those of `understudy.errors`; without an
    answer it is `Unreachable`. Use it in `async with`, or `close()` it.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        patience: Patience | None = None,
        timeout: float = 30.0,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._patience = patience or Patience()
        self._server = Server(url, key, timeout)
        self._http = httpx.AsyncClient(transport=transport, **self._server.settings())
        self._clock = clock or SystemClock()
        self._talks = Talks(self._patience)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def submit(self, operation: str, given: Input, **how: Unpack[How]) -> RunView:
        """Ask for an operation; it is durable on return.

        Paths, bytes and open files in the input are uploaded, and their ids stand in their place.
        """
        return await self._result(self._talks.submit(operation, given, **how))

    async def run(
        self, operation: str, given: Input, *, within: float | None = None, **how: Unpack[How]
    ) -> RunView:
        """Ask for an operation and return it once it has succeeded.

        Raises `RunFailed` if it ends otherwise, and `TimeoutError` after `within` seconds, when the
        run goes on.
        """
        return await self._result(self._talks.run(operation, given, within=within, **how))

    async def wait(self, run_id: str, within: float | None = None) -> RunView:
        """The run once it has ended, however; `TimeoutError` after `within` seconds."""
        return await self._result(self._talks.wait(run_id, within))

    async def get(self, run_id: str) -> RunView:
        """The run now, with its steps and what it waits for. Raises `NotFound`."""
        return await self._result(self._talks.get(run_id))

    async def list(
        self, limit: int | None = None, page: str | None = None, **wanted: Unpack[Wanted]
    ) -> RunPage:
        """One page of runs, newest first; its `next` is the following one's `page`."""
        return await self._result(self._talks.list(limit, page, **wanted))

    def runs(self, **wanted: Unpack[Wanted]) -> AsyncGenerator[RunView, None]:
        """Every run that fits, newest first."""
        return self._stream(self._talks.runs(**wanted))

    def events(self, run_id: str, after: str | None = None) -> AsyncGenerator[Event, None]:
        """The run now and at each change, until it has ended; resumes behind the event `after`."""
        return self._stream(following.follow(run_id, after, self._patience.longer()))

    async def cancel(self, run_id: str) -> RunView:
        """Ask the run and its children to stop. Raises `Conflict` if it ended otherwise."""
        return await self._result(self._talks.cancel(run_id))

    async def retry(self, run_id: str) -> RunView:
        """Run a failed or canceled run again; its finished steps are kept. Raises `Conflict`."""
        return await self._result(self._talks.retry(run_id))

    async def replay(
        self, run_id: str, given: Input | None = None, *, idempotency_key: str | None = None
    ) -> RunView:
        """A new run of the same operation with the same input, or with an edited one."""
        talk = self._talks.replay(run_id, given, idempotency_key=idempotency_key)
        return await self._result(talk)

    async def signal(
        self, name: str, data: Any = None, *, idempotency_key: str | None = None
    ) -> SignalView:
        """Tell the runs that wait for this signal, now or later."""
        talk = self._talks.signal(name, data, idempotency_key=idempotency_key)
        return await self._result(talk)

    async def operations(self) -> Sequence[OperationView]:
        """What can be asked for, with JSON Schemas and examples."""
        return await self._result(self._talks.operations())

    async def operation(self, name: str) -> OperationView:
        """One operation. Raises `NotFound`."""
        return await self._result(self._talks.operation(name))

    async def upload(
        self, source: File, name: str | None = None, media_type: str | None = None
    ) -> ArtifactView:
        """Store a file; its `id` is what inputs take. It is streamed from where it lies."""
        return await self._result(self._talks.upload(source, name, media_type))

    async def artifact(self, artifact_id: str) -> ArtifactView:
        """What is known of a stored file, with a link that expires. Raises `NotFound`."""
        return await self._result(self._talks.artifact(artifact_id))

    async def download(self, artifact: Stored, target: Path | str) -> Path:
        """Save a stored file at `target`, or in it if it is a folder; the path written.

        The file is named by its id, by what `upload` gave, or by what an output holds. A broken
        download goes on where it stopped. The goal is written whole or not at all.
        """
        return await self._result(self._talks.download(artifact, Path(target)))

    async def _result(self, talk: Talk[T]) -> T:
        driver = _Driver(self._http, self._server, self._clock)
        with contextlib.closing(talk):
            async with contextlib.aclosing(driver):
                answer, error = None, None
                while True:
                    try:
                        effect = talk.throw(error) if error else talk.send(answer)
                    except StopIteration as end:
                        result: T = end.value
                        return result
                    answer, error = await driver.attempt(effect)

    async def _stream(self, talk: Talk[None]) -> AsyncGenerator[Any, None]:
        driver = _Driver(self._http, self._server, self._clock)
        with contextlib.closing(talk):
            async with contextlib.aclosing(driver):
                answer, error = None, None
                while True:
                    try:
                        effect = talk.throw(error) if error else talk.send(answer)
                    except StopIteration:
                        return
                    if isinstance(effect, Emit):
                        yield effect.value
                        answer, error = None, None
                    else:
                        answer, error = await driver.attempt(effect)


class _Driver:
    """Does on an event loop what one talk asks for."""

    def __init__(self, http: httpx.AsyncClient, server: Server, clock: Clock) -> None:
        self._http = http
        self._server = server
        self._clock = clock
        self._open: httpx.Response | None = None
        self._pieces: AsyncIterator[bytes] | None = None

    async def attempt(self, effect: Effect) -> tuple[Any, Exception | None]:
        """The effect's result, or the error that it ended in."""
        try:
            return await self._do(effect), None
        except Exception as error:  # noqa: BLE001 - it goes into the talk, which knows what to do
            return None, error

    async def aclose(self) -> None:
        """Close the answer that is still open."""
        response, self._open, self._pieces = self._open, None, None
        if response is not None:
            await response.aclose()

    async def _do(self, effect: Effect) -> Any:
        match effect:
            case Send(call):
                return whole(await self._http.send(request_of(self._http, self._server, call)))
            case Open(call):
                return await self._opened(request_of(self._http, self._server, call))
            case Read():
                assert self._pieces is not None
                return await anext(self._pieces, None)
            case Sleep(seconds):
                await self._clock.sleep(seconds)
            case Now():
                return self._clock.now()
            case Do(function):
                return await asyncio.to_thread(function)
        return None

    async def _opened(self, request: httpx.Request) -> Reply:
        await self.aclose()
        self._open = await self._http.send(request, stream=True)
        if not self._open.is_success:
            await self._open.aread()
            return whole(self._open)
        self._pieces = self._open.aiter_bytes()
        return Reply(self._open.status_code, self._open.headers)
