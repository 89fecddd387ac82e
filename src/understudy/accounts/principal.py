"""Who asks: the tenant, the name and the rights that a key, or a session made with one, gives."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Literal, get_args

from understudy.errors import Forbidden, InputError

Scope = Literal["submit", "read", "admin"]

SCOPES: tuple[Scope, ...] = get_args(Scope)

_IMPLIED: dict[Scope, frozenset[Scope]] = {
    "read": frozenset({"read"}),
    "submit": frozenset({"submit", "read"}),
    "admin": frozenset({"admin", "submit", "read"}),
}

ANONYMOUS = "anonymous"
"""The name of whoever works on the machine itself while there are no keys."""


@dataclasses.dataclass(frozen=True, slots=True)
class Principal:
    """Whoever was let in. Everything that is done for him is done inside `tenant`.

    `key_id` is None without a key: the anonymous of a fresh installation, or a one-time link.
    `scopes` holds all that he may, what is implied included. `per_minute` and `at_once` are his
    key's own limits; None stands for the installation's.
    """

    tenant: str
    key_id: str | None
    name: str
    scopes: frozenset[Scope]
    per_minute: int | None = None
    at_once: int | None = None

    @property
    def actor(self) -> str:
        """Who he is in the audit: `key_01k… (build server)`, or a name alone."""
        return self.name if self.key_id is None else f"{self.key_id} ({self.name})"

    def may(self, scope: Scope) -> bool:
        """Whether he has this right."""
        return scope in self.scopes

    def require(self, scope: Scope) -> None:
        """Raise `Forbidden`, which names the scope, unless he has it."""
        if scope not in self.scopes:
            had = ", ".join(sorted(self.scopes))
            raise Forbidden(f"this takes a key with the scope {scope!r}; this one has: {had}")


def implied(scopes: Iterable[str]) -> frozenset[Scope]:
    """All rights that these scopes give: admin implies all, submit implies read.

    Raises `InputError` when there is none, or an unknown one.
    """
    given = tuple(scopes)
    if not given or not all(scope in _IMPLIED for scope in given):
        wrong = ", ".join(map(repr, given)) or "none"
        raise InputError(f"scope: one or more of {', '.join(SCOPES)}, not {wrong}")
    return frozenset[Scope]().union(*(_IMPLIED[scope] for scope in SCOPES if scope in given))


def anonymous(tenant: str) -> Principal:
    """Whoever works on the machine itself while there are no keys: he may do everything."""
    return Principal(tenant, None, ANONYMOUS, implied(["admin"]))
