"""A real server for tests: `understudy serve` as a process, which can be killed and begun anew."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


class Served:
    """A server on a free port of this machine, on a home of its own; `with Served(home) as one:`.

    `load` is a file with operations; each setting is given as in `Settings`: `admin_key="us_…"`.
    What it logs is in `serve.log` beside the home.
    """

    def __init__(self, home: Path, load: Path | None = None, **settings: str | float) -> None:
        self.url = ""
        self._log = home.with_name("serve.log")
        loading = [] if load is None else ["--load", str(load)]
        given = [f"UNDERSTUDY_{name.upper()}={value}" for name, value in settings.items()]
        self._command = ["env", *given, sys.executable, "-m", "understudy", "--home", str(home)]
        self._command += [*loading, "serve", "--json"]
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Begin, on the port of last time; return once it listens."""
        port = urlsplit(self.url).port or 0
        with self._log.open("a") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                [*self._command, "--port", str(port)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, self._log.read_text()
        self.url = json.loads(line)["url"]

    def stop(self) -> int:
        """SIGTERM, as at an upgrade: it drains; its exit code."""
        assert self._process is not None
        process, self._process = self._process, None
        process.terminate()
        process.communicate()
        return process.returncode

    def kill(self) -> None:
        """SIGKILL, as when the power goes; nothing, where it has ended."""
        if self._process is not None:
            process, self._process = self._process, None
            process.kill()
            process.communicate()
