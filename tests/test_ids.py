"""Identifiers: their order, their form, and that no two are the same."""

from __future__ import annotations

import os
import re

from understudy import ids


def test_ids_sort_by_time() -> None:
    """A later millisecond gives a later id, with the prefix in front and 26 characters after it."""
    made = [ids.ordered("run", now / 1000) for now in range(1_800_000_000_000, 1_800_000_000_100)]
    assert made == sorted(made)
    assert all(re.fullmatch("run_[0-9a-hjkmnp-tv-z]{26}", each) for each in made)


def test_ids_of_one_moment_differ() -> None:
    """The same clock gives another id each time, also of the kind that nobody can guess."""
    assert len({ids.ordered("run", 1.0) for _ in range(1000)}) == 1000
    assert len({ids.random("art") for _ in range(1000)}) == 1000


def test_a_forked_process_draws_its_own_ids() -> None:
    """A child does not go on where its parent was: both would make the same ids."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, ids.ordered("run", 1.0).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 100).decode() != ids.ordered("run", 1.0)
