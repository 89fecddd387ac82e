"""How file names are ordered."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from understudy.naming import natural_key


def test_natural_order() -> None:
    """Numbers count by value, case does not count, folders stay together."""
    names = ["IMG_10.jpg", "img_2.jpg", "a/z.jpg", "a/b/1.jpg", "b.jpg", "9", "img_02.jpg", "aé"]
    expected = ["9", "a/b/1.jpg", "a/z.jpg", "aé", "b.jpg", "img_02.jpg", "img_2.jpg", "IMG_10.jpg"]
    assert sorted(names, key=natural_key) == expected


@given(st.lists(st.text(alphabet="aA01²٣/-._9", max_size=8)))
def test_natural_order_is_total(names: list[str]) -> None:
    """Any names can be compared, and their order does not depend on where they stood."""
    backwards = names[::-1]
    assert sorted(names, key=natural_key) == sorted(backwards, key=natural_key)


@given(st.integers(0, 10**12), st.integers(0, 10**12))
def test_numbers_order_names(a: int, b: int) -> None:
    """Of two names that differ by a number, the smaller number comes first."""
    assert (natural_key(f"p{a}.jpg") < natural_key(f"p{b}.jpg")) == (a < b)


def test_a_number_of_any_length() -> None:
    """Ten thousand digits in a name are sorted without turning them into a number."""
    assert natural_key("9" * 10_000) > natural_key("8" * 10_000)
