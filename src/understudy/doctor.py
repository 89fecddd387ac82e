"""What works in this installation, what does not, and how to mend it."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from collections.abc import Awaitable, Callable

from understudy.app import App
from understudy.db.lock import WorkerLock
from understudy.db.migrate import schema_status
from understudy.db.sqlite import SQLite
from understudy.errors import Error
from understudy.media.ffmpeg import check_ffmpeg, find_ffmpeg
from understudy.settings import Settings

_ROOMY = 1 << 30


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: what was found and, where it is not ok, how to mend it."""

    name: str
    ok: bool
    detail: str
    fix: str = ""


async def diagnose(settings: Settings) -> list[Check]:
    """Look at everything that a run needs. Never raises for what it finds."""
    looks = (_python, _home, _database, _ffmpeg, _operations, _worker, _space)
    return [await _safely(look, settings) for look in looks]


Look = Callable[[Settings], Awaitable[Check]]


async def _safely(look: Look, settings: Settings) -> Check:
    name = look.__name__.strip("_")
    try:
        return await look(settings)
    except Error as error:
        # Configuration errors end with what to change.
        return Check(name, ok=False, detail=error.message, fix=error.message)
    except OSError as error:
        return Check(name, ok=False, detail=str(error), fix="give this process access to it")


async def _python(_: Settings) -> Check:
    version = ".".join(str(part) for part in sys.version_info[:3])
    return Check("python", ok=sys.version_info >= (3, 11), detail=version)


async def _home(settings: Settings) -> Check:
    return Check("home", ok=True, detail=str(settings.home))


async def _database(settings: Settings) -> Check:
    async with App.open(settings) as app:
        status = await schema_status(settings.database_url)
        return Check(
            "database", ok=not status.pending, detail=f"{app.database.place}, schema {status.head}"
        )


async def _ffmpeg(settings: Settings) -> Check:
    path = find_ffmpeg(settings.ffmpeg)
    missing = check_ffmpeg(path)
    fix = "set UNDERSTUDY_FFMPEG to an ffmpeg with them, or unset it to use the wheel's"
    detail = f"{path}" + (f" lacks {', '.join(missing)}" if missing else "")
    return Check("ffmpeg", ok=not missing, detail=detail, fix=fix if missing else "")


async def _operations(settings: Settings) -> Check:
    async with App.open(settings) as app:
        return Check("operations", ok=True, detail=", ".join(app.registry.names))


async def _worker(settings: Settings) -> Check:
    async with App.open(settings) as app:
        who = await _who_works(app)
        unfinished = len(await app.engine.unfinished(app.tenant))
        return Check("worker", ok=True, detail=f"{who}; {unfinished} runs unfinished")


async def _who_works(app: App) -> str:
    if isinstance(app.database.driver, SQLite):
        holder = WorkerLock(app.database.driver.path).holder()
        return f"process {holder['pid']} on {holder['host']}" if holder else "nobody works"
    now = app.clock.now()
    alive = [worker.name for worker in await app.engine.workers() if worker.lease_until > now]
    return ", ".join(alive) or "nobody works"


async def _space(settings: Settings) -> Check:
    # With a database elsewhere the home is made when the first file comes.
    home = next(place for place in (settings.home, *settings.home.parents) if place.exists())
    free = shutil.disk_usage(home).free
    detail = f"{free / 1e9:.1f} GB free in {settings.home}"
    fix = "" if free >= _ROOMY else "free some space: films and their clips are kept there"
    return Check("space", ok=free >= _ROOMY, detail=detail, fix=fix)
