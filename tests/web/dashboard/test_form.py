"""A form made from a JSON Schema, and back."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, RootModel, ValidationError

from understudy import ArtifactId
from understudy.web.dashboard import form
from understudy.web.dashboard.form import Answer

ONE, TWO = "art_00000000000000000000000001", "art_00000000000000000000000002"


class Inner(BaseModel):
    """A part."""

    depth: int = 0


class Everything(BaseModel):
    """One field of each kind."""

    photos: list[ArtifactId] = Field(description="Some photos.")
    voice: ArtifactId | None = None
    style: Literal["plain", "rich"] = "plain"
    loud: bool = True
    speed: float = Field(default=1.5, gt=0, le=4)
    times: int = Field(default=2, ge=1, title="How often")
    note_text: str = ""
    tags: list[str] = []
    inner: Inner = Inner()
    either: int | str = 3


SCHEMA = Everything.model_json_schema()


def by_name(fields: list[form.Field]) -> dict[str, form.Field]:
    """The questions, to be looked up."""
    return {field.name: field for field in fields}


def sent(fields: list[form.Field]) -> Answer:
    """What a browser sends of a form that nobody has touched."""
    texts: dict[str, str] = {}
    files: dict[str, Any] = {}
    for field in fields:
        if field.kind in {"file", "files"}:
            files[field.name] = list(field.value)
        elif field.kind == "flag":
            texts |= {field.name: "true"} if field.value else {}
        else:
            texts[field.name] = str(field.value)
    return Answer(texts, files)


def test_each_type_is_asked_for_in_its_own_way() -> None:
    """Files are chosen, flags ticked, the rest typed; what HTML cannot ask for is JSON."""
    kinds = {name: field.kind for name, field in by_name(form.fields_of(SCHEMA)).items()}
    assert kinds == {
        "photos": "files",
        "voice": "file",
        "style": "choice",
        "loud": "flag",
        "speed": "number",
        "times": "integer",
        "note_text": "text",
        "tags": "lines",
        "inner": "json",
        "either": "json",
    }


def test_questions_say_what_the_schema_says() -> None:
    """Labels, notes, limits, choices and defaults come from the operation's author."""
    fields = by_name(form.fields_of(SCHEMA))
    assert fields["photos"].required
    assert fields["photos"].note == "Some photos."
    assert fields["photos"].wide
    assert fields["note_text"].label == "Note text"
    assert fields["times"].label == "How often"
    assert (fields["times"].least, fields["times"].value) == (1, "2")
    assert (fields["speed"].above, fields["speed"].most) == (0, 4)
    assert fields["style"].choices == ("plain", "rich")
    assert fields["loud"].value is True
    assert json.loads(fields["inner"].value) == {"depth": 0}


@given(
    st.builds(
        Everything,
        photos=st.lists(st.sampled_from([ONE, TWO]), min_size=1, unique=True),
        voice=st.none() | st.just(ONE),
        loud=st.booleans(),
        speed=st.floats(0.1, 4),
        times=st.integers(1, 10**12),
        note_text=st.text(st.characters(codec="utf-8", exclude_characters="\r\n")),
        tags=st.lists(st.text("abc ä", min_size=1).map(str.strip).filter(bool)),
        either=st.integers() | st.text("abc"),
    )
)
def test_an_input_comes_back_as_it_was(wanted: Everything) -> None:
    """Edit and replay without an edit asks for the very same."""
    fields = form.filled(form.fields_of(SCHEMA), wanted.model_dump(mode="json"))
    data, faults = form.read(fields, sent(fields))
    assert not faults
    assert Everything.model_validate(data) == wanted


def test_what_is_left_empty_is_not_sent() -> None:
    """Empty fields leave the operation its defaults; a flag that is not ticked is false."""
    data, faults = form.read(form.fields_of(SCHEMA), Answer({"speed": " "}, {"photos": [ONE]}))
    assert not faults
    assert data == {"photos": [ONE], "loud": False}


def test_what_is_no_number_or_json_is_told_beside_its_field() -> None:
    """The answer stays in the field, so that it can be mended."""
    fields = form.fields_of(SCHEMA)
    answer = Answer({"speed": "fast", "inner": "{"}, {"photos": [ONE]})
    _, faults = form.read(fields, answer)
    assert set(faults) == {"speed", "inner"}
    again = by_name(form.with_faults(form.answered(fields, answer), faults))
    assert (again["speed"].value, again["speed"].fault) == ("fast", "this is not a number: fast")
    assert again["photos"].value == (ONE,)
    assert not again["tags"].fault


def test_faults_of_the_type_find_their_field() -> None:
    """What pydantic says is shown where it can be mended; what no field shows is said above."""
    fields = form.fields_of(SCHEMA)
    with pytest.raises(ValidationError) as raised:
        Everything.model_validate({"photos": ["x"], "times": 0, "inner": {"depth": "a"}})
    faults, others = form.faults_of(raised.value, fields)
    assert set(faults) == {"photos", "times", "inner"}
    assert faults["inner"].startswith("depth: ")
    assert not others
    _, others = form.faults_of(raised.value, [field for field in fields if field.name == "times"])
    assert len(others) == 2


def test_an_input_without_known_fields_is_one_question() -> None:
    """Any JSON can be asked for, also where the schema names no fields."""
    fields = form.fields_of(RootModel[dict[str, int]].model_json_schema())
    assert [field.kind for field in fields] == ["json"]
    filled = form.filled(fields, {"a": 1})
    data, faults = form.read(filled, sent(filled))
    assert (data, faults) == ({"a": 1}, {})
    assert form.read(fields, Answer({"": "{"}, {}))[1]


def test_a_value_that_does_not_fit_its_field_is_shown_all_the_same() -> None:
    """The input of an older version of an operation can be looked at and mended."""
    fields = by_name(
        form.filled(
            form.fields_of(SCHEMA),
            {"photos": ONE, "tags": "one", "times": None, "speed": [1], "gone": 3},
        )
    )
    assert fields["photos"].value == (ONE,)
    assert fields["tags"].value == "one"
    assert fields["times"].value == ""
    assert json.loads(fields["speed"].value) == [1]
