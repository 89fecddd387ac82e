"""`--set` and files become an operation's input, guided by its JSON schema."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, WithJsonSchema

from understudy.cli.inputs import assigned, placed
from understudy.errors import InputError

File = Annotated[str, WithJsonSchema({"type": "string", "format": "artifact-id"})]


class Size(BaseModel):
    """An inner object."""

    width: int = 1
    height: int = 1


class Film(BaseModel):
    """An input with every kind of field."""

    images: list[File]
    music: File | None = None
    title: str = ""
    subtitle: str | None = None
    hold: float = 1.0
    loop: bool = False
    style: Literal["auto", "melt"] = "auto"
    size: Size | None = None
    tags: list[str] = Field(default_factory=list)
    labels: dict[str, int] = Field(default_factory=dict)


SCHEMA = Film.model_json_schema()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("title=2026", {"title": "2026"}),
        ('title="quoted"', {"title": '"quoted"'}),
        ("title=a=b", {"title": "a=b"}),
        ("title=", {"title": ""}),
        ("subtitle=null", {"subtitle": None}),
        ("title=null", {"title": "null"}),
        ("hold=2.5", {"hold": 2.5}),
        ("loop=true", {"loop": True}),
        ("loop=yes", {"loop": "yes"}),
        ("style=melt", {"style": "melt"}),
        ("size.width=640", {"size": {"width": 640}}),
        ('size={"width": 640}', {"size": {"width": 640}}),
        ('tags=["a", "b"]', {"tags": ["a", "b"]}),
        ("labels.any=3", {"labels": {"any": 3}}),
        ("images=notjson", {"images": "notjson"}),
    ],
)
def test_values_are_read_by_the_schema(setting: str, value: dict[str, Any]) -> None:
    """Text stays text, everything else may be JSON, and the operation's type has the last word."""
    assert assigned(SCHEMA, [setting]) == value


def test_dotted_paths_fill_one_object() -> None:
    """Several settings of one inner object belong together."""
    assert assigned(SCHEMA, ["size.width=4", "size.height=8"]) == {
        "size": {"width": 4, "height": 8}
    }


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["loop"], "write it as field=value"),
        (["=true"], "write it as field=value"),
        (["lop=true"], "did you mean loop?"),
        (["size.widht=1"], "did you mean size.width?"),
        (["zzzz=1"], "known: images, music"),
        (["title.deep=1"], "--set title.deep: no such field"),
        (["loop=true", "loop=false"], "given twice"),
        (["size=1", "size.width=1"], "already set to a plain value"),
        (["size.width=1", "size=1"], "given twice"),
    ],
)
def test_a_bad_setting_names_itself_and_the_way_out(settings: list[str], message: str) -> None:
    """The message holds the setting at fault and what could have been meant."""
    with pytest.raises(InputError, match=r"^--set ") as caught:
        assigned(SCHEMA, settings)
    assert message in caught.value.message


@given(st.text(min_size=1).filter(lambda text: text != "null"))
def test_any_text_reaches_a_text_field_as_it_is(text: str) -> None:
    """Nothing in a title is special."""
    assert assigned(SCHEMA, [f"title={text}"]) == {"title": text}


def test_files_fill_lists_and_single_fields_in_order() -> None:
    """A list takes all that later single fields do not need; what is set already is left alone."""
    assert placed(SCHEMA, {}, ["a", "b", "c"]) == {"images": ["a", "b"], "music": "c"}
    assert placed(SCHEMA, {"music": "m"}, ["a", "b"]) == {"images": ["a", "b"], "music": "m"}
    assert placed(SCHEMA, {"images": []}, ["a"]) == {"images": [], "music": "a"}
    assert placed(SCHEMA, {}, []) == {}


def test_files_that_fit_nowhere_are_refused() -> None:
    """An operation without room for a file says so, before anything is copied."""
    with pytest.raises(InputError, match="2 files given, and this operation takes 1"):
        placed(SCHEMA, {"images": []}, ["a", "b"])
    with pytest.raises(InputError, match="1 files given, and this operation takes none"):
        placed({"properties": {"n": {"type": "integer"}}}, {}, ["a"])
