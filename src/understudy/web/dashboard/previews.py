"""The files that a run took and made, as a page shows them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Any, Literal

from understudy.artifacts.artifact import Artifact
from understudy.artifacts.artifacts import Artifacts
from understudy.errors import NotFound
from understudy.web.dashboard import words

_ARTIFACT = re.compile(r"art_[0-9a-z]{26}")
_PICTURES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp", "image/avif"})
_MOST = 24

Look = Literal["picture", "film", "sound", "file", "gone"]


@dataclasses.dataclass(frozen=True)
class Preview:
    """One file: what it is, and where its bytes are; `gone` when they are no longer kept."""

    id: str
    look: Look
    name: str
    facts: str

    @property
    def address(self) -> str:
        """Where a page finds the bytes."""
        return f"/dashboard/files/{self.id}"


@dataclasses.dataclass(frozen=True)
class Previews:
    """The files that a page shows, and how many more there are."""

    shown: tuple[Preview, ...]
    more: int


def shown_inline(media_type: str) -> bool:
    """Whether a browser may show it in place: what can carry no script."""
    return look_of(media_type) != "file"


def look_of(media_type: str) -> Look:
    """How a page shows this type."""
    if media_type in _PICTURES:
        return "picture"
    kind = media_type.partition("/")[0]
    return "film" if kind == "video" else "sound" if kind == "audio" else "file"


async def previews(files: Artifacts, value: Any, most: int = _MOST) -> Previews:
    """Of the files that a JSON value names, the first `most`."""
    found = list(dict.fromkeys(artifact_ids(value)))
    return Previews(
        tuple([await preview(files, name) for name in found[:most]]), max(0, len(found) - most)
    )


async def preview(files: Artifacts, artifact_id: str) -> Preview:
    """One file as a page shows it, also when it is no longer kept."""
    try:
        artifact = await files.get(artifact_id)
    except NotFound:
        return Preview(artifact_id, "gone", artifact_id, "no longer kept")
    return Preview(artifact_id, look_of(artifact.media_type), artifact.name, _facts(artifact))


def artifact_ids(value: Any) -> Iterator[str]:
    """Every artifact that a JSON value names, in order."""
    if isinstance(value, str):
        if _ARTIFACT.fullmatch(value):
            yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from artifact_ids(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from artifact_ids(inner)


def _facts(artifact: Artifact) -> str:
    known = (
        [f"{artifact.width} \N{MULTIPLICATION SIGN} {artifact.height}"]
        if artifact.width and artifact.height
        else []
    )
    known += [words.duration(artifact.duration)] if artifact.duration else []
    return ", ".join([*known, words.size(artifact.size)])
