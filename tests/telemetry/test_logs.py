"""Log lines: what they say, how they look, and where they go."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog

from understudy.clock import ManualClock
from understudy.errors import StorageFull
from understudy.telemetry.about import STEP, About, about, note
from understudy.telemetry.kept import Kept
from understudy.telemetry.logs import Form, Logs, _Bridge, as_text, logging_as

RUN = "run_" + "0" * 26
AT = "2027-01-15T08:00:00.000Z"


class Stream(io.StringIO):
    """What a line is written to, which may be a terminal."""

    terminal = False

    def isatty(self) -> bool:
        return self.terminal

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]


@contextmanager
def written(form: Form = "json", **how: Any) -> Iterator[Stream]:
    """Logs in a form, on a stream."""
    stream = Stream()
    with logging_as(Logs(ManualClock(), form=form, stream=stream, **how)):
        yield stream


def a_run() -> AbstractContextManager[None]:
    """Inside, a run of somebody's is at hand."""
    facts = {"run": RUN, "operation": "draw", "tenant": "acme", "plan": "embedded"}
    return about(About(facts, '{"prompt": ["a red cat on a mat"], "n": 2}', "customer-7"))


def test_a_line_says_when_what_and_about_which_run() -> None:
    """Time, level, event, run and step come first, in one JSON object a line."""
    with written() as stream, a_run():
        STEP.set("make#1")
        structlog.get_logger("maker").info("made", seconds=1.5)
        STEP.set(None)
        note("run_ended", status="succeeded")
    first, second = stream.lines
    assert list(first) == [
        *("timestamp", "level", "event", "run", "step"),
        *("operation", "tenant", "plan", "seconds", "logger"),
    ]
    assert (first["timestamp"], first["level"], first["step"]) == (AT, "info", "make#1")
    assert (first["seconds"], first["logger"]) == (1.5, "maker")
    assert "step" not in second


def test_what_the_customer_gave_is_masked_in_any_line_of_his_run() -> None:
    """His words and his id, also when a library or an error repeats them."""
    with written() as stream, a_run():
        logging.getLogger("vendor").warning("refused: %s", "'a red cat on a mat' is too red")
        structlog.get_logger().info("for customer-7", vendor={"reason": "customer-7 has no money"})
    assert "red cat" not in stream.getvalue()
    assert "customer-7" not in stream.getvalue()
    assert "refused: '[redacted]' is too red" in stream.getvalue()


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ('it\'s a "red" cat', repr('it\'s a "red" cat')),
        ("a red\ncat on a mat", json.dumps("a red\ncat on a mat")),
        ("ein rotes Kätzchen", json.dumps("ein rotes Kätzchen")),
        ("the first line\nthe second one", "near 'the second one'"),
        (
            "a red cat that sits on a mat and looks at you",
            "bad: 'a red cat that sits on a mat an...'",
        ),
    ],
)
def test_it_is_masked_however_it_is_quoted(text: str, quoted: str) -> None:
    """Escaped by Python or as JSON, line by line, or cut off where somebody lost patience."""
    what = About({}, json.dumps({"prompt": text}))
    with written() as stream, about(what):
        structlog.get_logger().info(quoted)
    (line,) = stream.lines
    assert "[redacted]" in line["event"]
    for word in ("red", "cat", "Kätzchen", "second"):
        assert word not in line["event"].replace("[redacted]", "")


def test_what_the_house_says_of_a_run_stays() -> None:
    """An input that happens to hold an operation's name or a level does not hide them."""
    what = About({"run": RUN, "operation": "portrait"}, '["portrait", "critical"]')
    with written() as stream, about(what):
        structlog.get_logger().critical("a portrait")
    (line,) = stream.lines
    assert (line["operation"], line["level"]) == ("portrait", "critical")
    assert line["event"] == "a [redacted]"


def test_outside_of_a_run_nothing_is_bound() -> None:
    """A block ends with what it has bound; runs beside each other do not mix."""
    with written() as stream:
        with a_run():
            pass
        structlog.get_logger().warning("quiet")
    assert list(stream.lines[0]) == ["timestamp", "level", "event"]


def test_notes_are_for_those_who_log() -> None:
    """A library that is only imported prints nothing of its runs."""
    with structlog.testing.capture_logs() as heard:
        note("run_ended")
    assert heard == []


def test_an_expected_error_is_a_line_and_a_fault_is_a_traceback() -> None:
    """The traceback shows code; values of variables could be somebody's."""
    with written() as stream:
        word = "a red cat"
        try:
            int(str(len(word)) + "nine")
        except ValueError:
            structlog.get_logger().exception("bad")
        logging.getLogger("x").error("full", exc_info=StorageFull("no space is left"))
        structlog.get_logger().error("odd", exc_info=None)
    bad, full, odd = stream.lines
    assert bad["level"] == "error"
    assert bad["exception"].endswith("'9nine'")
    assert "a red cat" not in bad["exception"]
    assert full["error"] == "no space is left"
    assert "exception" not in full
    assert "exc_info" not in odd


def test_text_is_for_terminals() -> None:
    """`auto` looks where it goes; a line cannot forge another one, nor move the cursor."""
    stream = Stream()
    stream.terminal = True
    with logging_as(Logs(ManualClock(), stream=stream)):
        structlog.get_logger().info("it came\n\x1b[31mto", name_of="x y", of={"n": 1}, none="")
    assert stream.getvalue() == (
        f"{AT} info     it came\\n\\x1b[31mto name_of='x y' of={{\"n\": 1}} none=''\n"
    )
    stream.terminal = False
    with logging_as(Logs(ManualClock(), stream=stream)):
        structlog.get_logger().info("json")
    assert json.loads(stream.getvalue().splitlines()[-1])["event"] == "json"


def test_a_traceback_stands_below_its_line() -> None:
    """Each line of it is indented, and as harmless as the rest."""
    line = {"timestamp": AT, "level": "error", "event": "bad", "exception": "a\n  b\x1b"}
    assert as_text(line) == f"{AT} error    bad\n    a\n      b\\x1b"


def test_levels_and_libraries() -> None:
    """A command shows warnings only; libraries' chatter is not even kept."""
    with written(level="warning") as stream:
        structlog.get_logger().info("no")
        structlog.get_logger().debug("no")
        logging.getLogger("httpx").info("GET https://user:pw@vendor.test")
        (bridge,) = (one for one in logging.getLogger().handlers if isinstance(one, _Bridge))
        bridge.emit(logging.LogRecord("odd", 30, "", 0, "%d", ("no number",), None))
    assert [line["event"] for line in stream.lines] == ["%d"]


def test_a_stream_that_fails_stops_no_work() -> None:
    """A closed stderr or an odd value loses the line, not the run."""
    stream = Stream()
    stream.close()
    with logging_as(Logs(ManualClock(), form="json", stream=stream)):
        structlog.get_logger().error("lost")


@pytest.fixture
def clock() -> ManualClock:
    """The first day is 2027-01-15."""
    return ManualClock()


def test_lines_are_kept_by_day_and_found_by_run(tmp_path: Path, clock: ManualClock) -> None:
    """Everything from `info` on, whatever the terminal shows; only its owner may read it."""
    folder = tmp_path / "logs"
    kept = Kept(folder, clock, days=2)
    with written(level="error", kept=kept), a_run():
        note("first")
        clock.advance(86_400)
        note("second")
    assert [line["event"] for line in kept.of_run(RUN)] == ["first", "second"]
    before = clock.now() - 86_400
    assert [line["event"] for line in kept.of_run(RUN, until=before)] == ["first"]
    assert [line["event"] for line in kept.of_run(RUN, since=clock.now())] == ["second"]
    assert list(kept.of_run("run_" + "1" * 26)) == []
    days = sorted(folder.iterdir())
    assert [day.name for day in days] == ["2027-01-15.jsonl", "2027-01-16.jsonl"]
    assert {day.stat().st_mode & 0o777 for day in days} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700
    clock.advance(86_400)
    kept.write({"event": "third"})
    kept.close()
    assert [day.stem for day in sorted(folder.iterdir())] == ["2027-01-16", "2027-01-17"]


def test_a_full_day_a_torn_line_and_a_missing_folder(tmp_path: Path, clock: ManualClock) -> None:
    """The files are bounded, and whatever lies in them is read as far as it can be."""
    kept = Kept(tmp_path / "logs", clock, megabytes=0.0005)
    assert list(kept.of_run(RUN)) == []
    for number in range(100):
        kept.write({"run": RUN, "n": number})
    kept.write({"run": RUN, "long": "x" * 100_000})
    kept.close()
    kept.close()
    (day,) = (tmp_path / "logs").iterdir()
    assert day.stat().st_size <= 500
    with day.open("a") as file:
        file.write(f'{{"run": "{RUN}", "torn\n"{RUN}"\n')
    assert [line["n"] for line in kept.of_run(RUN)] == list(range(len(list(kept.of_run(RUN)))))


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path: Path, clock: ManualClock) -> None:
    """A log is worth less than the work that it tells of."""
    (tmp_path / "logs").write_text("a file")
    Kept(tmp_path / "logs", clock).write({"event": "lost"})
