"""Both journals keep the shipped contract."""

from __future__ import annotations

from understudy.testing.conformance.journal import JournalContract


class TestJournals(JournalContract):
    """The contract, over the `journal` fixture: in memory and in SQLite."""
