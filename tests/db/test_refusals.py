"""What keeps PostgreSQL from being used is said at the start, with what to change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from understudy.db.database import Database, sql
from understudy.db.drivers import driver_of
from understudy.db.migrate import schema_status
from understudy.db.postgres import PostgreSQL
from understudy.errors import ConfigError, SchemaTooNew
from understudy.testing.postgres import PostgresServer

STAMP = sql("UPDATE alembic_version SET version_num = '9999_future'")


def as_user(url: str, user: str) -> str:
    """The same database for another user, with a password that must not be repeated."""
    return url.replace("user=postgres", f"user={user}&password=s3cret")


@pytest.fixture
def reader(postgres_url: str) -> Iterator[str]:
    """A user who may only read what is there."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE ROLE reader LOGIN PASSWORD 's3cret'")
        connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        connection.execute(
            "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO reader"
        )
        yield as_user(postgres_url, "reader")
        connection.execute("DROP OWNED BY reader")
        connection.execute("DROP ROLE reader")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:s3cret@@host/name",
        "postgresql://user:s3/cret@host/name",
        "postgresql://user:s3?cr@et@host/name",
        "postgresql://user:s3cret/name",
        "postgresql://user:s3%zzcret@host/name",
        "postgresql://user:s3cret@host:port:1/name",
        "postgresql://user:s3cret@[host/name",
        "postgres:s3cret",
        "postgresql+psycopg://user:s3cret@host/name",
        "host=h user=u password=s3cret",
        "user:s3cret@host/name",
    ],
)
async def test_a_url_that_cannot_be_read(url: str) -> None:
    """It is refused with its right form, and nothing of a password is repeated."""
    with pytest.raises(ConfigError, match="postgresql://user:password@host/name") as refused:
        await Database.open(url)
    assert not any(part in str(refused.value) for part in ("s3", "cr@", "cret"))


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgresql://me:s3cret@db.example:5433/shop", "postgresql://db.example:5433/shop"),
        ("postgres://db.example/shop?password=s3cret", "postgresql://db.example/shop"),
        ("postgresql://me:s3%40%2Fcret@/shop", "postgresql://localhost/shop"),
        ("postgresql:///shop?host=/run/pg&user=me", "postgresql:///run/pg/shop"),
    ],
)
def test_its_place_in_messages(url: str, place: str) -> None:
    """Host, port and name, and neither a user nor a password."""
    assert PostgreSQL(url).place == place


async def test_nobody_answers(tmp_path: Path) -> None:
    """A server that is not there is refused at once, not waited for."""
    url = f"postgresql://user:s3cret@/shop?host={tmp_path}"
    with pytest.raises(ConfigError, match=r"cannot be opened: .*Check the URL") as refused:
        await Database.open(url)
    assert "s3cret" not in str(refused.value)
    with pytest.raises(ConfigError, match="cannot be opened"):
        await schema_status(url)


async def test_no_such_database(postgres: PostgresServer) -> None:
    """The server's reason is told."""
    with pytest.raises(ConfigError, match='database "nowhere" does not exist'):
        await Database.open(postgres.url("nowhere"))


async def test_no_such_user(postgres_url: str) -> None:
    """The same, without the password that was tried."""
    with pytest.raises(ConfigError, match='role "nobody_here" does not exist') as refused:
        await Database.open(as_user(postgres_url, "nobody_here"))
    assert "s3cret" not in str(refused.value)


async def test_a_wrong_password() -> None:
    """A refused password is told as refused and not shown."""
    with PostgresServer() as server:
        url = server.create()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE ROLE guarded LOGIN PASSWORD 'another'")
        rules = server._data / "pg_hba.conf"
        rules.write_text("local all guarded scram-sha-256\nlocal all all trust\n")
        server.restart()
        with pytest.raises(ConfigError, match="password authentication failed") as refused:
            await Database.open(as_user(url, "guarded"))
        assert "s3cret" not in str(refused.value)


async def test_a_user_who_may_not_write(postgres_url: str, reader: str) -> None:
    """Who may not make the tables, or not write those that are there, is told which right."""
    with pytest.raises(ConfigError, match="GRANT CREATE ON SCHEMA public"):
        await Database.open(reader)
    async with await Database.open(postgres_url):
        with pytest.raises(ConfigError, match="may not write in postgresql://"):
            await Database.open(reader)


async def test_a_right_that_is_taken_away(postgres_url: str, reader: str) -> None:
    """Also later it is told as a matter of the installation."""
    async with await Database.open(postgres_url):
        with psycopg.connect(postgres_url) as connection:
            connection.execute("GRANT ALL ON runs TO reader")
        async with await Database.open(reader) as database:
            with pytest.raises(ConfigError, match=r"lacks a right .* alembic_version"):
                await database.write(lambda tx: tx.execute(STAMP))


async def test_a_revision_that_may_not_be_read(postgres_url: str, reader: str) -> None:
    """Rights to some of the tables only are told by the name of what is missing."""
    async with await Database.open(postgres_url):
        with psycopg.connect(postgres_url) as connection:
            connection.execute("GRANT ALL ON runs TO reader")
            connection.execute("REVOKE ALL ON alembic_version FROM reader")
        with pytest.raises(ConfigError, match=r"lacks a right .* alembic_version"):
            await Database.open(reader)


async def test_a_user_who_need_not_create(postgres_url: str, reader: str) -> None:
    """Where the tables are up to date, the right to write them is enough."""
    async with await Database.open(postgres_url):
        pass
    with psycopg.connect(postgres_url) as connection:
        connection.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO reader")
    async with await Database.open(reader) as database:
        assert await database.write(lambda tx: tx.execute(sql("DELETE FROM workers"))) == 0


async def test_a_server_that_takes_no_writes(postgres_url: str) -> None:
    """A standby, or a database set so, is told as such."""
    url = f"{postgres_url}&options=-c%20default_transaction_read_only%3Don"
    with pytest.raises(ConfigError, match="takes no writes: name the primary"):
        await Database.open(url)


async def test_another_encoding(postgres: PostgresServer) -> None:
    """Text must come back as it was written, so that only UTF-8 will do."""
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
    with pytest.raises(ConfigError, match="encoding LATIN1: create it with UTF8"):
        await Database.open(postgres.url("latin"))
    postgres.drop("latin")


async def test_an_old_server(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that cannot say what became of a commit is refused."""
    monkeypatch.setattr("understudy.db.postgres.OLDEST", 99)
    with pytest.raises(ConfigError, match=r"is PostgreSQL \d+: use 99 or newer"):
        await Database.open(postgres_url)


async def test_tables_of_another_program(postgres_url: str) -> None:
    """A database with tables of others is left alone; those of an extension do not count."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE theirs (id int)")
        with pytest.raises(ConfigError, match=r"another program \(theirs\)"):
            await Database.open(postgres_url)
        # As an extension brings it; none that has a table comes with every server.
        connection.execute(
            "INSERT INTO pg_depend SELECT 'pg_class'::regclass, 'theirs'::regclass, 0,"
            " 'pg_extension'::regclass, oid, 0, 'e' FROM pg_extension LIMIT 1"
        )
    assert driver_of(postgres_url).revision() is None


async def test_a_newer_schema(postgres_url: str) -> None:
    """A database of a newer release is left alone, and the message says what to do."""
    async with await Database.open(postgres_url) as database:
        await database.write(lambda tx: tx.execute(STAMP))
    with pytest.raises(SchemaTooNew, match=r"9999_future.*newer Understudy"):
        await Database.open(postgres_url)
