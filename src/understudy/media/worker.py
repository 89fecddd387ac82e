"""A worker process: media tasks, one at a time, away from everybody else's memory and event loop.

Started by `MediaPool` as `python -m understudy.media.worker` in a session of its own. Requests
come as JSON lines on standard input, answers go as JSON lines to standard output:

    {"task": "clip", "params": {…}}
    {"progress": 12}  …  then  {"result": {…}}  or  {"error": {"class": …, "message": …}}

When standard input ends, its parent is gone, however that came about: the whole process group, any
ffmpeg included, is killed at once.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import threading
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO, Final

from understudy.errors import Error, MediaError
from understudy.media.archive import ArchiveLimits, unpack_photos
from understudy.media.photo import Canvas, normalise
from understudy.media.probe import probe

Params = dict[str, Any]
Progress = Callable[[int], None]
Task = Callable[[Params, Progress], Params]


def _photo(params: Params, _progress: Progress) -> Params:
    source, target = Path(params["source"]), Path(params["target"])
    return asdict(normalise(source, target, Canvas(**params["canvas"]), name=params["name"]))


def _unpack(params: Params, _progress: Progress) -> Params:
    members = unpack_photos(
        Path(params["archive"]),
        Path(params["folder"]),
        ArchiveLimits(**params["limits"]),
        name=params["name"],
    )
    return {"members": [{"name": member.name, "path": str(member.path)} for member in members]}


def _probe(params: Params, _progress: Progress) -> Params:
    return asdict(probe(Path(params["path"])))


def _clip(params: Params, progress: Progress) -> Params:
    # Imported late: OpenCV costs a tenth of a second that the first photos need not wait for.
    from understudy.media.clip import ClipJob, render_clip  # noqa: PLC0415

    paths = {name: Path(params[name]) for name in ("first", "second", "target", "ffmpeg")}
    return asdict(render_clip(ClipJob(**params | paths), progress))


def _join(params: Params, _progress: Progress) -> Params:
    from understudy.media.join import join  # noqa: PLC0415 - as in _clip

    clips = [Path(clip) for clip in params["clips"]]
    track = join(clips, Path(params["target"]), Path(params["ffmpeg"]))
    return {
        "frames": track.samples,
        "duration": track.duration,
        "width": track.width,
        "height": track.height,
    }


TASKS: Final[Mapping[str, Task]] = {
    "photo": _photo,
    "unpack": _unpack,
    "probe": _probe,
    "clip": _clip,
    "join": _join,
}


def answer(request: bytes, tasks: Mapping[str, Task], send: Callable[[Params], None]) -> None:
    """Do what one request line asks; `send` gets its progress and then its result or error."""
    try:
        asked = json.loads(request)
        result = tasks[asked["task"]](asked["params"], lambda done: send({"progress": done}))
    except Error as error:
        send({"error": _described(error)})
    except MemoryError:
        send({"error": _described(MediaError("the media worker ran out of memory"))})
    except Exception as error:  # noqa: BLE001 - a bug in a task fails that task, not the worker
        traceback.print_exc()
        send({"error": _described(MediaError(f"{type(error).__name__}: {error}"))})
    else:
        send({"result": result})


def _described(error: Error) -> Params:
    return {
        "class": type(error).__name__,
        "code": error.code,
        "category": error.category,
        "message": error.message,
    }


def serve(tasks: Mapping[str, Task]) -> None:
    """Answer requests until standard input ends; never returns normally."""
    requests, answers = _channels()
    inbox: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests, inbox.put, end_group), daemon=True).start()

    def send(message: Params) -> None:
        try:
            answers.write(json.dumps(message).encode() + b"\n")
            answers.flush()
        except OSError:  # nobody reads any more
            end_group()

    while True:
        answer(inbox.get(), tasks, send)


def _channels() -> tuple[BinaryIO, BinaryIO]:
    """Standard input and output, moved out of the way of libraries and children that use them."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return requests, answers


def _listen(
    requests: Iterable[bytes], accept: Callable[[bytes], None], end: Callable[[], None]
) -> None:
    """Hand on each request; at the end of them, end."""
    try:
        for request in requests:
            accept(request)
    except OSError:  # a socket whose other end died with unread bytes says so instead of ending
        pass
    end()


def end_group() -> None:
    """Kill this process and every child that shares its group."""
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    serve(TASKS)
