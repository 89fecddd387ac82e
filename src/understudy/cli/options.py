"""The options and arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Detach = Annotated[
    bool, typer.Option("--detach", help="Do not work here; leave it to a running worker.")
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Save what the run makes to this file or folder."),
]
IdempotencyKey = Annotated[
    str | None,
    typer.Option(
        "--idempotency-key", metavar="KEY", help="What was asked under this key is not done twice."
    ),
]
RunId = Annotated[
    str, typer.Argument(metavar="ID", help="The run's id, or enough of its beginning or end.")
]
LatestRunId = Annotated[
    str | None,
    typer.Argument(metavar="ID", help="The run's id, or enough of it; by default the latest."),
]
