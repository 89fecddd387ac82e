"""`understudy serve`: what it says; what it does is tested in `test_server.py`."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

import pytest

from understudy.server import Started

LINK = "http://127.0.0.1:8288/dashboard/link/abc"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[[Started], dict[str, Any]]:
    """Have the server only say that it has started; the result is how it was asked to."""

    def arrange(started: Started) -> dict[str, Any]:
        how: dict[str, Any] = {}

        async def serve(_app: Any, *, ready: Any, **given: Any) -> None:
            how.update(given)
            ready(started)

        monkeypatch.setattr("understudy.server.serve", serve)
        return how

    return arrange


def test_it_says_where_it_listens(understudy: Any, asked: Any) -> None:
    """On stderr for people: the address, the worker that is missing, and the link that signs in."""
    how = asked(Started("http://127.0.0.1:8288", LINK, None))
    result = understudy("serve", "--no-worker", "--port", 0, "--host", "localhost")
    assert result.exit_code == 0, result.output
    assert how == {"host": "localhost", "port": 0, "work": False}
    for said in ("listens on http://127.0.0.1:8288", "no worker", "keys create", LINK):
        assert said in result.stderr
    assert result.stdout == ""


def test_it_says_nothing_of_links_where_there_are_keys(understudy: Any, asked: Any) -> None:
    """One line is enough."""
    how = asked(Started("http://127.0.0.1:8288", None, "worker_1"))
    result = understudy("serve")
    assert how == {"host": None, "port": None, "work": True}
    assert len(result.stderr.splitlines()) == 1


def test_programs_get_lines_of_json(understudy: Any, asked: Any) -> None:
    """One at the start with all facts, one at the end."""
    asked(Started("http://127.0.0.1:8288", LINK, "worker_1"))
    result = understudy("serve", "--json")
    started, stopped = map(json.loads, result.stdout.splitlines())
    assert (started["event"], started["url"]) == ("started", "http://127.0.0.1:8288")
    assert (started["link"], started["worker"]) == (LINK, "worker_1")
    assert started["pid"] > 0
    assert "understudy.db" in started["database"]
    assert stopped == {"event": "stopped"}


def test_a_port_that_is_taken_is_one_clear_line(understudy: Any) -> None:
    """Exit code 1, and the line names the port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = understudy("serve", "--port", port)
    assert result.exit_code == 1
    assert f"port {port}" in result.stderr
