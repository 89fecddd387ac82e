"""Each thing that the server can be asked, as a talk: what is sent, and what comes of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TypedDict, Unpack
from urllib.parse import quote

from pydantic import BaseModel

from understudy import ids
from understudy.client.body import Body
from understudy.client.downloading import download
from understudy.client.effects import Call, Emit, Now, Sleep, Talk
from understudy.client.failures import RunFailed, retry_after
from understudy.client.patience import Patience, ask, parsed
from understudy.errors import InputError
from understudy.wire import ArtifactView, OperationList, OperationView, RunPage, RunView, SignalView

Input = Mapping[str, Any] | BaseModel
File = Path | bytes | BinaryIO
Stored = str | ArtifactView | Mapping[str, Any]

_WAIT = 30.0
"""Seconds that the server is asked to hold a request: less than proxies wait for an answer."""
_LOOK_EVERY = 1.0
_LOOK_SELDOM = 5.0
_SLACK = 0.5
_MOST_KEY = 200
"""As the server has it."""


class How(TypedDict, total=False):
    """Whom a run is for, when it begins (seconds from now), who is told of its end, and its key.

    Without an idempotency key, each call is a new asking and gets a key of its own.
    """

    user: str | None
    delay: float
    webhook: str | None
    idempotency_key: str | None


class Wanted(TypedDict, total=False):
    """Which runs to list: by operation, state, user, and the time of asking (RFC 3339)."""

    operation: str | None
    status: str | None
    user: str | None
    since: str | None
    until: str | None
    unfinished: bool | None


class Talks:
    """The talks of one client. What a caller gives is checked before anything is sent."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience

    def submit(
        self, operation: str, given: Input, *, wait: float = 0, **how: Unpack[How]
    ) -> Talk[RunView]:
        """Ask for an operation; files in the input are uploaded first."""
        key = how.get("idempotency_key")
        data = given.model_dump(mode="json") if isinstance(given, BaseModel) else given
        if key is not None and _holds_files(data):
            raise InputError(
                "with an idempotency key of your own, upload the files first and give their ids: "
                "uploaded anew they would have others, and the input would not be the same"
            )
        body = {"operation": operation, "input": (yield from self._uploaded(data))}
        body |= {name: how[name] for name in ("user", "webhook") if how.get(name) is not None}
        if how.get("delay"):
            body["delay"] = how["delay"]
        headers = _keyed(key) | ({"Prefer": f"wait={int(wait)}"} if int(wait) else {})
        call = _json_call("/v1/runs", body, headers, wait)
        return parsed(RunView, (yield from ask(call, self._patience)))

    def run(
        self, operation: str, given: Input, *, within: float | None = None, **how: Unpack[How]
    ) -> Talk[RunView]:
        """Ask for an operation and see it succeed. Raises `RunFailed` and `TimeoutError`."""
        begun: float = yield Now()
        hold = _WAIT if within is None else min(_WAIT, within)
        run = yield from self.submit(operation, given, wait=hold, **how)
        if not run.done:
            now: float = yield Now()
            left = None if within is None else max(0.0, begun + within - now)
            run = yield from self.wait(run.id, left)
        if run.status != "succeeded":
            raise RunFailed(run)
        return run

    def wait(self, run_id: str, within: float | None = None) -> Talk[RunView]:
        """The run once it has ended, however. Raises `TimeoutError`; the run goes on."""
        begun: float = yield Now()
        asked = begun
        while True:
            left = _WAIT if within is None else max(0.0, begun + within - asked)
            hold = int(min(_WAIT, left))
            headers = {"Prefer": f"wait={hold}"} if hold else {}
            call = Call("GET", _run(run_id), headers=headers, timeout=_patient(hold))
            reply = yield from ask(call, self._patience.longer())
            run = parsed(RunView, reply)
            if run.done:
                return run
            now: float = yield Now()
            if within is not None and now - begun >= within:
                raise TimeoutError(f"{run_id} has not ended within {within:g} s; it goes on")
            if now - asked < hold - _SLACK or not hold:  # it did not hold the request
                slow = min(_LOOK_SELDOM, (now - begun) / 20)  # a twentieth late at most
                hint = max(slow, retry_after(reply, now) or _LOOK_EVERY)
                yield Sleep(hint if within is None else min(hint, begun + within - now))
            asked = yield Now()

    def get(self, run_id: str) -> Talk[RunView]:
        """One run with its steps."""
        return parsed(RunView, (yield from ask(Call("GET", _run(run_id)), self._patience)))

    def list(
        self, limit: int | None = None, page: str | None = None, **wanted: Unpack[Wanted]
    ) -> Talk[RunPage]:
        """One page of runs, newest first."""
        query: dict[str, Any] = {**wanted, "limit": limit, "page": page}
        if wanted.get("unfinished") is not None:
            query["unfinished"] = str(wanted["unfinished"]).lower()
        call = Call("GET", "/v1/runs", {k: v for k, v in query.items() if v is not None})
        return parsed(RunPage, (yield from ask(call, self._patience)))

    def runs(self, **wanted: Unpack[Wanted]) -> Talk[None]:
        """Emit every run that fits, newest first, page by page."""
        page: str | None = None
        while True:
            found = yield from self.list(page=page, **wanted)
            for run in found.items:
                yield Emit(run)
            if found.next is None:
                return
            page = found.next

    def cancel(self, run_id: str) -> Talk[RunView]:
        """Ask the run to stop; once more is no error."""
        return parsed(RunView, (yield from ask(_post(_run(run_id, "cancel")), self._patience)))

    def retry(self, run_id: str) -> Talk[RunView]:
        """Run a failed or canceled run again."""
        # A second one would meet the run that the first has queued, and be refused for it.
        call = _post(_run(run_id, "retry"), twice=False)
        return parsed(RunView, (yield from ask(call, self._patience)))

    def replay(
        self, run_id: str, given: Input | None = None, *, idempotency_key: str | None = None
    ) -> Talk[RunView]:
        """A new run of the same operation, with the same input or an edited one."""
        data = given.model_dump(mode="json") if isinstance(given, BaseModel) else given
        body = {} if data is None else {"input": (yield from self._uploaded(data))}
        call = _json_call(_run(run_id, "replay"), body, _keyed(idempotency_key))
        return parsed(RunView, (yield from ask(call, self._patience)))

    def signal(
        self, name: str, data: Any = None, *, idempotency_key: str | None = None
    ) -> Talk[SignalView]:
        """Tell the runs that wait for it."""
        body = {"name": name, "data": data}
        call = _json_call("/v1/signals", body, _keyed(idempotency_key))
        return parsed(SignalView, (yield from ask(call, self._patience)))

    def operations(self) -> Talk[Sequence[OperationView]]:
        """What can be asked for."""
        reply = yield from ask(Call("GET", "/v1/operations"), self._patience)
        return parsed(OperationList, reply).items

    def operation(self, name: str) -> Talk[OperationView]:
        """One operation with its schemas."""
        call = Call("GET", f"/v1/operations/{quote(name, safe='')}")
        return parsed(OperationView, (yield from ask(call, self._patience)))

    def upload(
        self, source: File, name: str | None = None, media_type: str | None = None
    ) -> Talk[ArtifactView]:
        """Store a file."""
        body = Body(source, name, media_type)
        call = Call("POST", "/v1/artifacts", headers={**_keyed(None), **body.headers}, body=body)
        return parsed(ArtifactView, (yield from ask(call, self._patience)))

    def artifact(self, artifact_id: str) -> Talk[ArtifactView]:
        """What is known of a stored file."""
        call = Call("GET", f"/v1/artifacts/{quote(artifact_id, safe='')}")
        return parsed(ArtifactView, (yield from ask(call, self._patience)))

    def download(self, artifact: Stored, target: Path) -> Talk[Path]:
        """Save a stored file; the path written."""
        if not isinstance(artifact, ArtifactView):
            artifact_id = artifact if isinstance(artifact, str) else artifact.get("id")
            if not isinstance(artifact_id, str):
                raise InputError(f"{artifact!r} names no file")
            artifact = yield from self.artifact(artifact_id)
        return (yield from download(artifact, target, self._patience))

    def _uploaded(self, value: Any) -> Talk[Any]:
        """The value with the id of an artifact where there was a file."""
        if _is_file(value):
            return (yield from self.upload(value)).id
        if isinstance(value, BaseModel):
            return value.model_dump(mode="json")
        if isinstance(value, Mapping):
            made = {}
            for name, inner in value.items():
                made[name] = yield from self._uploaded(inner)
            return made
        if isinstance(value, list | tuple):
            row = []
            for inner in value:
                row.append((yield from self._uploaded(inner)))  # noqa: PERF401 - a talk inside
            return row
        return value


def _run(run_id: str, *rest: str) -> str:
    return "/".join(["/v1/runs", quote(run_id, safe=""), *rest])


def _patient(hold: float) -> float | None:
    """A request that is held so long may be silent so long, and then as long as any other."""
    return hold + _WAIT if hold else None


def _keyed(key: str | None) -> dict[str, str]:
    """The header with the caller's key, or a new one."""
    if key is None:
        key = ids.random("key")
    if (
        not 0 < len(key) <= _MOST_KEY
        or not key.isascii()
        or not key.isprintable()
        or set(key) & set('"\\')
    ):
        raise InputError(
            f"idempotency key {key!r}: 1 to {_MOST_KEY} printable ASCII characters, no quotes,"
            " no backslash"
        )
    return {"Idempotency-Key": f'"{key}"'}


def _post(path: str, *, twice: bool = True) -> Call:
    return Call("POST", path, headers=_keyed(None), twice=twice)


def _json_call(path: str, body: Any, headers: Mapping[str, str], hold: float = 0) -> Call:
    try:
        content = json.dumps(body, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise InputError(f"the input is not JSON: {error}") from error
    given = {"Content-Type": "application/json", **headers}
    return Call("POST", path, headers=given, body=content, timeout=_patient(hold))


def _is_file(value: Any) -> bool:
    return isinstance(value, Path | bytes) or (hasattr(value, "read") and hasattr(value, "seek"))


def _holds_files(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_holds_files, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_holds_files, value))
    return _is_file(value)
