"""Names and ids."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from understudy import ids
from understudy.artifacts.artifact import ArtifactId, clean_name


def test_an_id_in_a_schema() -> None:
    """A form or command line can tell that a field wants a file."""
    schema = TypeAdapter(ArtifactId).json_schema()
    assert (schema["type"], schema["format"]) == ("string", "artifact-id")


@pytest.mark.parametrize("text", ["", "art_", "run_" + "0" * 26, "art_" + "A" * 26, "art_../x"])
def test_what_is_no_id(text: str) -> None:
    """Anything else than our own form is refused before it is looked up."""
    adapter = TypeAdapter(ArtifactId)
    assert adapter.validate_python(ids.random("art"))
    with pytest.raises(ValidationError):
        adapter.validate_python(text)


@pytest.mark.parametrize(
    ("given_name", "kept"),
    [
        ("photo.jpg", "photo.jpg"),
        ("/etc/passwd", "passwd"),
        ("..\\..\\windows\\système.dll", "système.dll"),
        ("folder/", "folder"),
        ("a\x00b\x1b[31m\n.png", "ab[31m.png"),
        ("\u202egnp.exe", "gnp.exe"),
        ("bad\udcff.jpg", "bad.jpg"),
        ("👩\u200d🚀.png", "👩\u200d🚀.png"),
        ("", "file"),
        ("..", "file"),
        (" \t ", "file"),
        (".hidden", ".hidden"),
    ],
)
def test_names_are_cleaned(given_name: str, kept: str) -> None:
    """Folders, control characters and direction marks go; the rest is the user's."""
    assert clean_name(given_name) == kept


def test_a_long_name_keeps_its_suffix() -> None:
    """A name is cut to what a file system takes, between characters, before its suffix."""
    name = clean_name("ü" * 300 + ".jpeg")
    assert name.endswith("ü.jpeg")
    assert 250 < len(name.encode()) <= 255
    assert len(clean_name("x" * 300)) == 255
    assert len(clean_name("x." + "y" * 300)) == 255


@given(st.text())
def test_any_name_becomes_a_file_name(name: str) -> None:
    """Whatever is given, the result can be saved under and cleaned again without change."""
    cleaned = clean_name(name)
    assert cleaned not in ("", ".", "..")
    assert "/" not in cleaned
    assert len(cleaned.encode()) <= 255
    assert not [c for c in cleaned if unicodedata.category(c) == "Cc"]
    assert clean_name(cleaned) == cleaned
