"""Keys and answers of a resumed operation."""

from __future__ import annotations

import pytest

from understudy.engine.replay import Replay
from understudy.errors import Diverged
from understudy.testing.conformance.rows import a_step


def test_keys_count_within_their_branch() -> None:
    """A name's first call has it as key, later ones are numbered, branches each by themselves."""
    replay = Replay([])
    assert [replay.ask("add", "step").key for _ in range(3)] == ["add", "add#2", "add#3"]
    assert replay.ask("add", "step", "1").key == "add@1"
    assert replay.ask("add", "step", "1").key == "add@1#2"
    assert replay.ask("add", "step", "1.2").key == "add@1.2"
    assert [call.key for call in replay.ask_items("add", 2)] == ["add#4[0]", "add#4[1]"]
    assert replay.ask("other", "step").seq == 8


@pytest.mark.parametrize("name", ["", "a#2", "a[0]", "a]", "a@1", "x" * 201])
def test_names_that_would_clash_are_refused(name: str) -> None:
    """A name may not look like a key."""
    with pytest.raises(ValueError, match="1 to 200 characters"):
        Replay([]).ask(name, "step")


def test_a_remembered_step_answers_once() -> None:
    """It answers its own call, and then is no longer missing."""
    replay = Replay([a_step("a", 0), a_step("b", 1)])
    assert replay.first_unasked == a_step("a", 0)
    assert replay.ask("b", "step").step == a_step("b", 1)
    assert replay.ask("a", "step").step == a_step("a", 0)
    assert replay.first_unasked is None
    assert replay.ask("a", "step").step is None
    replay.check_complete()


def test_a_disagreement_names_both_sides() -> None:
    """Another kind, a new call instead of a remembered one, an end too early."""
    with pytest.raises(Diverged, match="restore it, or cancel the run") as kind:
        Replay([a_step("a")]).ask("a", "wait")
    assert (kind.value.expected, kind.value.found) == ("step a", "wait a")
    replay = Replay([a_step("a")])
    call = replay.ask("new", "step")
    with pytest.raises(Diverged) as new:
        replay.check_new(call)
    assert (new.value.expected, new.value.found) == ("a", "new")
    with pytest.raises(Diverged) as end:
        replay.check_complete()
    assert (end.value.expected, end.value.found) == ("a", None)
    replay.check_new(replay.ask("a", "step"))
    replay.check_new(call)
