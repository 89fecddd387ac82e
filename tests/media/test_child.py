from __future__ import annotations

from pathlib import Path

import pytest

from understudy.errors import MediaError, StorageFull
from understudy.media.child import Child

OPEN = Path("/proc/self/fd")


def test_success_says_nothing(tool):
    """A child that reads all and ends with 0 is a success."""
    child = Child(tool("exec cat"), [], doing="testing")
    child.write(b"x" * 3_000_000)
    child.finish()


def test_failure_carries_the_last_words(tool):
    """The error names what was done, the exit code and what the tool said last."""
    child = Child(tool("echo first >&2; echo the reason >&2; exit 7"), [], doing="making tea")
    with pytest.raises(MediaError, match=r"(?s)making tea: ffmpeg ended with 7: first.the reason"):
        child.finish()


def test_a_silent_failure(tool):
    """A tool that fails without a word still gives a whole sentence."""
    with pytest.raises(MediaError, match="ended with 1: no explanation"):
        Child(tool("exit 1"), [], doing="testing").finish()


@pytest.mark.parametrize("script", ["exit 228", "echo 'x: No space left on device' >&2; exit 1"])
def test_a_full_disk_is_told_apart(tool, script):
    """Both ways in which ffmpeg reports a full disk become StorageFull."""
    with pytest.raises(StorageFull, match="testing: no space"):
        Child(tool(script), [], doing="testing").finish()


def test_a_talkative_tool_cannot_block_or_fill_memory(tool):
    """Megabytes of complaints are read and forgotten but for the last lines."""
    child = Child(tool("yes complaint | head -c 3000000 >&2; exit 1"), [], doing="testing")
    with pytest.raises(MediaError) as caught:
        child.finish()
    assert len(caught.value.message) < 1_000
    child = Child(tool("head -c 3000000 /dev/zero >&2; exit 1"), [], doing="testing")
    with pytest.raises(MediaError) as caught:
        child.finish()
    assert len(caught.value.message) < 50_000


@pytest.mark.parametrize(("script", "reason"), [("exit 3", "ended with 3"), ("exit 0", "read all")])
def test_a_tool_that_stops_listening(tool, script, reason):
    """Writing to a child that has gone raises its own error, or says that it left early."""
    child = Child(tool(script), [], doing="testing")
    with pytest.raises(MediaError, match=reason):
        child.write(b"x" * 10_000_000)
    child.kill()


def test_kill_ends_it_at_once(tool):
    """A killed child is gone and waited for, and its pipes are closed."""
    before = len(list(OPEN.iterdir()))
    child = Child(tool("exec sleep 1000"), [], doing="testing")
    child.kill()
    assert child._process.returncode == -9
    assert len(list(OPEN.iterdir())) == before
    child.kill()


def test_a_missing_tool():
    """A path where no tool is becomes our error, with the path in it."""
    with pytest.raises(MediaError, match=r"could not be started.*/nowhere"):
        Child(Path("/nowhere/ffmpeg"), [], doing="testing")
