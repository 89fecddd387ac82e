"""Every setting, in one frozen value; the only module that reads the environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


def usable_cores() -> int:
    """The processors that this process may run on, which in a container may be fewer."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Settings(BaseSettings):
    """Read from `UNDERSTUDY_*` variables; explicit arguments win."""

    model_config = SettingsConfigDict(env_prefix="UNDERSTUDY_", frozen=True, extra="ignore")

    home: Path = Field(default=Path(".understudy"), description="Where data lives.")
    database_url: str = Field(
        default="",
        description="Another database than `understudy.db` in the home folder: "
        "`postgresql://user:password@host/name` for several workers, or `sqlite:////path/of/a.db`.",
    )
    load: str = Field(
        default="",
        description="Files with your own operations, separated as PATH is (`:`; `;` on Windows).",
    )
    tenant: str = Field(default="default", description="Whose runs and artifacts these are.")
    cores: int = Field(
        default_factory=usable_cores, ge=1, description="Processors to use for media work."
    )
    ffmpeg: str = Field(
        default="", description="Path of an ffmpeg to use instead of the one from the wheel."
    )
    drain_seconds: float = Field(
        default=10.0, ge=0, description="How long running steps may finish after SIGTERM."
    )
    lease_seconds: float = Field(
        default=10.0,
        ge=1,
        description="How long a worker may be silent before others take over its runs.",
    )
    retries: dict[str, dict[str, float]] = Field(
        default_factory=dict,
        description="How operations' steps are tried again, over what their code says; JSON: "
        '`{"morph": {"attempts": 6, "first": 1, "factor": 2, "maximum": 60}}`.',
    )
    result_days: float = Field(default=30.0, gt=0, description="How long results are kept.")
    run_days: float = Field(
        default=90.0,
        gt=0,
        description="How long ended runs are kept; one with files for as long as these.",
    )
    failed_run_days: float = Field(
        default=180.0, gt=0, description="The same for runs that failed."
    )
    input_days: float = Field(
        default=7.0, gt=0, description="How long inputs and intermediate files are kept."
    )

    @model_validator(mode="after")
    def _absolute(self) -> Self:
        object.__setattr__(self, "home", self.home.expanduser().absolute())
        if not self.database_url:
            object.__setattr__(self, "database_url", f"sqlite:///{self.home / 'understudy.db'}")
        return self
