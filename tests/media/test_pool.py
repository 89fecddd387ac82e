from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from understudy.errors import ConfigError, Error, InputError, MediaError, StorageFull
from understudy.media.ffmpeg import find_ffmpeg
from understudy.media.pool import MediaPool

# A worker that knows some more tasks. `hang` starts a real ffmpeg that never ends by itself.
TROUPE = f"""
import os, signal, subprocess, sys, threading
from understudy import errors
from understudy.media.worker import TASKS, serve

def hang(params, progress):
    child = subprocess.Popen([{str(find_ffmpeg())!r}, "-v", "error", "-f", "lavfi",
        "-i", "testsrc", "-f", "null", "-"], stdin=subprocess.DEVNULL)
    progress(child.pid)
    threading.Event().wait()

def echo(params, progress):
    print("a library that prints")
    progress(params["n"])
    return {{"pid": os.getpid(), **params}}

def die(params, progress):
    print("first words", file=sys.stderr)
    print("last words", file=sys.stderr, flush=True)
    os.kill(os.getpid(), params["signal"])

def leave(params, progress):
    os._exit(7)

def fail(params, progress):
    raise getattr(errors, params["kind"])("as asked", category="media")

def chatter(params, progress):
    sys.stderr.write("x" * 3_000_000)
    return {{}}

serve({{**TASKS, "hang": hang, "echo": echo, "die": die, "leave": leave, "fail": fail,
    "chatter": chatter}})
"""
COMMAND = (sys.executable, "-c", TROUPE)


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}


@asynccontextmanager
async def troupe(cores: int = 1) -> AsyncIterator[MediaPool]:
    """A pool of those workers; afterwards none of them is left, not even as a zombie."""
    async with MediaPool(cores, env=environment(), command=COMMAND) as pool:
        yield pool
        pids = pool.pids
    assert pool.pids == []
    assert not any(map(exists, pids))


def exists(pid: int) -> bool:
    """Whether there is such a process, be it a zombie."""
    return Path(f"/proc/{pid}").exists()


def watched(pid: int) -> Callable[[], bool]:
    """A question that waits (at most 20 s) for a process to end and says whether it did."""
    handle = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(handle, select.POLLIN)

    def ended() -> bool:
        try:
            return bool(poll.poll(20_000))
        finally:
            os.close(handle)

    return ended


async def hanging(pool: MediaPool) -> tuple[asyncio.Task[object], int]:
    """A task that never ends, and the pid of its ffmpeg."""
    started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    task: asyncio.Task[object] = asyncio.create_task(pool.run("hang", {}, started.set_result))
    return task, await started


async def test_ten_jobs_on_two_workers() -> None:
    """Ten jobs come back right from two processes, which were started when first needed."""
    order: list[int] = []
    async with troupe(2) as pool:
        assert pool.pids == []
        jobs = [pool.run("echo", {"n": n}, order.append) for n in range(10)]
        answers = await asyncio.gather(*jobs)
        assert [answer["n"] for answer in answers] == list(range(10))
        assert {answer["pid"] for answer in answers} == set(pool.pids)
        assert len(pool.pids) == 2
    assert sorted(order) == list(range(10))


async def test_jobs_wait_in_the_order_they_came() -> None:
    """With one worker, jobs are done first come, first served."""
    order: list[int] = []
    async with troupe(1) as pool:
        await asyncio.gather(*(pool.run("echo", {"n": n}, order.append) for n in range(8)))
    assert order == list(range(8))


async def test_the_real_worker(tmp_path: Path) -> None:
    """The pool's own command starts a worker that knows the house's tasks."""
    (tmp_path / "note").write_text("hello")
    async with MediaPool(1, env=environment()) as pool:
        facts = await pool.run("probe", {"path": str(tmp_path / "note")})
    assert facts["media_type"] == "text/plain"


async def test_the_working_folder_is_not_imported_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file in the user's folder that is named like a library is not run."""
    (tmp_path / "json.py").write_text("raise SystemExit(1)")
    monkeypatch.chdir(tmp_path)
    async with MediaPool(1, env=environment()) as pool:
        assert await pool.run("probe", {"path": "json.py"})


async def test_cancelling_kills_worker_and_ffmpeg() -> None:
    """A cancelled task takes its process and its ffmpeg with it; the next gets a fresh one."""
    async with troupe() as pool:
        task, ffmpeg = await hanging(pool)
        (before,) = pool.pids
        assert exists(ffmpeg)
        gone = watched(ffmpeg)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not exists(before)
        assert gone()
        after = (await pool.run("echo", {"n": 1}))["pid"]
        assert after != before


async def test_cancelling_twice_still_buries() -> None:
    """A second cancellation does not wait, and the process is still not left as a zombie."""
    async with troupe() as pool:
        task, ffmpeg = await hanging(pool)
        (worker,) = pool.pids
        gone = watched(ffmpeg)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await pool.close()
        assert not exists(worker)
        assert gone()


async def test_cancelled_while_starting() -> None:
    """A task that is cancelled while its process starts leaves no process."""
    async with troupe() as pool:
        task = asyncio.create_task(pool.run("echo", {"n": 1}))
        await asyncio.sleep(0)
        (starting,) = pool.pids
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not exists(starting)
        assert await pool.run("echo", {"n": 2})


async def test_cancelled_while_waiting_costs_nobody() -> None:
    """A job that is cancelled before its turn disturbs neither the one at work nor the next."""
    async with troupe() as pool:
        task, _ = await hanging(pool)
        waiting = asyncio.create_task(pool.run("echo", {"n": 1}))
        last = asyncio.create_task(pool.run("echo", {"n": 2}))
        await asyncio.sleep(0)
        waiting.cancel()
        task.cancel()
        assert (await last)["n"] == 2
        assert waiting.cancelled()
        with pytest.raises(asyncio.CancelledError):
            await task


def test_a_child_of_the_first_process_is_reaped() -> None:
    """Where a worker's orphans come back to us, as in a container, they leave no zombie."""
    program = f"""
import asyncio, ctypes, os
from pathlib import Path
from understudy.media.pool import MediaPool
ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER

async def main():
    pool = MediaPool(1, command={COMMAND!r})
    started = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(pool.run("hang", {{}}, started.set_result))
    await started
    task.cancel()
    await asyncio.wait([task])
    print(Path(f"/proc/self/task/{{os.getpid()}}/children").read_text() or "none")

asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, check=True
    )
    assert done.stdout == b"none\n"


def test_a_killed_parent_takes_everything_along() -> None:
    """When the parent is killed -9, its worker and the worker's ffmpeg end at once."""
    program = f"""
import asyncio
from understudy.media.pool import MediaPool

async def main():
    pool = MediaPool(1, command={COMMAND!r})
    await pool.run("hang", {{}}, lambda pid: print(pid, *pool.pids, flush=True))

asyncio.run(main())
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", program], env=environment(), stdout=subprocess.PIPE
    )
    with parent:
        assert parent.stdout is not None
        gone = [watched(int(pid)) for pid in parent.stdout.readline().split()]
        parent.kill()
    assert len(gone) == 2
    assert all(ended() for ended in gone)


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (signal.SIGSEGV, "killed by SIGSEGV during 'die': last words"),
        (signal.SIGKILL, r"killed by SIGKILL \(out of memory\?\) during 'die'"),
        (signal.SIGRTMIN + 3, f"killed by {signal.SIGRTMIN + 3} during"),
    ],
)
async def test_a_worker_that_dies(number: int, says: str) -> None:
    """A worker that crashes fails its task alone, named by signal; the next gets a fresh one."""
    async with troupe() as pool:
        with pytest.raises(MediaError, match=says) as failed:
            await pool.run("die", {"signal": int(number)})
        assert failed.value.retriable
        assert await pool.run("echo", {"n": 1})


async def test_a_worker_that_leaves() -> None:
    """A worker that exits in the middle of a task is named by its exit code."""
    async with troupe() as pool:
        with pytest.raises(MediaError, match="exit code 7 during 'leave'"):
            await pool.run("leave", {})


async def test_a_worker_that_died_idle_is_replaced() -> None:
    """A worker that was killed between two tasks costs nobody a task."""
    async with troupe() as pool:
        first = (await pool.run("echo", {"n": 1}))["pid"]
        gone = watched(first)
        os.kill(first, signal.SIGKILL)
        assert gone()
        (worker,) = pool._idle
        assert await worker._answers.read() == b""
        assert (await pool.run("echo", {"n": 2}))["pid"] != first


async def test_a_worker_that_cannot_start(tmp_path: Path) -> None:
    """A command that does not exist is a media error, and nothing is left open."""
    async with MediaPool(1, command=(str(tmp_path / "gone"),)) as pool:
        with pytest.raises(MediaError, match="could be started"):
            await pool.run("echo", {})


@pytest.mark.parametrize(
    ("kind", "revived"),
    [
        ("InputError", InputError),
        ("StorageFull", StorageFull),
        ("ConfigError", ConfigError),
        ("MediaError", MediaError),
        ("Conflict", MediaError),
    ],
)
async def test_typed_errors_cross(kind: str, revived: type[Error]) -> None:
    """An error keeps its class, message and category on the way; the worker lives on."""
    async with troupe() as pool:
        with pytest.raises(revived, match="as asked") as failed:
            await pool.run("fail", {"kind": kind})
        assert type(failed.value) is revived
        assert failed.value.category == "media"
        assert len(pool.pids) == 1


async def test_large_requests_and_answers() -> None:
    """Megabytes go both ways, whatever the pipes hold."""
    text = "é" * 2_000_000
    async with troupe() as pool:
        assert (await pool.run("echo", {"n": 0, "text": text}))["text"] == text


async def test_a_talkative_worker_costs_no_disk() -> None:
    """What libraries write to standard error is dropped once it is much."""
    async with troupe() as pool:
        await pool.run("chatter", {})
        (worker,) = pool._workers
        assert os.fstat(worker._log.fileno()).st_size == 0


async def test_a_failing_listener_ends_the_task() -> None:
    """If the caller's own callback raises, that is what the caller gets, and the work ends."""

    def refuse(_done: int) -> None:
        raise ZeroDivisionError

    async with troupe() as pool:
        with pytest.raises(ZeroDivisionError):
            await pool.run("echo", {"n": 1}, refuse)
        assert pool.pids == []


async def test_closing_ends_all() -> None:
    """Closing kills busy and idle workers alike; who waits gets an error."""
    async with troupe(2) as pool:
        await pool.run("echo", {"n": 1})
        task, ffmpeg = await hanging(pool)
        other, _ = await hanging(pool)
        waiting = asyncio.create_task(pool.run("echo", {"n": 1}))
        gone = watched(ffmpeg)
        await asyncio.sleep(0)
        await pool.close()
        for ended in (task, other):
            with pytest.raises(MediaError, match="SIGKILL"):
                await ended
        with pytest.raises(MediaError, match="closed"):
            await waiting
        assert gone()
        await pool.close()
