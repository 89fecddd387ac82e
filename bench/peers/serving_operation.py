"""The operation whose submissions bench/serving.py measures: it ends at once."""

from __future__ import annotations

from pydantic import BaseModel

from understudy import Context, operation


class Note(BaseModel):
    """A line of text."""

    text: str


@operation("note")
async def note(ctx: Context, input: Note) -> Note:  # noqa: A002, ARG001
    """Answer what was asked."""
    return input
