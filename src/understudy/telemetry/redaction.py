"""Nothing private reaches a log: masked by the name of a value, and by what a text looks like.

Three kinds are masked: *secrets* (keys, tokens, passwords, signatures), *people* (chat ids, user
ids, addresses of mail) and *customers' words* (prompts, inputs, outputs). The last are kept only
when the operator asked for it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

Kind = Literal["secret", "person", "words"]

MASK = "[redacted]"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SECRET = _words(
    "apikey auth authorization bearer cookie cookies credential credentials csrf dsn jwt otp "
    "passphrase passwd password passwords pwd secret secrets session sig signature token tokens "
    "whsec"
)
_PEOPLE = _words("chat chats email emails phone recipient recipients telegram user username users")
_WORDS = _words(
    "answer body caption captions content contents data filename form input inputs lyrics output "
    "outputs payload prompt prompts query question result script text texts title transcript "
    "utterance"
)
_KEYS = ("key", "keys")
_PARTS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+")

_OWN_ID = re.compile(r"(?:run|art|key|wh|worker)_[0-9a-z]{26}")
"""An id of ours, which is no secret and stands in most lines."""

_LONGEST_READ = 20_000
_LONGEST = 4_000
"""Letters of one text in a line. More are read than kept, so that nothing is cut off its mark."""
_HEAD = 24
"""Letters: who quotes so many of a longer text quotes it, wherever he stops."""
_SHORT = 4
"""Letters: masking a shorter secret would make every line unreadable, and tell it all the same."""
_DEPTH = 6
_ITEMS = 100

_NAMED = (
    r"[\w.-]*(?:api[_-]?key|auth|cookie|credential|csrf|passphrase|passw(?:or)?d|pwd|secret|"
    r"session|signature|token|[_-]key)"
)
_PROOFS = "auth|code|credential|expires|key|password|policy|secret|sig|signature|token"
_QUOTED = r'"(?:[^"\\]|\\.)*"?|\'(?:[^\'\\]|\\.)*\'?'
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), mask)
    for pattern, mask in (
        (r"-----BEGIN[ \w]*PRIVATE KEY-----[^-]*(?:-----END[ \w]*-----)?", MASK),
        # What stands before the @ of a URL is somebody's password, or should not be there.
        (r"\b([a-z][a-z0-9+.-]{0,20}://)[^\s/?#\"'<>]*@", rf"\1{MASK}@"),
        (r"\b(authorization[\"']?\s*[:=]\s*[\"']?)(?:\w+\s+)?[^\s\"',;]+", rf"\1{MASK}"),
        (r"\b(bearer|basic|digest)\s+[\w.~+/=:-]{6,}", rf"\1 {MASK}"),
        # Signed links: whatever proves something in a query.
        (
            rf"([?&](?:[\w.-]*(?:{_PROOFS})|x-(?:amz|goog)-[\w-]+)=)[^&\s\"'<>#]+",
            rf"\1{MASK}",
        ),
        (
            rf"(\b{_NAMED}s?[\"']?\s*[:=]\s*)(?!\[redacted\])(?:{_QUOTED}|[^\s,;&}}\])]+)",
            rf"\1{MASK}",
        ),
        # Tokens by their makers' shapes: our own, then those of others.
        (r"us_[0-9A-Za-z]{30,}", MASK),
        (r"whsec_[\w+/=-]{8,}", MASK),
        (r"\b(?:sk|pk|rk|r8|hf|xi|gsk)[-_][\w-]{16,}", MASK),
        (r"(?:gh[pousr]|github_pat|glpat|xox[abprs])[-_][\w-]{10,}", MASK),
        (r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b", MASK),
        (r"\bAIza[\w-]{30,}", MASK),
        (r"\beyJ[\w-]{6,}\.[\w-]{6,}(?:\.[\w-]*)?", MASK),
        (r"(?<![\d:])\d{6,12}:[\w-]{30,}", MASK),
        # People.
        (r"\b((?:chat|user)[_ -]?(?:id)?[\"']?\s*[:=]\s*)[\"']?-?\d{4,}[\"']?", rf"\1{MASK}"),
        (r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}", MASK),
    )
)
_SUSPECT = re.compile(r"[=:@]|\b(?:bearer|basic|digest|[\w+/-]{13})|us_|BEGIN", re.IGNORECASE)
"""A text without any of it fits none of the patterns; most texts of a line are such."""
_CUSTOMERS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), mask)
    for pattern, mask in (
        (
            rf"([\"'](?:negative_)?(?:{'|'.join(sorted(_WORDS))})[\"']\s*:\s*)(?:{_QUOTED})",
            rf"\1{MASK}",
        ),
        (rf"(\b(?:negative[_ ])?prompts?\s*[:=]\s*)(?:{_QUOTED}|[^\n]+)", rf"\1{MASK}"),
        # What a validation error repeats of what it was given.
        (r"(input_value=).*?(?=, input_type=|\Z)", rf"\1{MASK}"),
    )
)


class Redaction:
    """Masks values and texts. With `prompts`, customers' words are kept.

    `secrets` are known ones, masked wherever they turn up.
    """

    def __init__(self, *, prompts: bool = False, secrets: Iterable[str] = ()) -> None:
        self._prompts = prompts
        self._secrets = tuple(secret for secret in secrets if len(secret) >= _SHORT)

    def event(self, event: Mapping[str, Any], private: Sequence[str] = ()) -> dict[str, Any]:
        """A log line's values without what is private; `private` texts are masked wherever."""
        private = () if self._prompts else private
        return {name: self.value(name, value, private) for name, value in event.items()}

    def value(self, name: str, value: Any, private: Sequence[str] = (), depth: int = 0) -> Any:
        """A value as a log may show it: numbers, texts, and lists and mappings of them."""
        kind = kind_of(name)
        if kind is not None and not (kind == "words" and self._prompts):
            return _masked(name, value)
        if isinstance(value, str):
            return value if _OWN_ID.fullmatch(value) else self.text(value, private)
        return self._other(name, value, private, depth)

    def _other(self, name: str, value: Any, private: Sequence[str], depth: int) -> Any:
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, bytes | bytearray | memoryview):
            return f"[{len(value)} bytes]"
        if isinstance(value, Mapping | list | tuple | set | frozenset):
            if depth == _DEPTH:
                return "[…]"
            return self._inner(name, value, private, depth + 1)
        return self.text(_said(value), private)

    def text(self, text: str, private: Sequence[str] = ()) -> str:
        """A text in which whatever looks private is masked; cut when it is very long."""
        text = text[:_LONGEST_READ]
        for one in (*self._secrets, *private):
            text = _without(one, text)
        if not _SUSPECT.search(text):
            return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
        for pattern, mask in _PATTERNS:
            text = pattern.sub(mask, text)
        if not self._prompts:
            for pattern, mask in _CUSTOMERS:
                text = pattern.sub(mask, text)
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"

    def _inner(self, name: str, value: Any, private: Sequence[str], depth: int) -> Any:
        if isinstance(value, Mapping):
            some = list(value.items())[:_ITEMS]
            return {
                self.text(str(inner), private): self.value(str(inner), one, private, depth)
                for inner, one in some
            }
        # A list's items are what its name says.
        return [self.value(name, one, private, depth) for one in list(value)[:_ITEMS]]


def _without(private: str, text: str) -> str:
    """The text without another one, nor so much of its beginning as somebody has quoted."""
    head = private[:_HEAD]
    at = text.find(head)
    while at >= 0:
        end = at + len(head)
        for letter in private[_HEAD:]:
            if text[end : end + 1] != letter:
                break
            end += 1
        text = text[:at] + MASK + text[end:]
        at = text.find(head, at + len(MASK))
    return text


@functools.lru_cache(maxsize=4096)
def kind_of(name: str) -> Kind | None:
    """What a value of that name holds, if it is private."""
    words = [word for word in _PARTS.sub("_", name).lower().split("_") if word]
    if not words:
        return None
    if words[-1] in _KEYS or not _SECRET.isdisjoint(words):
        return "secret"
    if not _PEOPLE.isdisjoint(words):
        return "person"
    return "words" if not _WORDS.isdisjoint(words) else None


def _masked(name: str, value: Any) -> Any:
    """Nothing of the value; that there is none, or how many tokens of a model, is no secret."""
    if value is None or isinstance(value, bool):
        return value
    counts = isinstance(value, int | float) and name.lower().endswith("tokens")
    return value if counts else MASK


def _said(value: Any) -> str:
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001 - a log line must not fail for what it tells
        return f"[{type(value).__name__} that cannot be shown: {type(error).__name__}]"
