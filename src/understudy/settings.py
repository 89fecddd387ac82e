"""Every setting, in one frozen value; the only module that reads the environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator
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
    host: str = Field(default="127.0.0.1", description="The interface that `serve` listens on.")
    port: int = Field(default=8288, ge=0, le=65535, description="Its port; 0 takes a free one.")
    public_url: str = Field(
        default="",
        description="Where others reach this server, for links in answers: "
        "`https://media.example.com`. Without it, links are relative to what was asked.",
    )
    admin_key: SecretStr | None = Field(
        default=None,
        description="A key with every right, besides those that `keys create` made: at least 20 "
        "characters.",
    )
    upload_mb: float = Field(default=512.0, gt=0, description="The largest file one may upload.")
    body_kb: float = Field(default=1024.0, gt=0, description="The largest JSON body.")
    watchers: int = Field(
        default=2000, ge=1, description="Event streams at once; one more is asked to come later."
    )
    key_per_minute: int = Field(
        default=6000, ge=1, description="Requests a minute of a key that has no limit of its own."
    )
    key_at_once: int = Field(
        default=200, ge=1, description="Requests at once of a key that has no limit of its own."
    )
    link_hours: float = Field(
        default=24.0, gt=0, description="How long a signed download link works."
    )
    private_addresses: bool = Field(
        default=False,
        description="Let webhooks and input URLs reach this machine and its network, "
        "for development.",
    )
    logs: Literal["auto", "text", "json"] = Field(
        default="auto",
        description="How `serve` and `work` write logs; auto is text on a terminal, else JSON.",
    )
    log_prompts: bool = Field(
        default=False, description="Keep what customers wrote in logs, instead of masking it."
    )

    server: str = Field(
        default="",
        description="Another machine's server, which commands ask instead of working here.",
    )
    key: SecretStr | None = Field(default=None, description="The key to ask that server with.")

    @property
    def files_folder(self) -> Path:
        """Where the bytes of artifacts lie."""
        return self.home / "artifacts"

    @property
    def logs_folder(self) -> Path:
        """Where log lines are kept, a file a day."""
        return self.home / "logs"

    @model_validator(mode="after")
    def _absolute(self) -> Self:
        object.__setattr__(self, "home", self.home.expanduser().absolute())
        if not self.database_url:
            object.__setattr__(self, "database_url", f"sqlite:///{self.home / 'understudy.db'}")
        return self
