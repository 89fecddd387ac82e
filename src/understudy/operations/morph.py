"""Morph: photos become a film, each flowing into the next."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from understudy.artifacts.artifact import Artifact, ArtifactId
from understudy.artifacts.artifacts import Artifacts
from understudy.capabilities.film import ArchiveLimits, Canvas, Film, Fit, Shot, Style, check_size
from understudy.engine.context import Context
from understudy.engine.operation import operation
from understudy.errors import Error, InputError, NotFound, StorageError
from understudy.naming import natural_key

MOST_PHOTOS = 2000
_SIDE_BY_SIDE = 100
_ZIP = "application/zip"
_SIZE = r"^[1-9][0-9]{1,3}x[1-9][0-9]{1,3}$"


class Morph(BaseModel):
    """Photos, or one ZIP of photos, and how the film shall look."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: list[ArtifactId] = Field(
        min_length=1,
        max_length=MOST_PHOTOS,
        description=f"2 to {MOST_PHOTOS} photos, or one ZIP of them.",
    )
    order: Literal["name", "given"] = Field(
        default="name", description="By name (img2 before img10), or as given."
    )
    loop: bool = Field(default=False, description="End where the film began.")
    seconds_per_pair: float = Field(
        default=2.0, gt=0, le=60, description="From one photo to the next."
    )
    hold: float = Field(default=0.0, ge=0, le=60, description="Seconds that each photo rests.")
    fps: int = Field(default=30, ge=1, le=60, description="Frames a second.")
    size: str = Field(
        default="1280x720", pattern=_SIZE, description="Width x height, multiples of 4."
    )
    fit: Fit = Field(
        default="cover", description="Cut photos to the size, or show them whole on a ground."
    )
    style: Style = Field(
        default="auto",
        description="auto looks at each pair: flow for related photos, melt for others; "
        "dissolve is a plain cross-fade.",
    )

    @model_validator(mode="after")
    def _fits_an_encoder(self) -> Self:
        try:
            check_size(*self.pixels, self.fps)
        except InputError as error:
            raise ValueError(error.message) from error
        return self

    @property
    def pixels(self) -> tuple[int, int]:
        """Width and height."""
        width, _, height = self.size.partition("x")
        return int(width), int(height)


class Morphed(BaseModel):
    """The film. `styles` says how each pair was morphed, `duration` is in seconds."""

    film: Artifact
    photos: int
    frames: int
    duration: float
    styles: list[Style]


class Photo(BaseModel):
    """A photo of the film: its bytes, what the user calls it, and whether it is ours to delete."""

    id: ArtifactId
    name: str
    unpacked: bool = False


class Clip(BaseModel):
    """One pair, filmed."""

    id: ArtifactId
    style: Style


class Pair(BaseModel):
    """Two photos made fit, and how to go from one to the other."""

    number: int
    first: Photo
    second: Photo
    shot: Shot


@operation(
    "morph",
    version=1,
    examples={
        "two photos": Morph(
            images=["art_00000000000000000000000001", "art_00000000000000000000000002"],
            size="320x180",
            seconds_per_pair=0.4,
            fps=10,
        ),
    },
)
async def morph(ctx: Context, input: Morph, *, film: Film, files: Artifacts) -> Morphed:  # noqa: A002 - the author's word
    """Turn two or more photos into one film (MP4, H.264).

    Each pair is a step of its own, side by side; what is finished is never rendered again.
    """
    photos = await ctx.step("photos", partial(gather_photos, film, files), input)
    canvas = Canvas(*input.pixels, fit=input.fit)
    fitted = await ctx.map(
        "photo", partial(fit_photo, film, files, canvas), photos, limit=film.at_once
    )
    pairs = pair_up(fitted, input)
    clips = await ctx.map("pair", partial(film_pair, film, files), pairs, limit=film.at_once)
    made = await ctx.step("join", partial(join_clips, film, files), clips, pairs)
    spent = [photo.id for photo in (*photos, *fitted) if photo.unpacked]
    await ctx.step("tidy", partial(delete_all, files), [*spent, *(clip.id for clip in clips)])
    return made


async def gather_photos(film: Film, files: Artifacts, wanted: Morph) -> list[Photo]:
    """The photos in their order; a ZIP is unpacked. Raises `InputError`."""
    given = [await files.get(image) for image in wanted.images]
    if any(one.media_type == _ZIP for one in given):
        if len(given) > 1:
            raise InputError("give photos, or one ZIP of photos, not both")
        photos = await _unpack(film, files, given[0])
    else:
        photos = [Photo(id=one.id, name=one.name) for one in given]
    if len(photos) < 2:
        raise InputError(
            f"a film needs at least 2 photos; there is {len(photos)} ({_names(given)})"
        )
    if wanted.order == "name":
        photos.sort(key=lambda photo: natural_key(photo.name))
    return photos


async def _unpack(film: Film, files: Artifacts, archive: Artifact) -> list[Photo]:
    limits = ArchiveLimits(photos=MOST_PHOTOS)
    async with files.workspace() as folder:
        source = await files.path(archive.id)
        members = await film.unpack(source, folder, name=archive.name, limits=limits)
        return [
            Photo(
                id=(await files.adopt(member.path, name=member.name)).id,
                name=member.name,
                unpacked=True,
            )
            for member in members
        ]


async def fit_photo(film: Film, files: Artifacts, canvas: Canvas, photo: Photo) -> Photo:
    """The photo upright, in sRGB, in the film's size. Raises `InputError`, which names it."""
    async with files.workspace() as folder:
        target = folder / "photo.png"
        await film.photo(await files.path(photo.id), target, name=photo.name, canvas=canvas)
        made = await files.adopt(target, name=f"{Path(photo.name).stem}.png")
    return Photo(id=made.id, name=photo.name, unpacked=True)


def pair_up(photos: Sequence[Photo], wanted: Morph) -> list[Pair]:
    """Neighbours, and with `loop` the last with the first.

    P pairs of N photos have P x transition + N x hold frames.
    """
    width, height = wanted.pixels
    transition = max(1, round(wanted.seconds_per_pair * wanted.fps))
    hold = round(wanted.hold * wanted.fps)
    seconds = [*photos[1:], *photos[: 1 if wanted.loop else 0]]
    pairs = []
    for number, (first, second) in enumerate(zip(photos, seconds, strict=False), start=1):
        ends = number == len(seconds) and not wanted.loop
        shot = Shot(
            width=width,
            height=height,
            fps=wanted.fps,
            hold=hold,
            transition=transition,
            ending="photo" if ends else "next",
            style=wanted.style,
        )
        pairs.append(Pair(number=number, first=first, second=second, shot=shot))
    return pairs


async def film_pair(film: Film, files: Artifacts, pair: Pair) -> Clip:
    """The pair's clip. An error names the pair."""
    async with files.workspace() as folder:
        target = folder / "clip.mp4"
        first, second = await files.path(pair.first.id), await files.path(pair.second.id)
        try:
            made = await film.morph(first, second, target, shot=pair.shot)
        except Error as error:
            label = f"pair {pair.number} ({pair.first.name} to {pair.second.name})"
            raise type(error)(
                f"{label}: {error.message}",
                category=error.category,
                retry_after=error.retry_after,
            ) from error
        stored = await files.adopt(target, name=f"pair-{pair.number}.mp4")
    return Clip(id=stored.id, style=made.style)


async def join_clips(
    film: Film, files: Artifacts, clips: Sequence[Clip], pairs: Sequence[Pair]
) -> Morphed:
    """The whole film, without encoding anything again."""
    async with files.workspace() as folder:
        target = folder / "film.mp4"
        movie = await film.join([await files.path(clip.id) for clip in clips], target)
        stored = await files.results.adopt(target, name="film.mp4")
    return Morphed(
        film=stored,
        photos=len(pairs) + (pairs[-1].shot.ending == "photo"),
        frames=movie.frames,
        duration=movie.duration,
        styles=[clip.style for clip in clips],
    )


async def delete_all(files: Artifacts, spent: Sequence[str]) -> None:
    """Delete what only served to make the film.

    Nothing here can fail a film that is finished: what stays is deleted when it expires.
    """
    for start in range(0, len(spent), _SIDE_BY_SIDE):
        some = [files.delete(artifact_id) for artifact_id in spent[start : start + _SIDE_BY_SIDE]]
        for told in await asyncio.gather(*some, return_exceptions=True):
            if told is not None and not isinstance(told, NotFound | StorageError):
                raise told


def _names(given: Sequence[Artifact]) -> str:
    return ", ".join(artifact.name for artifact in given)
