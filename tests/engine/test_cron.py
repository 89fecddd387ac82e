"""Slots of cron expressions in time zones, and what becomes of missed ones."""

from __future__ import annotations

import functools
import itertools
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.engine.cron import MOST_MISSED, Cron, due_slots

DAY = 86_400.0


def at(text: str) -> float:
    """Seconds since 1970 of a time in UTC: "2026-03-29 01:00"."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def shown(slots: list[float]) -> list[str]:
    """Slots as "03-29 01:00", in UTC."""
    return [f"{datetime.fromtimestamp(slot, UTC):%m-%d %H:%M}" for slot in slots]


# Worked out by hand. In 2026 clocks change in Berlin on 29 March and 25 October at 01:00 UTC
# (02:00 to 03:00, 03:00 to 02:00), in New York on 8 March at 07:00 UTC (02:00 to 03:00) and on
# 1 November at 06:00 UTC (02:00 to 01:00), and in Seoul (UTC+9) never.
BY_HAND = [
    (
        "Europe/Berlin",
        "30 2 * * *",
        ("2026-03-28 00:00", "2026-03-31 00:00"),
        ["03-28 01:30", "03-29 01:00", "03-30 00:30"],
    ),
    (
        "Europe/Berlin",
        "0,30 2,3 * * *",
        ("2026-03-28 12:00", "2026-03-29 12:00"),
        ["03-29 01:00", "03-29 01:30"],
    ),
    (
        "Europe/Berlin",
        "*/30 2 * * *",
        ("2026-03-28 12:00", "2026-03-30 12:00"),
        ["03-30 00:00", "03-30 00:30"],
    ),
    (
        "Europe/Berlin",
        "*/30 * * * *",
        ("2026-03-29 00:00", "2026-03-29 02:00"),
        ["03-29 00:30", "03-29 01:00", "03-29 01:30", "03-29 02:00"],
    ),
    (
        "Europe/Berlin",
        "30 2 * * *",
        ("2026-10-24 12:00", "2026-10-26 12:00"),
        ["10-25 00:30", "10-26 01:30"],
    ),
    ("Europe/Berlin", "30 2 * * *", ("2026-10-25 01:10", "2026-10-26 12:00"), ["10-26 01:30"]),
    (
        "Europe/Berlin",
        "*/30 2 * * *",
        ("2026-10-24 12:00", "2026-10-25 12:00"),
        ["10-25 00:00", "10-25 00:30", "10-25 01:00", "10-25 01:30"],
    ),
    ("Europe/Berlin", "0 3 * * *", ("2026-10-25 00:00", "2026-10-25 12:00"), ["10-25 02:00"]),
    ("Europe/Berlin", "0 0 29 2 *", ("2026-01-01 00:00", "2029-01-01 00:00"), ["02-28 23:00"]),
    (
        "America/New_York",
        "30 2 * * *",
        ("2026-03-08 00:00", "2026-03-09 12:00"),
        ["03-08 07:00", "03-09 06:30"],
    ),
    (
        "America/New_York",
        "30 1 * * *",
        ("2026-11-01 00:00", "2026-11-02 12:00"),
        ["11-01 05:30", "11-02 06:30"],
    ),
    (
        "America/New_York",
        "15 * * * *",
        ("2026-11-01 05:00", "2026-11-01 08:00"),
        ["11-01 05:15", "11-01 06:15", "11-01 07:15"],
    ),
    (
        "America/New_York",
        "0 9 * * MON-FRI",
        ("2026-10-30 00:00", "2026-11-03 00:00"),
        ["10-30 13:00", "11-02 14:00"],
    ),
    (
        "Asia/Seoul",
        "30 8 1 * *",
        ("2026-03-01 00:00", "2026-05-01 00:00"),
        ["03-31 23:30", "04-30 23:30"],
    ),
    (
        "Asia/Seoul",
        "*/20 0 L 2 *",
        ("2026-01-01 00:00", "2027-01-01 00:00"),
        ["02-27 15:00", "02-27 15:20", "02-27 15:40"],
    ),
    (
        "Australia/Lord_Howe",  # by half an hour: 02:00 to 01:30 on 5 April
        "*/15 1 * * *",
        ("2026-04-04 12:00", "2026-04-05 12:00"),
        ["04-04 14:00", "04-04 14:15", "04-04 14:30", "04-04 14:45", "04-04 15:00", "04-04 15:15"],
    ),
]


@pytest.mark.parametrize(("zone", "expression", "span", "slots"), BY_HAND)
def test_slots_are_those_worked_out_by_hand(
    zone: str, expression: str, span: tuple[str, str], slots: list[str]
) -> None:
    """Skipped hours, doubled hours, and days without either, in three zones and a strange one."""
    after, until = map(at, span)
    assert shown(Cron(expression, zone).slots(after, until, 100)) == slots


def test_a_clock_put_back_at_a_quarter_to_four_stops_nobody() -> None:
    """On Chatham, 3:00 to 3:44 are shown twice, and 3:45 to 3:59 once; all of them are slots."""
    cron = Cron("* 3 * * *", "Pacific/Chatham")
    slots = cron.slots(at("2026-04-04 12:00"), at("2026-04-05 12:00"), 1000)
    assert len(slots) == 60 + 45
    assert shown([slots[0], slots[44], slots[45], slots[-1]]) == [
        "04-04 13:15",
        "04-04 13:59",
        "04-04 14:15",
        "04-04 15:14",
    ]


ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Seoul",
    "America/Havana",  # changes at midnight and at one
    "Africa/Cairo",
    "Australia/Lord_Howe",  # half an hour
    "Pacific/Chatham",  # at a quarter to three and to four
    "Africa/Casablanca",  # four changes a year
]


@functools.cache
def changes(zone: str) -> list[int]:
    """When the clocks of a zone changed in 2024 and 2025; midnight if they never did."""
    start = int(at("2024-01-01 00:00"))
    looks = range(start, int(at("2026-01-01 00:00")), 900)
    offset = [datetime.fromtimestamp(look, ZoneInfo(zone)).utcoffset() for look in looks]
    moved = [b for (b, x, y) in zip(looks[1:], offset, offset[1:], strict=False) if x != y]
    return moved or [start]


@st.composite
def moments(draw: st.DrawFn) -> tuple[str, int]:
    """A zone, and a second at most a day and a half away from a change of its clocks."""
    zone = draw(st.sampled_from(ZONES))
    return zone, draw(st.sampled_from(changes(zone))) + draw(st.integers(-130_000, 130_000))


MINUTES = st.sampled_from(["*", "*/7", "*/30", "0", "30", "45", "0,30", "10-20"])
HOURS = st.sampled_from(["*", "*/2", "*/5", "0", "1", "2", "3", "1-3", "0,2,23"])
DAYS = st.sampled_from(["* * *", "* * *", "*/2 * *", "* * SUN", "29-31 3,10 *", "1 * MON", "L * *"])
EXPRESSIONS = st.builds(lambda *fields: " ".join(fields), MINUTES, HOURS, DAYS)


def looked_up(cron: Cron, after: int, until: int) -> list[float]:
    """The slots in (after, until], found by looking at the wall in every minute."""
    fields = CronSim(cron.expression, datetime(2000, 1, 1, tzinfo=UTC))
    zone = ZoneInfo(cron.timezone)

    def due(wall: datetime) -> bool:
        fits = wall.minute in fields.minutes and wall.hour in fields.hours
        return fits and wall.month in fields.months and fields.match_day(wall.date())

    def wall_at(second: int) -> datetime:
        return datetime.fromtimestamp(second, zone).replace(tzinfo=None)

    start = (after // 60 + 1) * 60
    minutes = range(start, until + 1, 60)
    if any(field.startswith("*") for field in cron.expression.split()[:2]):
        return [float(minute) for minute in minutes if due(wall_at(minute))]
    # Once: whatever the wall has come to show, or jumped over, for the first time.
    found = []
    latest = max(wall_at(second) for second in range(start - 10_800, start, 60))
    for minute in minutes:
        wall = wall_at(minute)
        passed = []
        while latest < wall:
            latest += timedelta(minutes=1)
            passed.append(latest)
        if any(map(due, passed)):
            found.append(float(minute))
    return found


@settings(max_examples=150, deadline=None)
@given(expression=EXPRESSIONS, moment=moments(), span=st.integers(0, 200_000))
def test_slots_are_those_seen_on_the_wall(
    expression: str, moment: tuple[str, int], span: int
) -> None:
    """Near a change of clocks, a look at every minute finds the same slots."""
    zone, after = moment
    cron = Cron(expression, zone)
    assert cron.slots(after, after + span, 10_000) == looked_up(cron, after, after + span)


@settings(max_examples=150, deadline=None)
@given(expression=EXPRESSIONS, moment=moments(), part=st.floats(0, 0.999))
def test_the_next_slot_is_later(expression: str, moment: tuple[str, int], part: float) -> None:
    """Later than any time, whole or not; and nothing lies between: asked just before, the same."""
    zone, second = moment
    cron = Cron(expression, zone)
    slot = cron.next_after(second + part)
    assert slot > second + part
    assert cron.next_after(slot - 0.5) == slot == cron.next_after((second + slot) // 2)


@settings(max_examples=100, deadline=None)
@given(
    expression=EXPRESSIONS,
    moment=moments(),
    span=st.integers(0, 500_000),
    limit=st.integers(0, 50),
)
def test_slots_are_one_next_after_the_other(
    expression: str, moment: tuple[str, int], span: int, limit: int
) -> None:
    """Strictly later each, up to the end of the span or the limit."""
    zone, after = moment
    cron = Cron(expression, zone)
    slots = cron.slots(after, after + span, limit)
    expected: list[float] = []
    slot = cron.next_after(after)
    while slot <= after + span and len(expected) < limit:
        expected.append(slot)
        slot = cron.next_after(slot)
    assert slots == expected
    assert all(a < b for a, b in itertools.pairwise([after, *slots]))


def test_a_span_leaves_out_its_start_and_takes_in_its_end() -> None:
    """So that spans side by side hold each slot once."""
    cron = Cron("0 * * * *")
    first, second = at("2026-01-01 01:00"), at("2026-01-01 02:00")
    assert cron.slots(first, second, 9) == [second]
    assert cron.slots(first, second - 1, 9) == []
    assert cron.slots(second, first, 9) == []


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "* * * *",
        "* * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "x * * * *",
        "*/0 * * * *",
        "@daily",
    ],
)
def test_an_expression_that_is_none_is_refused(expression: str) -> None:
    """With one that is right as an example; seconds, a sixth field, are not offered."""
    with pytest.raises(ValueError, match=r"right is, for example, '30 7 \* \* MON-FRI'"):
        Cron(expression)


@given(st.text("0123456789*/-,#LW aMON", max_size=12).map(lambda text: f"0 0 {text}"))
def test_any_text_is_an_expression_or_refused(expression: str) -> None:
    """Never another error, and an accepted one has a next slot."""
    try:
        cron = Cron(expression)
    except ValueError:
        return
    assert cron.next_after(1_800_000_000) > 1_800_000_000


@pytest.mark.parametrize("expression", ["0 0 */31 * 1#5", "0 0 30 2 *"])
def test_a_time_that_never_comes_is_refused(expression: str) -> None:
    """At once, instead of a search without an end later."""
    with pytest.raises(ValueError, match=r"never comes|bad day-of-month"):
        Cron(expression)


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "../etc/passwd", "/etc/passwd", "Europe"])
def test_an_unknown_zone_is_refused(zone: str) -> None:
    """With one that is right as an example."""
    with pytest.raises(ValueError, match="for example, 'Europe/Berlin'"):
        Cron("0 0 * * *", zone)


def test_an_unknown_policy_is_refused() -> None:
    """With those that there are."""
    policy: Any = "some"
    with pytest.raises(ValueError, match="skip, latest, all"):
        Cron("0 0 * * *", missed=policy)


NOON = at("2026-06-01 12:00")


@pytest.mark.parametrize("missed", ["skip", "latest", "all"])
def test_a_slot_that_is_on_time_starts_under_every_policy(missed: Any) -> None:
    """A slot is due when it comes or a moment later; not before it, and not a second time."""
    cron = Cron("0 12 * * *", missed=missed)
    assert due_slots(cron, NOON - 5, NOON - 1) == []
    assert due_slots(cron, NOON - 5, NOON) == [NOON]
    assert due_slots(cron, NOON - 5, NOON + 50) == [NOON]
    assert due_slots(cron, NOON, NOON + 50) == []
    assert due_slots(cron, NOON + 50, NOON - 5) == []


def test_missed_slots_are_skipped_made_up_once_or_all() -> None:
    """As the policy says, after ten and a half days down."""
    last, now = NOON - 10.5 * DAY, NOON + 3_600
    every = [NOON - day * DAY for day in range(10, -1, -1)]
    assert due_slots(Cron("0 12 * * *", missed="skip"), last, now) == []
    assert due_slots(Cron("0 12 * * *", missed="latest"), last, now) == every[-1:]
    assert due_slots(Cron("0 12 * * *", missed="all"), last, now) == every


def test_of_too_many_missed_slots_the_newest_are_made_up() -> None:
    """A hundred days of minutes are not started all at once; one slot fewer than the cap are."""
    cron = Cron("* * * * *", "Europe/Berlin", missed="all")
    due = due_slots(cron, NOON - 100 * DAY, NOON)
    assert due == [NOON - 60 * n for n in range(MOST_MISSED - 1, -1, -1)]
    for count in (MOST_MISSED - 1, MOST_MISSED, MOST_MISSED + 1):
        due = due_slots(cron, NOON - 60 * count, NOON)
        assert len(due) == min(count, MOST_MISSED)
        assert due[-1] == NOON


@settings(max_examples=60, deadline=None)
@given(expression=EXPRESSIONS, moment=moments(), span=st.floats(0, 300_000))
def test_the_latest_is_the_last_of_all(
    expression: str, moment: tuple[str, int], span: float
) -> None:
    """Also over a change of clocks."""
    zone, last = moment
    slots = Cron(expression, zone).slots(last, last + span, 100_000)
    assert due_slots(Cron(expression, zone, "latest"), last, last + span) == slots[-1:]
    assert due_slots(Cron(expression, zone, "all"), last, last + span) == slots[-MOST_MISSED:]
