"""What is known of bytes with an id."""

from __future__ import annotations

import unicodedata
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

ArtifactId = Annotated[
    str,
    Field(pattern=r"^art_[0-9a-z]{26}$", json_schema_extra={"format": "artifact-id"}),
]
"""The id of an artifact, as a field of an operation's input or output."""

_LONGEST = 255  # bytes: what file systems take as one name


class Artifact(BaseModel):
    """A reference to stored bytes. It is never changed, only deleted or kept longer.

    `size` is in bytes, `width` and `height` in pixels (upright), `duration` in seconds; None where
    it does not apply or is not known. Times are seconds since 1970; `expires_at` None is for ever.
    """

    model_config = ConfigDict(frozen=True)

    id: ArtifactId
    name: str
    media_type: str
    size: int
    sha256: str
    width: int | None = None
    height: int | None = None
    duration: float | None = None
    created_at: float
    expires_at: float | None = None


def clean_name(name: str) -> str:
    """A user's file name, safe to show and to save under: no folders, nothing unprintable.

    Marks that turn the direction of text go too: they make `gnp.exe` read as `exe.png`. Names
    longer than 255 bytes lose the end of their stem and keep their suffix.
    """
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    kept = "".join(c for c in last if not _is_control(c)).strip()
    if kept in ("", ".", ".."):
        return "file"
    stem, dot, suffix = kept.rpartition(".")
    ending = (dot + suffix).encode() if stem and len(suffix) <= 16 else b""
    body = kept.encode()[: len(kept.encode()) - len(ending)]
    return (body[: _LONGEST - len(ending)] + ending).decode(errors="ignore")


def _is_control(character: str) -> bool:
    return (
        unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
        or "\u202a" <= character <= "\u202e"
        or "\u2066" <= character <= "\u2069"
        or character in "\u200e\u200f\u061c"
    )
