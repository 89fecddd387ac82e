"""However a command ends: one clear line, the right exit code, never a traceback."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import typer

from understudy.cli.session import Session, finish
from understudy.errors import ConfigError, InputError


def ending(work: Callable[[], Awaitable[None]], *, as_json: bool = False) -> int:
    """The exit code with which the work ends."""
    try:
        finish(work, as_json=as_json)
    except typer.Exit as left:
        return left.exit_code
    return 0


def raising(error: BaseException) -> Callable[[], Awaitable[None]]:
    """Work that fails."""

    async def work() -> None:
        raise error

    return work


def test_success_is_zero_and_silent(capsys: pytest.CaptureFixture[str]) -> None:
    """Work that returns has already said what there is to say."""

    async def work() -> None:
        await asyncio.sleep(0)

    assert ending(work) == 0
    assert capsys.readouterr() == ("", "")


def test_an_error_is_one_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """The message of a typed error, neutralised, and nothing else."""
    assert ending(raising(InputError("\x1b[31mcat.gif: still photos only"))) == 1
    assert capsys.readouterr() == ("", "error: \\x1b[31mcat.gif: still photos only\n")


def test_an_error_with_json_is_a_document_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    """A script reads code, category and message, and needs no other stream."""
    assert ending(raising(InputError("too large")), as_json=True) == 1
    out, err = capsys.readouterr()
    assert json.loads(out) == {
        "error": {"code": "input", "category": "input", "message": "too large"}
    }
    assert err == ""


def test_a_fault_of_ours_is_told_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    """What nobody expected still ends in one line, with a code of its own."""
    assert ending(raising(KeyError("x"))) == 70
    assert capsys.readouterr().err == (
        "error: KeyError: 'x' (a fault in Understudy; please report it)\n"
    )


def test_a_command_s_own_exit_code_is_kept() -> None:
    """A command that has told its story ends as it says."""
    assert ending(raising(typer.Exit(3))) == 3


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_lets_the_work_clean_up(
    number: signal.Signals, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C and SIGTERM cancel the work, wait for its end, and show in the exit code."""
    cleaned = []

    async def work() -> None:
        os.kill(os.getpid(), number)
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append(number)

    assert ending(work) == code
    assert cleaned == [number]
    assert "once more to leave at once" in capsys.readouterr().err


def test_a_cancellation_that_nobody_asked_for_is_not_hidden() -> None:
    """Only a signal is a reason to end quietly."""
    with pytest.raises(asyncio.CancelledError):
        finish(raising(asyncio.CancelledError()), as_json=False)


def test_options_join_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--home` wins over its variable, and `--load` adds to what is loaded already."""
    monkeypatch.setenv("UNDERSTUDY_HOME", "/elsewhere")
    monkeypatch.setenv("UNDERSTUDY_LOAD", "a.py")
    settings = Session(home=tmp_path, load=(Path("b.py"), Path("c.py"))).settings()
    assert settings.home == tmp_path
    assert settings.load.split(os.pathsep) == ["a.py", "b.py", "c.py"]


def test_a_bad_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting that cannot be read says which variable to change."""
    monkeypatch.setenv("UNDERSTUDY_CORES", "many")
    with pytest.raises(ConfigError, match=r"^UNDERSTUDY_CORES: Input should be a valid integer"):
        Session().settings()


def test_a_hint_repeats_the_options_that_were_given() -> None:
    """A command to type is complete, and quoted for the shell."""
    session = Session(home=Path("my home"), load=(Path("ops.py"),))
    hint = session.command("runs", "resume", "run_1")
    assert hint == "understudy --home 'my home' --load ops.py runs resume run_1"
    assert Session().command("doctor") == "understudy doctor"
