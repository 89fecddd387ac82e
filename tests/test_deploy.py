"""The files for deployment say only what the program knows."""

from __future__ import annotations

import configparser
import re
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from understudy.cli.main import COMMANDS
from understudy.settings import Settings

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "examples" / "deploy"
FILES = [*sorted(DEPLOY.iterdir()), ROOT / "docs" / "howto" / "deploy.md"]
NAMES = {command.__name__ for command in COMMANDS}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_variable_is_a_setting(path: Path) -> None:
    """A name that nothing reads would be a setting that somebody believes in."""
    known = {f"UNDERSTUDY_{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(r"UNDERSTUDY_[A-Z_]+", path.read_text(encoding="utf-8"))) <= known


def compose() -> dict[str, Any]:
    """The compose file, read."""
    read: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    return read


def test_containers_share_the_database_and_the_files() -> None:
    """The server and the workers are one image, one database, one home, each with its command."""
    services = compose()["services"]
    ours = [services[name] for name in ("server", "worker")]
    for one in ours:
        assert one["command"][0] in NAMES
        assert one["volumes"] == ["home:/var/lib/understudy"]
        assert one["depends_on"]["database"] == {"condition": "service_healthy"}
        assert (DEPLOY / one["build"]["context"] / one["build"]["dockerfile"]).is_file()
    assert ours[0]["environment"] == ours[1]["environment"]
    assert "@database/" in ours[0]["environment"]["UNDERSTUDY_DATABASE_URL"]
    # Nobody but this machine, until somebody puts TLS before it.
    assert all(port.startswith("127.0.0.1:") for port in ours[0]["ports"])


def test_whoever_stops_it_waits_for_the_drain() -> None:
    """A supervisor that kills earlier would turn each upgrade into a crash."""
    drain = Settings().drain_seconds
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string((DEPLOY / "understudy.service").read_text(encoding="utf-8"))
    service = unit["Service"]
    assert int(service["TimeoutStopSec"]) > drain
    assert service["ExecStart"].split()[-1] in NAMES
    assert service["KillMode"] == "mixed"
    for name in ("server", "worker"):
        assert int(compose()["services"][name]["stop_grace_period"].removesuffix("s")) > drain


def test_the_image_copies_what_is_there() -> None:
    """What the Dockerfile copies is in the repository, and is not ignored."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    copied = [
        name
        for line in re.findall(r"^COPY (?!--)(.*)$", text, flags=re.MULTILINE)
        for name in line.split()[:-1]
    ]
    allowed = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert copied
    for name in copied:
        assert (ROOT / name).exists()
        assert f"!{name}" in allowed
    assert re.search(r'^CMD \["serve"\]$', text, flags=re.MULTILINE)
