"""What survives when a session, its answer, its process or its server is lost."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from understudy.db import postgres_session
from understudy.db.database import Database, Tx, sql
from understudy.db.driver import TransactionLost
from understudy.db.postgres import PostgreSQL
from understudy.db.postgres_session import PostgreSQLSession
from understudy.errors import StorageError
from understudy.testing.postgres import PostgresServer

ADD = sql("INSERT INTO signals (tenant, name, data, created_at) VALUES ('t', :name, '{}', 1)")
NAMES = sql("SELECT name FROM signals ORDER BY id")
COUNT = sql("SELECT count(*) FROM signals")
SESSION = sql("SELECT pg_backend_pid()")
END = sql("SELECT pg_terminate_backend(pg_backend_pid())")


def add(name: str) -> Callable[[Tx], str]:
    """A unit of work."""

    def unit(tx: Tx) -> str:
        tx.execute(ADD, {"name": name})
        return name

    return unit


async def names(database: Database) -> list[str]:
    """What is stored."""
    return [name for (name,) in await database.read(lambda tx: tx.rows(NAMES))]


@contextlib.contextmanager
def asking(url: str) -> Iterator[Callable[..., Any]]:
    """A connection of nobody; yields what asks one question."""
    with psycopg.connect(url, autocommit=True) as connection:
        yield lambda *question: connection.execute(*question).fetchall()


def patient(url: str) -> PostgreSQL:
    """A driver that waits for nothing between two tries."""
    return PostgreSQL(url, pause=lambda _: None)


class Interrupted:
    """Has the session's connection broken around the next COMMIT; then all is as before."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, sent: bool) -> None:
        self.commits = 0
        connected = PostgreSQLSession._connected

        def watched(session: PostgreSQLSession) -> Any:
            cursor = connected(session)
            if self.commits == 0 and not isinstance(cursor, _Cutting):
                session._cursor = _Cutting(cursor, self, sent=sent)
            return session._cursor

        monkeypatch.setattr(PostgreSQLSession, "_connected", watched)


class _Cutting:
    """A cursor whose first COMMIT loses the connection, before or after the server has it."""

    def __init__(self, cursor: Any, interrupted: Interrupted, *, sent: bool) -> None:
        self._cursor = cursor
        self._interrupted = interrupted
        self._sent = sent

    def execute(self, query: str, *arguments: Any, **options: Any) -> Any:
        if query.endswith("COMMIT") and self._interrupted.commits == 0:
            self._interrupted.commits += 1
            if self._sent:
                self._cursor.execute(query, *arguments, **options)
            self._cursor.connection.close()
            raise psycopg.OperationalError("the answer was lost")
        return self._cursor.execute(query, *arguments, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


@pytest.mark.parametrize("sent", [True, False])
async def test_a_commit_without_an_answer(
    postgres_url: str, heard: Any, monkeypatch: pytest.MonkeyPatch, *, sent: bool
) -> None:
    """Whether the server had it or not, each unit has happened once, and its caller is told."""
    async with await Database.of(patient(postgres_url)) as database:
        interrupted = Interrupted(monkeypatch, sent=sent)
        told = await asyncio.gather(*[database.write(add(name)) for name in "abc"])
        assert interrupted.commits == 1
        assert told == ["a", "b", "c"]
        assert await names(database) == ["a", "b", "c"]
        assert heard.events.count("database_commit_unanswered") == 1


async def test_a_commit_of_which_nobody_knows(
    postgres_url: str, heard: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the server cannot be asked, the caller is told so: the unit is not run again."""
    driver = patient(postgres_url)
    runs = []

    def unit(tx: Tx) -> None:
        runs.append(tx.scalar(SESSION))
        add("a")(tx)

    def unreachable() -> Any:
        raise psycopg.OperationalError("no route to host")

    async with await Database.of(driver) as database:
        await database.write(lambda tx: None)
        with monkeypatch.context() as broken:
            Interrupted(broken, sent=True)
            session = database._writer._session  # type: ignore[attr-defined]
            session.close()
            opened = driver._server.open

            def once() -> Any:
                broken.setattr(driver._server, "open", unreachable)
                return opened()

            broken.setattr(driver._server, "open", once)
            with pytest.raises(StorageError, match="which may have happened"):
                await database.write(unit)
        assert len(runs) == 1
        assert await names(database) == ["a"]


@pytest.mark.parametrize("moment", ["begin", "middle", "query"])
async def test_a_session_that_is_ended(postgres_url: str, heard: Any, moment: str) -> None:
    """Whenever an administrator ends a session, work goes on with a new one."""
    ended: list[int] = []

    def query(tx: Tx) -> Any:
        if not ended:
            ended.append(1)
            tx.scalar(END)
        return tx.scalar(COUNT)

    def unit(tx: Tx) -> str:
        add("first")(tx)
        if not ended:
            ended.append(tx.scalar(SESSION))
            tx.scalar(END)
        return add("second")(tx)

    async with await Database.of(patient(postgres_url)) as database:
        if moment == "begin":
            session = await database.write(lambda tx: tx.scalar(SESSION))
            with asking(postgres_url) as ask:
                ask("SELECT pg_terminate_backend(%s)", [session])
            assert await database.write(add("second")) == "second"
            assert await names(database) == ["second"]
        elif moment == "middle":
            assert await database.write(unit) == "second"
            assert await names(database) == ["first", "second"]
        else:
            assert await database.read(query) == 0


async def test_ended_among_units(postgres_url: str, heard: Any) -> None:
    """Also while units run one by one, each under a savepoint of its own."""
    ended: list[int] = []

    def end(tx: Tx) -> str:
        if not ended and tx.scalar(COUNT):
            ended.append(1)
            tx.scalar(END)
        return "ended"

    def fail(_: Tx) -> None:
        raise ValueError("mine")

    async with await Database.of(patient(postgres_url)) as database:
        told = await asyncio.gather(
            database.write(add("a")), database.write(fail), database.write(end),
            database.write(add("b")), return_exceptions=True,
        )  # fmt: skip
        assert [told[0], *told[2:]] == ["a", "ended", "b"]
        assert isinstance(told[1], ValueError)
        assert ended == [1]
        assert await names(database) == ["a", "b"]


def test_a_lost_transaction_is_let_through(postgres_url: str) -> None:
    """Inside `attempt` a lost connection is not mistaken for the unit's own failure."""
    session = patient(postgres_url).connect()
    seen: list[BaseException] = []

    def work(tx: Tx) -> str:
        if not seen:
            with pytest.raises(TransactionLost) as lost:
                session.attempt(tx, lambda tx: tx.scalar(END))
            assert lost.value.__cause__ is not None
            seen.append(lost.value.__cause__)
            raise seen[0]
        return "again"

    assert session.transact(work, alone=True) == "again"
    assert isinstance(seen[0], psycopg.OperationalError)
    session.close()


async def test_a_deadlock_is_run_again(postgres_url: str, heard: Any) -> None:
    """What the database undid for its own reasons is not told to anybody."""
    tries = []
    deadlock = sql("DO 'BEGIN RAISE EXCEPTION ''victim'' USING ERRCODE = ''40P01''; END'")

    def victim(tx: Tx) -> int:
        tries.append(1)
        add(f"try {len(tries)}")(tx)
        if len(tries) < 4:
            tx.execute(deadlock)
        return len(tries)

    async with await Database.of(patient(postgres_url)) as database:
        told = await asyncio.gather(database.write(add("a")), database.write(victim))
        assert list(told) == ["a", 4]
        assert await names(database) == ["a", "try 4"]


@pytest.mark.parametrize("times", [2, 1_000])
async def test_a_commit_that_the_database_gives_up(
    postgres_url: str, heard: Any, times: int
) -> None:
    """It is run again, and told in words when that never ends."""
    with psycopg.connect(postgres_url) as connection:
        async with await Database.of(patient(postgres_url)) as database:
            connection.execute(
                f"""
                CREATE SEQUENCE tries;
                CREATE FUNCTION give_up() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                    IF nextval('tries') <= {times} THEN
                        RAISE EXCEPTION 'no order' USING ERRCODE = '40001';
                    END IF;
                    RETURN NULL;
                END $$;
                CREATE CONSTRAINT TRIGGER late AFTER INSERT ON signals
                    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION give_up();
                """
            )
            connection.commit()
            if times == 2:
                assert await database.write(add("a")) == "a"
                assert await names(database) == ["a"]
            else:
                with pytest.raises(StorageError, match="gives up every transaction"):
                    await database.write(add("a"))
                assert await names(database) == []


async def test_a_session_that_cannot_be_set_up(
    postgres_url: str, heard: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connection is closed, and none without its settings is ever used."""
    async with await Database.of(patient(postgres_url)) as database:
        with monkeypatch.context() as broken:
            session = database._writer._session  # type: ignore[attr-defined]
            broken.setattr(session, "_settings", "SELECT 1; SELECT nothing_like_it")
            with pytest.raises(StorageError, match="nothing_like_it"):
                await database.write(add("a"))
        assert await database.write(add("b")) == "b"
        assert await names(database) == ["b"]


async def test_a_paused_process_holds_nobody_up(
    postgres_url: str, heard: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its session is ended with the lock that it holds; when it goes on it begins again."""
    monkeypatch.setattr(
        postgres_session, "_SETTINGS", "SET idle_in_transaction_session_timeout = '20ms'"
    )
    goes_on = threading.Event()
    inside = threading.Event()

    def stalls(tx: Tx) -> str:
        if not inside.is_set():
            inside.set()
            goes_on.wait(30)
        return add("late")(tx)

    async with (
        await Database.of(patient(postgres_url)) as one,
        await Database.of(patient(postgres_url)) as two,
    ):
        late = one.write(stalls, alone=True)
        await asyncio.to_thread(inside.wait, 30)
        assert await two.write(add("other"), alone=True) == "other"
        assert not late.done()
        goes_on.set()
        assert await late == "late"
        assert await names(one) == ["other", "late"]


async def test_a_server_that_crashes(heard: Any, rounds: Callable[[int, int], int]) -> None:
    """Writers, readers, listener and heartbeat go on; what was told is there, and once."""
    with PostgresServer(durable=True) as server:
        url = server.create()
        beats: asyncio.Queue[int] = asyncio.Queue()
        async with await Database.open(url) as one, await Database.open(url) as two:
            repeated = one.repeat(lambda tx: tx.scalar(SESSION), 0.01, beats.put_nowait)
            assert repeated is not None
            two_heard = asyncio.Event()
            for number in range(rounds(10, 1)):
                told = [
                    asyncio.ensure_future(
                        database.write(add(f"{number}-{who}-{n}"), alone=n % 5 == 0)
                    )
                    for n in range(200)
                    for who, database in (("one", one), ("two", two))
                ]
                await told[20]
                await asyncio.to_thread(server.kill)
                reading = asyncio.ensure_future(names(one))
                await asyncio.to_thread(server.start)
                assert len(await asyncio.gather(*told)) == 400
                await reading
                while not beats.empty():
                    beats.get_nowait()
                await beats.get()
            assert len(await names(two)) == len(set(await names(two))) == rounds(10, 1) * 400
            two.on_change(two_heard.set)
            await one.write(lambda tx: tx.announce())
            await two_heard.wait()
            await asyncio.to_thread(repeated.close)


async def test_a_server_that_stays_away(heard: Any) -> None:
    """After enough tries callers are told, who may try later; the database itself lives on."""
    with PostgresServer() as server:
        async with await Database.of(patient(server.create())) as database:
            await database.write(add("a"))
            assert await names(database) == ["a"]
            server.stop()
            with pytest.raises(StorageError, match="cannot be used"):
                await database.write(add("b"))
            with pytest.raises(StorageError, match="cannot be used"):
                await names(database)
            server.start()
            assert await database.write(add("c")) == "c"
            assert await names(database) == ["a", "c"]
