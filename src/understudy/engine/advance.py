"""Advance a run: call its operation, let the journal answer what is known, write how it ended.

This is the one loop of both plans: a plan only decides when and where it is called.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import structlog

from understudy.engine.body import contained
from understudy.engine.consequences import follows_failure
from understudy.engine.context import Context
from understudy.engine.drive import Drive
from understudy.engine.interrupts import (
    CancelInterrupt,
    Interrupt,
    ReleaseInterrupt,
    SupersededInterrupt,
    SuspendInterrupt,
    TimeoutInterrupt,
)
from understudy.engine.operation import Operation
from understudy.engine.run import Outcome, describe_error, out_of_time
from understudy.errors import Diverged, StorageError, Unserializable
from understudy.telemetry.about import note

_log = structlog.get_logger(__name__)


async def advance(drive: Drive) -> None:
    """Drive one claimed run until it ends, parks, or is handed back.

    Raises `StorageError` when the journal cannot be written: the run stays claimed, and whoever
    works next recovers it.
    """
    with contextlib.suppress(SupersededInterrupt):
        try:
            await _conclude(drive)
        except StorageError:
            raise
        except Exception as error:  # noqa: BLE001 - a fault of ours must not leave it undriven
            _log.exception("run_failed_by_fault", run=drive.run.id)
            await _end(drive, Outcome("failed", error=describe_error(error)))


async def _conclude(drive: Drive) -> None:
    try:
        try:
            outcome = await _outcome(drive)
        finally:
            drive.close()
        await _end(drive, outcome)
    except SuspendInterrupt as pause:
        await _park(drive, pause)
    except Diverged as diverged:
        await _park(drive, SuspendInterrupt(None, _for_the_operator(diverged)))
        note("run_diverged", level="warning", error=diverged.message)
    except CancelInterrupt:
        await _end(drive, Outcome("canceled"))
    except TimeoutInterrupt:
        await _end(drive, Outcome("failed", error=out_of_time(drive.run)))
    except ReleaseInterrupt:
        release = drive.journal.release
        await drive.insist(release, drive.claim, now=drive.clock.now())
        note("run_handed_back")


async def _outcome(drive: Drive) -> Outcome:
    """How the operation ended. Raises the interrupt that ended it instead, or `Diverged`."""
    if drive.run.cancel_requested_at is not None:
        raise CancelInterrupt
    if drive.run.deadline_at is not None and drive.run.deadline_at <= drive.clock.now():
        raise TimeoutInterrupt
    drive.check()
    registry = drive.kit.registry
    try:
        operation = registry.for_run(drive.run)
        data = operation.parse(json.loads(drive.run.input))
        needs = registry.needs_of(operation, drive.run)
    except Exception as error:  # noqa: BLE001 - a run that cannot be called has failed
        return Outcome("failed", error=describe_error(error))
    context = Context(drive, registry.retry_of(operation))
    drive.mind_the_deadline()
    work = contained(operation.function, context, data, **needs)
    drive.body = drive.root.start(work)
    try:
        await _over(drive, drive.body)
    except asyncio.CancelledError:
        # We are being killed, but nothing of the operation outlives its driver.
        drive.stop(SupersededInterrupt())
        await _over(drive, drive.body)
        raise
    return _judge(drive, operation, drive.body)


async def _over(drive: Drive, body: asyncio.Task[Any]) -> None:
    over = drive.loop.create_future()
    body.add_done_callback(lambda _: None if over.done() else over.set_result(None))
    await over
    if not body.cancelled():
        body.exception()  # looked at, also if nobody asks
    await drive.leave()


def _judge(drive: Drive, operation: Operation[Any, Any], body: asyncio.Task[Any]) -> Outcome:
    error = asyncio.CancelledError() if body.cancelled() else body.exception()
    # A run that is only being handed back may still end, if it has come so far.
    if drive.leaving and (error is not None or not isinstance(drive.ending, ReleaseInterrupt)):
        assert drive.ending is not None
        raise drive.ending
    if isinstance(error, Interrupt):
        raise error
    if isinstance(error, asyncio.CancelledError):
        return Outcome("failed", error=describe_error(_Canceled()))
    if error is not None:
        return Outcome("failed", error=describe_error(error))
    drive.replay.check_complete()
    try:
        output = operation.result.dump(body.result())
        operation.result.settle(body.result(), output)  # what nobody could read again is none
        return Outcome("succeeded", output=output)
    except Unserializable as unserializable:
        return Outcome("failed", error=describe_error(unserializable))


class _Canceled(Exception):
    """The operation was cancelled by its own code."""

    def __str__(self) -> str:
        return "the operation cancelled itself"


async def _end(drive: Drive, outcome: Outcome) -> None:
    now = drive.clock.now()
    then = None
    if outcome.status == "failed":
        ended = drive.run._replace(status="failed", error=outcome.error, ended_at=now)
        then = follows_failure(drive.kit.registry, ended, now=now)
    finish = drive.journal.finish
    drive.kit.woken(await drive.insist(finish, drive.claim, outcome, now=now, then=then))
    _note_end(drive, outcome, now)


def _note_end(drive: Drive, outcome: Outcome, now: float) -> None:
    began = drive.run.started_at
    took = None if began is None else round(now - began, 3)
    if outcome.error is None:
        note("run_ended", status=outcome.status, seconds=took)
        return
    said = {name: outcome.error.get(name) for name in ("step", "code", "category")}
    error = outcome.error.get("message")
    note("run_ended", level="warning", status=outcome.status, seconds=took, error=error, **said)


async def _park(drive: Drive, pause: SuspendInterrupt) -> None:
    park = drive.journal.park
    # Whoever claims what is due must hear of the times, too: one may come before all others.
    timed = pause.until is not None or drive.run.deadline_at is not None
    if await drive.insist(park, drive.claim, pause.until, pause.waiting_for) or timed:
        drive.kit.woken([drive.run.id])


def _for_the_operator(diverged: Diverged) -> dict[str, Any]:
    return {
        "kind": "operator",
        "text": diverged.message,
        "until": None,
        "expected": diverged.expected,
        "found": diverged.found,
    }
