"""Tokens of pages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.web.api.pages import place_of, token_for
from understudy.web.problem import MalformedError


@given(st.text(min_size=1, alphabet=st.characters(codec="utf-8")), st.text())
def test_a_token_says_where_to_go_on(last_id: str, question: str) -> None:
    """It is good for the question that it was made for, and survives a URL as it is."""
    try:
        question.encode()
    except UnicodeEncodeError:
        return
    token = token_for(last_id, question)
    assert place_of(token, question) == last_id
    assert token.replace("-", "").replace("_", "").isalnum()
    with pytest.raises(MalformedError):
        place_of(token, f"{question}!")


@given(st.text())
def test_nonsense_is_no_token(token: str) -> None:
    """Whatever somebody makes up is refused, and nothing else happens."""
    with pytest.raises(MalformedError) as caught:
        place_of(token, "all")
    assert caught.value.place == "query:page"
