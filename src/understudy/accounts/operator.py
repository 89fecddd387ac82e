"""The key that the settings carry, for installations that are set up without a terminal."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac

from understudy.accounts.principal import Principal, implied
from understudy.errors import ConfigError

ENVIRONMENT = "environment"
"""Its id, where other keys have that of their row."""

SHORTEST = 20
"""Characters that it has at least: nothing limits how fast keys are tried at the API."""


@dataclasses.dataclass(frozen=True, slots=True)
class OperatorKey:
    """A key with every right in `tenant`, which no row knows. `secret` may be any long word."""

    tenant: str
    secret: str = dataclasses.field(repr=False)

    def __post_init__(self) -> None:
        word = self.secret
        if len(word) < SHORTEST or not word.isascii() or not word.isprintable() or " " in word:
            raise ConfigError(
                f"UNDERSTUDY_ADMIN_KEY: give at least {SHORTEST} characters of ASCII, without "
                "spaces; `python3 -c 'import secrets; print(secrets.token_urlsafe(32))'` makes one"
            )

    @property
    def principal(self) -> Principal:
        """Whoever shows it."""
        return Principal(self.tenant, ENVIRONMENT, ENVIRONMENT, implied(["admin"]))

    def fits(self, token: str) -> bool:
        """Whether this is it; takes the same time whatever is wrong."""
        return hmac.compare_digest(_digest(token), _digest(self.secret))

    def proof(self, session: str) -> str:
        """What the row of a session made with this key keeps, so that it ends with the key.

        It tells nothing of the key to those who know the row alone, but not the session's token.
        """
        made = hmac.new(session.encode(), self.secret.encode(), hashlib.sha256).hexdigest()
        return f"{ENVIRONMENT}.{made}"


def _digest(text: str) -> bytes:
    # Surrogates come from headers that are not UTF-8.
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()
