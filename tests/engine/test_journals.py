"""The journal keeps the shipped contract."""

from __future__ import annotations

from understudy.testing.conformance.journal import JournalContract


class TestJournals(JournalContract):
    """The contract, over the `journal` fixture: in each database."""
