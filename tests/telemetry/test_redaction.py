"""What may not be seen in a log is not seen: by its name, by its look, and by whose words it is."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.telemetry.redaction import MASK, Redaction, kind_of

LETTERS = string.ascii_letters + string.digits
TOKEN = "".join(LETTERS[i * 7 % 62] for i in range(36))
SECRETS = {
    "our own key": f"us_{TOKEN}",
    "a webhook's secret": f"whsec_{TOKEN}+/=",
    "a language model's key": f"sk-proj-{TOKEN}",
    "a render farm's key": f"r8_{TOKEN}",
    "a code host's token": f"ghp_{TOKEN}",
    "a cloud's access key": "AKIAABCDEFGHIJKLMNOP",
    "a bot's token": f"123456789:{TOKEN}",
    "a signed claim": f"eyJhbGciOiJI.eyJzdWIiOiIx.{TOKEN}",
}


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
@pytest.mark.parametrize(
    "around",
    [
        "{}",
        "refused: {}.",
        "GET https://api.test/u/{}/send",
        '{{"note": "{}"}}',
        "x={}&y=1",
        "\n{}\n",
    ],
)
def test_a_token_is_masked_by_its_look(secret: str, around: str) -> None:
    """Wherever a token stands in a text, nothing of it is left."""
    said = Redaction().text(around.format(secret))
    assert MASK in said
    assert secret not in said
    assert TOKEN not in said


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("postgresql://understudy:p@ss/w@db.test/runs", "p@ss"),
        ("Authorization: Bearer abcdefgh", "abcdefgh"),
        ("authorization='Digest xyzxyz'", "xyzxyz"),
        ("bearer abcdefgh.ijk", "abcdefgh"),
        ("https://a.test/f.mp4?expires=1&signature=c0ffee", "c0ffee"),
        ("https://a.test/f?X-Amz-Signature=c0ffee&n=1", "c0ffee"),
        (f"https://chat.test/bot123456789:{TOKEN}/send", TOKEN),
        ("api_key: hunter2", "hunter2"),
        ("client_secret = 'a b c'", "a b c"),
        ('{"password": "with \\" quote"}', "quote"),
        ("chat_id=-1001234567", "1001234567"),
        ("user 12345: chat id: 987654", "987654"),
        ("told anna.b@example.org", "anna.b"),
        ("-----BEGIN PRIVATE KEY-----\nMIIabc\n-----END PRIVATE KEY-----", "MIIabc"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIabc", "MIIabc"),
    ],
)
def test_a_secret_is_masked_by_what_stands_before_it(text: str, secret: str) -> None:
    """URLs with passwords, headers, signed links, `name=value`, chat ids, mail, private keys."""
    assert secret not in Redaction().text(text)


@pytest.mark.parametrize(
    "text",
    [
        "place 3 in the queue",
        "attempt 2 of 5 of step 'make clip#2' at 2026-11-22T12:01:05.000Z",
        "sqlite:////var/lib/understudy/understudy.db",
        "https://a.test/v1/runs?limit=50&status=failed",
        "key-frame=3 monkey=4",
        "/problems/idempotency_key_reused",
        "run_01kafy0123456789abcdefghjk",
    ],
)
def test_what_is_not_private_stays(text: str) -> None:
    """A log that masks everything helps nobody."""
    assert Redaction().event({"event": text}) == {"event": text}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("key", "secret"),
        ("apiKey", "secret"),
        ("X-Api-Key", "secret"),
        ("refresh_token", "secret"),
        ("Set-Cookie", "secret"),
        ("signature", "secret"),
        ("chat_id", "person"),
        ("user", "person"),
        ("negative_prompt", "words"),
        ("input", "words"),
        ("step", None),
        ("key_id", None),
        ("operation", None),
        ("database", None),
        ("", None),
    ],
)
def test_a_name_says_what_its_value_is(name: str, kind: str | None) -> None:
    """Names are read word by word, in any way of writing them."""
    assert kind_of(name) == kind


def test_values_are_masked_by_their_names_at_any_depth() -> None:
    """In mappings and lists, whatever the value is; counts of tokens and absences stay."""
    event = {
        "headers": [{"Authorization": "x", "Accept": "json"}],
        "vendor": {"api_key": 1234, "input_tokens": 512, "token": None, "ok": True},
        "prompt": ["a cat", "a dog"],
        "chat_id": 42,
        "bytes": b"abc",
        "tries": (1, 2.5),
    }
    assert Redaction().event(event) == {
        "headers": [{"Authorization": MASK, "Accept": "json"}],
        "vendor": {"api_key": MASK, "input_tokens": 512, "token": None, "ok": True},
        "prompt": MASK,
        "chat_id": MASK,
        "bytes": "[3 bytes]",
        "tries": [1, 2.5],
    }


def test_customers_words_are_kept_only_when_asked_for() -> None:
    """With `prompts` they are shown; secrets and people never are."""
    event = {"prompt": "a red cat", "error": "bad: a red cat, {'prompt': 'blue'}", "user": "anna"}
    kept = {"prompt": "a red cat", "error": "bad: a red cat, {'prompt': 'blue'}", "user": MASK}
    assert Redaction(prompts=True).event(event, ("a red cat",)) == kept
    masked = {"prompt": MASK, "error": f"bad: {MASK}, {{'prompt': {MASK}}}", "user": MASK}
    assert Redaction().event(event, ("a red cat",)) == masked


def test_a_validation_error_does_not_repeat_what_it_was_given() -> None:
    """What was wrong stays, the value goes."""
    text = "size\n  Input should be a number [type=int, input_value='a red, cat', input_type=str]"
    said = Redaction().text(text)
    assert "cat" not in said
    assert "Input should be a number" in said


def test_what_is_known_to_be_secret_is_masked_wherever() -> None:
    """An operator's key may look like any word."""
    redaction = Redaction(secrets=("", "open sesame"))
    assert redaction.text("it said open sesame, twice") == f"it said {MASK}, twice"


def test_long_and_deep_values_are_cut() -> None:
    """A line has a size, whatever somebody logs; a value that cannot be shown says so."""

    class Unsayable:
        def __str__(self) -> str:
            raise ValueError

    deep: dict[str, object] = {}
    inner = deep
    for _ in range(20):
        inner["in"] = {}
        inner = inner["in"]  # type: ignore[assignment]
    said = Redaction().event(
        {"long": "ab " * 9000, "deep": deep, "odd": Unsayable(), "many": [0] * 999}
    )
    assert len(said["long"]) < 5000
    assert "[…]" in str(said["deep"])
    assert "Unsayable that cannot be shown: ValueError" in said["odd"]
    assert len(said["many"]) == 100


@given(
    secret=st.text(LETTERS, min_size=30, max_size=40),
    before=st.text(max_size=30),
    after=st.text(max_size=30),
    names=st.lists(
        st.sampled_from(["error", "url", "detail", "headers", "x"]), min_size=1, max_size=4
    ),
)
def test_our_own_key_is_never_seen(secret: str, before: str, after: str, names: list[str]) -> None:
    """At any depth, in any text around it that does not run into it."""
    value: object = f"{before} us_{secret} {after}"
    for name in names:
        value = {name: [value]}
    assert f"us_{secret}" not in str(Redaction().event({"event": "x", "detail": value}))


def test_no_text_takes_long_to_read() -> None:
    """Patterns are linear: texts made to trip them up are read at once (this test would hang)."""
    redaction = Redaction()
    for piece in ("a" * 100, "a.", "a@", "://", '"\\', "key=", "-----BEGIN ", "eyJ", "x_", "1:"):
        redaction.text(piece * (20_000 // len(piece)))
