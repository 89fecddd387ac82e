"""The receivers of webhooks that the docs show, in Python and TypeScript, as real processes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from understudy import signing
from understudy.client import Client
from understudy.testing.serving import Served

EXAMPLES = Path(__file__).parents[2] / "examples" / "webhooks"
HOWTO = Path(__file__).parents[2] / "docs" / "howto" / "webhooks.md"
OPERATIONS = Path(__file__).with_name("operations_of_a_client.py")


class Receiver:
    """A receiver in a process of its own, on a free port."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.url = ""
        self._process: subprocess.Popen[str] | None = None

    def start(self, secret: str) -> None:
        """Begin, on the port of last time; return once it listens."""
        port = urlsplit(self.url).port or 0
        given = ["env", f"WEBHOOK_SECRET={secret}", "NODE_NO_WARNINGS=1"]
        path = EXAMPLES / f"receiver.{self.kind}"
        self._process = subprocess.Popen(
            [*given, *interpreter(self.kind), str(path), str(port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.url = f"http://127.0.0.1:{self.line().rpartition(' ')[2]}/told"

    def line(self) -> str:
        """The next line that it prints."""
        assert self._process is not None
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()


def interpreter(kind: str) -> list[str]:
    """What runs an example; the browser's driver brings a Node that reads TypeScript."""
    if kind == "py":
        return [sys.executable]
    driver = pytest.importorskip("playwright._impl._driver")
    return [driver.compute_driver_executable()[0]]


@pytest.fixture(params=["py", "ts"])
def receiver(request: pytest.FixtureRequest) -> Iterator[Receiver]:
    """One of the two."""
    made = Receiver(request.param)
    yield made
    made.close()


def test_a_receiver_takes_what_is_ours_and_nothing_else(receiver: Receiver, run: Any) -> None:
    """Each webhook once, also when it is delivered again; forged, changed and old ones never."""
    secret, other = signing.new_secret(), signing.new_secret()
    receiver.start(secret)
    now = int(time.time())
    told = {"type": "run.succeeded", "timestamp": "now", "data": run(output={"n": "ü"}).json()}
    body = json.dumps(told, ensure_ascii=False).encode()

    def post(headers: dict[str, str], sent: bytes = body) -> int:
        return httpx.post(receiver.url, content=sent, headers=headers).status_code

    assert post(signing.signed_headers(other, "msg_0", now, body)) == 400
    assert post(signing.signed_headers(secret, "msg_0", now, body), body + b" ") == 400
    assert post(signing.signed_headers(secret, "msg_0", now - 301, body)) == 400
    assert post(signing.signed_headers(secret, "msg_0", now + 400, body)) == 400
    assert post({}) == 400
    signed = signing.signed_headers(secret, "msg_1", now, body)
    assert post(signed) == 204
    assert post(signed) == 204
    assert post(signing.signed_headers([other, secret], "msg_2", now, body)) == 204
    first, second = receiver.line(), receiver.line()
    assert first == second
    assert first.startswith("run.succeeded run_1 ")
    assert "ü" in first


def test_the_server_tells_a_receiver(receiver: Receiver, tmp_path: Path) -> None:
    """From an asking with a webhook to the line that the receiver prints."""
    with Served(tmp_path / "home", OPERATIONS, private_addresses="true") as served:
        receiver.start(signing.new_secret())  # which takes a port that is free
        receiver.close()
        with httpx.Client(base_url=served.url) as http:
            hook = http.post("/v1/webhooks", json={"url": receiver.url}).json()
            secret = http.get(f"/v1/webhooks/{hook['id']}/secret").json()["secret"]
        receiver.start(secret)
        with Client(served.url) as client:
            asked = client.run("shout", {"text": "hi"}, webhook=receiver.url)
        assert receiver.line().startswith(f"run.succeeded {asked.id} ")


def test_the_howto_shows_the_examples() -> None:
    """What a reader copies from the page is what is tested here."""
    page = HOWTO.read_text(encoding="utf-8")
    for name in ("receiver.py", "receiver.ts"):
        assert (EXAMPLES / name).read_text(encoding="utf-8") in page, name
