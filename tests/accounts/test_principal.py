"""Who may do what."""

from __future__ import annotations

import pytest

from understudy.accounts.principal import Principal, anonymous, implied
from understudy.errors import Forbidden, InputError


@pytest.mark.parametrize(
    ("given", "rights"),
    [
        (["read"], {"read"}),
        (["submit"], {"submit", "read"}),
        (["admin"], {"admin", "submit", "read"}),
        (["read", "submit"], {"submit", "read"}),
    ],
)
def test_a_scope_brings_what_it_implies(given: list[str], rights: set[str]) -> None:
    """Admin implies all, submit implies read, read nothing."""
    assert implied(given) == rights


@pytest.mark.parametrize("given", [[], ["root"], ["read", "Admin"]])
def test_an_unknown_scope_is_refused(given: list[str]) -> None:
    """Also beside known ones, and so is none at all; the message names those that are."""
    with pytest.raises(InputError, match="submit, read, admin"):
        implied(given)


def test_a_right_that_is_missing_is_named() -> None:
    """Whoever reads the refusal knows which key to ask for."""
    reader = Principal("default", "key_1", "ci", implied(["read"]))
    reader.require("read")
    with pytest.raises(Forbidden, match=r"'submit'.*has: read"):
        reader.require("submit")
    assert not reader.may("admin")


def test_the_audit_names_keys_by_id_and_name() -> None:
    """A name may be given twice, and an id says nothing to people."""
    assert Principal("default", "key_1", "ci", implied(["read"])).actor == "key_1 (ci)"
    assert anonymous("default").actor == "anonymous"
