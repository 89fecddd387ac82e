"""The talk of a download, which goes on where it broke off."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import httpx

from understudy.client.effects import Call, Do, Now, Open, Read, Reply, Sleep, Talk
from understudy.client.failures import failure_of, unreachable
from understudy.client.partial import Partial
from understudy.client.patience import Patience, passes
from understudy.errors import Error, Unreachable
from understudy.wire import ArtifactView


def download(artifact: ArtifactView, target: Path, patience: Patience) -> Talk[Path]:
    """Save the file at `target`, or under its own name if that is a folder; the path written.

    Its size and SHA-256 are those that the server keeps. Raises `Error`.
    """
    partial = Partial(target, artifact.name)
    try:
        yield Do(partial.open)
        yield from _fetch(artifact, partial, patience)
        if partial.sha256 != artifact.sha256:
            raise Unreachable(f"{artifact.id}: what came is not what the server keeps")
        path: Path = yield Do(partial.finish)
        return path
    finally:
        partial.close()


def _fetch(artifact: ArtifactView, partial: Partial, patience: Patience) -> Talk[None]:
    failures, tag = 0, ""
    while True:
        before = partial.size
        now: float = yield Now()
        try:
            reply: Reply = yield Open(_call(artifact.id, _rest(before, tag)))
            if reply.ok:
                tag = reply.headers.get("ETag", "")
                yield from _keep(reply, partial)
                failure: Error = Unreachable(f"{artifact.id}: its content ended early")
                may_pass = True
            else:
                failure = failure_of(reply, now)
                may_pass = passes(reply, failure)
        except httpx.RequestError as error:
            failure, may_pass = unreachable(error), True
        if partial.size >= artifact.size and may_pass:
            return
        failures = 1 if partial.size > before else failures + 1
        pause = patience.pause(failures, failure.retry_after) if may_pass else None
        if pause is None:
            raise failure
        yield Sleep(pause)


def _keep(reply: Reply, partial: Partial) -> Talk[None]:
    if reply.status != httpx.codes.PARTIAL_CONTENT:
        yield Do(partial.restart)
    while True:
        piece: bytes | None = yield Read()
        if piece is None:
            return
        yield Do(functools.partial(partial.add, piece))


def _rest(begun: int, tag: str) -> Mapping[str, str]:
    """Ask for what is missing, if the server can tell that it is still the same file."""
    if not begun or not tag or tag.startswith("W/"):
        return {}
    return {"Range": f"bytes={begun}-", "If-Range": tag}


def _call(artifact_id: str, headers: Mapping[str, str]) -> Call:
    path = f"/v1/artifacts/{quote(artifact_id, safe='')}/content"
    # Compressed on the way, its parts could not be put together.
    return Call("GET", path, headers={"Accept-Encoding": "identity", **headers})
