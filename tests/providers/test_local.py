from __future__ import annotations

import os
import sys
import zipfile
from pathlib import Path

import pytest

from understudy.capabilities.film import ArchiveLimits, Canvas, Clip, Film, Movie, Photo, Shot
from understudy.errors import InputError
from understudy.media.ffmpeg import find_ffmpeg
from understudy.media.pool import MediaPool
from understudy.providers.local import Local

PHOTOS = Path(__file__).parents[2] / "examples" / "photos"


def pool() -> MediaPool:
    return MediaPool(2, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})


async def test_a_film_from_an_archive(tmp_path: Path) -> None:
    """An archive of photos becomes a film through the verbs alone, each with its own answer."""
    archive, folder = tmp_path / "photos.zip", tmp_path / "out"
    folder.mkdir()
    with zipfile.ZipFile(archive, "w") as out:
        for name in ("05-cat.jpg", "01-temple.jpg"):
            out.write(PHOTOS / name, name)
    seen: list[int] = []
    async with pool() as workers:
        film: Film = Local(workers, find_ffmpeg())
        members = await film.unpack(archive, folder, name="photos.zip", limits=ArchiveLimits())
        assert [member.name for member in members] == ["01-temple.jpg", "05-cat.jpg"]
        ready = [tmp_path / f"{member.name}.png" for member in members]
        canvas = Canvas(64, 48, "contain")
        photos = [
            await film.photo(member.path, target, name=member.name, canvas=canvas)
            for member, target in zip(members, ready, strict=True)
        ]
        assert photos[1] == Photo(451, 300, "image/jpeg")
        shot = Shot(width=64, height=48, fps=30, hold=3, transition=5, style="melt")
        clips = [tmp_path / "a.mp4", tmp_path / "b.mp4"]
        first, second = ready
        made = await film.morph(first, second, clips[0], shot=shot, on_frame=seen.append)
        await film.morph(second, first, clips[1], shot=shot)
        assert made == Clip(frames=8, style="melt")
        assert seen[-1] == 8
        movie = await film.join(clips, tmp_path / "film.mp4")
    assert movie == Movie(frames=16, duration=16 / 30, width=64, height=48)


async def test_the_users_name_is_in_the_error(tmp_path: Path) -> None:
    """A bad photo is named as the user knows it, not as it is stored."""
    (tmp_path / "stored").write_text("not a photo")
    async with pool() as workers:
        film = Local(workers, find_ffmpeg())
        with pytest.raises(InputError, match=r"^beach\.jpg is not a photo"):
            await film.photo(
                tmp_path / "stored", tmp_path / "made", name="beach.jpg", canvas=Canvas(64, 48)
            )
