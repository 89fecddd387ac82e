"""The client that blocks: the same talks, without an event loop."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Sequence
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
from understudy.clock import BlockingClock, SystemBlockingClock
from understudy.wire import ArtifactView, OperationView, RunPage, RunView, SignalView

T = TypeVar("T")


class Client:
    """An Understudy server at `url`, asked with the bearer key `key`.

    Whatever asks for something carries an idempotency key, so that a request whose answer was lost
    is sent again without doing anything twice. Errors are those of `understudy.errors`; without an
    answer it is `Unreachable`. Use it in `with`, or `close()` it.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        patience: Patience | None = None,
        timeout: float = 30.0,
        transport: httpx.BaseTransport | None = None,
        clock: BlockingClock | None = None,
    ) -> None:
        self._patience = patience or Patience()
        self._server = Server(url, key, timeout)
        self._http = httpx.Client(transport=transport, **self._server.settings())
        self._clock = clock or SystemBlockingClock()
        self._talks = Talks(self._patience)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def submit(self, operation: str, given: Input, **how: Unpack[How]) -> RunView:
        """Ask for an operation; it is durable on return.

        Paths, bytes and open files in the input are uploaded, and their ids stand in their place.
        """
        return self._result(self._talks.submit(operation, given, **how))

    def run(
        self, operation: str, given: Input, *, within: float | None = None, **how: Unpack[How]
    ) -> RunView:
        """Ask for an operation and return it once it has succeeded.

        Raises `RunFailed` if it ends otherwise, and `TimeoutError` after `within` seconds, when the
        run goes on.
        """
        return self._result(self._talks.run(operation, given, within=within, **how))

    def wait(self, run_id: str, within: float | None = None) -> RunView:
        """The run once it has ended, however; `TimeoutError` after `within` seconds."""
        return self._result(self._talks.wait(run_id, within))

    def get(self, run_id: str) -> RunView:
        """The run now, with its steps and what it waits for. Raises `NotFound`."""
        return self._result(self._talks.get(run_id))

    def list(
        self, limit: int | None = None, page: str | None = None, **wanted: Unpack[Wanted]
    ) -> RunPage:
        """One page of runs, newest first; its `next` is the following one's `page`."""
        return self._result(self._talks.list(limit, page, **wanted))

    def runs(self, **wanted: Unpack[Wanted]) -> Generator[RunView, None, None]:
        """Every run that fits, newest first."""
        return self._stream(self._talks.runs(**wanted))

    def events(self, run_id: str, after: str | None = None) -> Generator[Event, None, None]:
        """The run now and at each change, until it has ended; resumes behind the event `after`."""
        return self._stream(following.follow(run_id, after, self._patience.longer()))

    def cancel(self, run_id: str) -> RunView:
        """Ask the run and its children to stop. Raises `Conflict` if it ended otherwise."""
        return self._result(self._talks.cancel(run_id))

    def retry(self, run_id: str) -> RunView:
        """Run a failed or canceled run again; its finished steps are kept. Raises `Conflict`."""
        return self._result(self._talks.retry(run_id))

    def replay(
        self, run_id: str, given: Input | None = None, *, idempotency_key: str | None = None
    ) -> RunView:
        """A new run of the same operation with the same input, or with an edited one."""
        talk = self._talks.replay(run_id, given, idempotency_key=idempotency_key)
        return self._result(talk)

    def signal(
        self, name: str, data: Any = None, *, idempotency_key: str | None = None
    ) -> SignalView:
        """Tell the runs that wait for this signal, now or later."""
        talk = self._talks.signal(name, data, idempotency_key=idempotency_key)
        return self._result(talk)

    def operations(self) -> Sequence[OperationView]:
        """What can be asked for, with JSON Schemas and examples."""
        return self._result(self._talks.operations())

    def operation(self, name: str) -> OperationView:
        """One operation. Raises `NotFound`."""
        return self._result(self._talks.operation(name))

    def upload(
        self, source: File, name: str | None = None, media_type: str | None = None
    ) -> ArtifactView:
        """Store a file; its `id` is what inputs take. It is streamed from where it lies."""
        return self._result(self._talks.upload(source, name, media_type))

    def artifact(self, artifact_id: str) -> ArtifactView:
        """What is known of a stored file, with a link that expires. Raises `NotFound`."""
        return self._result(self._talks.artifact(artifact_id))

    def download(self, artifact: Stored, target: Path | str) -> Path:
        """Save a stored file at `target`, or in it if it is a folder; the path written.

        The file is named by its id, by what `upload` gave, or by what an output holds. A broken
        download goes on where it stopped. The goal is written whole or not at all.
        """
        return self._result(self._talks.download(artifact, Path(target)))

    def _result(self, talk: Talk[T]) -> T:
        driver = _Driver(self._http, self._server, self._clock)
        with contextlib.closing(driver), contextlib.closing(talk):
            answer, error = None, None
            while True:
                try:
                    effect = talk.throw(error) if error else talk.send(answer)
                except StopIteration as end:
                    result: T = end.value
                    return result
                answer, error = driver.attempt(effect)

    def _stream(self, talk: Talk[None]) -> Generator[Any, None, None]:
        driver = _Driver(self._http, self._server, self._clock)
        with contextlib.closing(driver), contextlib.closing(talk):
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
                    answer, error = driver.attempt(effect)


class _Driver:
    """Does, one after the other, what one talk asks for."""

    def __init__(self, http: httpx.Client, server: Server, clock: BlockingClock) -> None:
        self._http = http
        self._server = server
        self._clock = clock
        self._open: httpx.Response | None = None
        self._pieces: Iterator[bytes] | None = None

    def attempt(self, effect: Effect) -> tuple[Any, Exception | None]:
        """The effect's result, or the error that it ended in."""
        try:
            return self._do(effect), None
        except Exception as error:  # noqa: BLE001 - it goes into the talk, which knows what to do
            return None, error

    def close(self) -> None:
        """Close the answer that is still open."""
        response, self._open, self._pieces = self._open, None, None
        if response is not None:
            response.close()

    def _do(self, effect: Effect) -> Any:
        match effect:
            case Send(call):
                return whole(self._http.send(request_of(self._http, self._server, call)))
            case Open(call):
                return self._opened(request_of(self._http, self._server, call))
            case Read():
                assert self._pieces is not None
                return next(self._pieces, None)
            case Sleep(seconds):
                self._clock.sleep(seconds)
            case Now():
                return self._clock.now()
            case Do(function):
                return function()
        return None

    def _opened(self, request: httpx.Request) -> Reply:
        self.close()
        self._open = self._http.send(request, stream=True)
        if not self._open.is_success:
            self._open.read()
            return whole(self._open)
        self._pieces = self._open.iter_bytes()
        return Reply(self._open.status_code, self._open.headers)
