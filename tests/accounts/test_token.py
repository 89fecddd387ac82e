"""The form of bearer keys."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from understudy.accounts import token

KNOWN = "us_0123456789ABCDEFGHIJKLMNOPQRST4PMbyp"


def test_a_token_has_its_prefix_and_enough_chance() -> None:
    """30 characters of 62 are 178 bits; no two are alike."""
    made = {token.fresh() for _ in range(100)}
    assert len(made) == 100
    assert all(re.fullmatch(r"us_[0-9A-Za-z]{36}", one) for one in made)
    assert all(token.is_whole(one) for one in made)


def test_the_check_never_changes() -> None:
    """It is CRC32 of the random part in base 62: scanners for leaked keys rely on it."""
    assert token.is_whole(KNOWN)


@given(st.integers(3, len(KNOWN) - 1), st.sampled_from("abcXYZ019"))
def test_a_wrong_character_is_found_at_once(place: int, other: str) -> None:
    """Nobody has to be asked to see that a character is wrong."""
    wrong = KNOWN[:place] + other + KNOWN[place + 1 :]
    assert token.is_whole(wrong) == (wrong == KNOWN)


@given(st.text(max_size=50))
def test_other_text_is_no_token(text: str) -> None:
    """Whatever a stranger sends is refused and breaks nothing."""
    assert not token.is_whole(text)
    assert not token.is_whole(KNOWN[:-1])
    assert not token.is_whole(KNOWN + "0")
    assert not token.is_whole(KNOWN.replace("us_", "uS_"))


def test_what_is_stored_does_not_give_it_away() -> None:
    """SHA-256, and the four characters that its owner knows it by."""
    assert re.fullmatch("[0-9a-f]{64}", token.hash_of(KNOWN))
    assert token.hint_of(KNOWN) == KNOWN[-4:]
