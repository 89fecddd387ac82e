"""Write run.txt, dev.txt and bench.txt: every package that pip would install, pinned.

    python requirements/pin.py          (or `make pins`)

run.txt comes from pyproject.toml, the others from the `.in` file of their name, each on top of the
one before, all resolved for the oldest Python that is supported, whichever one runs this. Nothing
names an index, so pip uses the one that the machine is set up for.
"""

# ruff: noqa: INP001 - a script beside what it writes

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
PROJECT = HERE.parent / "pyproject.toml"
OLDEST = "3.11"


def asked(name: str) -> list[str]:
    """The requirements that a person wrote for one file."""
    if name == "run":
        project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))
        return [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    lines = (HERE / f"{name}.in").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def resolved(wanted: list[str]) -> dict[str, str]:
    """What pip would install in an empty environment: normalised name to version."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
    oldest = ["--python-version", OLDEST, "--only-binary", ":all:"]
    report = subprocess.run(  # noqa: S603 - pip, with requirements from this repository
        [*pip, *oldest, "--report", "-", *wanted], check=True, capture_output=True, text=True
    )
    packages = (item["metadata"] for item in json.loads(report.stdout)["install"])
    return {re.sub(r"[-_.]+", "-", p["name"]).lower(): p["version"] for p in packages}


def main() -> None:
    """Resolve run, dev and bench so that the larger never contradicts the smaller."""
    wanted: list[str] = []
    below: dict[str, str] = {}
    for name, base in (("run", None), ("dev", "run"), ("bench", "dev")):
        wanted += asked(name)
        pins = resolved([*wanted, *(f"{package}=={version}" for package, version in below.items())])
        source = "pyproject.toml" if base is None else f"{name}.in"
        head = [f"# Written by `make pins` from {source}."]
        head += [f"-r {base}.txt"] if base else []
        new = [f"{package}=={pins[package]}" for package in sorted(pins.keys() - below.keys())]
        (HERE / f"{name}.txt").write_text("\n".join([*head, *new, ""]), encoding="utf-8")
        below = pins


if __name__ == "__main__":
    main()
