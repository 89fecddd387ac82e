"""Operations in a file of their own, as a user would `--load` them."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from pydantic import BaseModel

from understudy import ArtifactId, Artifacts, Context, Permanent, operation


class Count(BaseModel):
    """`log` gets a line for each step that runs; `signal` comes to the process at step `at`."""

    n: int
    log: Path | None = None
    signal: int = 0
    at: int = 0


class Counted(BaseModel):
    """The sum."""

    total: int


@operation("count")
async def count(ctx: Context, input: Count) -> Counted:
    """Add up the numbers below n, one durable step each."""

    async def add(number: int) -> int:
        first = input.log is None or f"{number}\n" not in read(input.log)
        if input.log is not None:
            with input.log.open("a") as log:
                log.write(f"{number}\n")
        if input.signal and number == input.at and first:
            os.kill(os.getpid(), input.signal)
            await asyncio.Event().wait()
        return number

    total = 0
    for number in range(input.n):
        total += await ctx.step("add", add, number)
    return Counted(total=total)


def read(path: Path) -> str:
    """A file's text; nothing when there is none."""
    return path.read_text() if path.exists() else ""


class Question(BaseModel):
    """Nothing to say."""


class Answer(BaseModel):
    """What was answered."""

    text: str


@operation("ask")
async def ask(ctx: Context, input: Question) -> Answer:
    """Wait for somebody's answer."""
    return Answer(text=(await ctx.wait("answer"))["text"])


class Gate(BaseModel):
    """A file that must exist."""

    path: Path


class Passed(BaseModel):
    """How often the first step ran."""

    firsts: int


@operation("gate")
async def gate(ctx: Context, input: Gate) -> Passed:
    """Fail until the file is there."""

    def look() -> int:
        if not input.path.exists():
            raise Permanent(f"\x1b[31m{input.path.name} is missing")
        return 1

    firsts = await ctx.step("first", lambda: 1)
    await ctx.step("look", look)
    return Passed(firsts=firsts)


class Doors(BaseModel):
    """Two named pipes; without the second one it never ends."""

    opened: Path
    closing: Path | None = None


@operation("stay")
async def stay(ctx: Context, input: Doors) -> Passed:
    """Say that it runs, then run until it is told to end."""

    async def inside() -> int:
        await asyncio.to_thread(input.opened.write_text, "in")
        if input.closing is None:
            await asyncio.Event().wait()
        return len(await asyncio.to_thread(read, input.closing or Path()))

    return Passed(firsts=await ctx.step("inside", inside))


class Files(BaseModel):
    """Files to copy."""

    files: list[ArtifactId]


class Copies(BaseModel):
    """The copies' ids."""

    copies: list[ArtifactId]


@operation("copy")
async def copy(ctx: Context, input: Files, *, files: Artifacts) -> Copies:
    """Copy files."""

    async def one(artifact: str) -> str:
        found = await files.get(artifact)
        return (await files.copy_in(await files.path(artifact), name=f"copy of {found.name}")).id

    return Copies(copies=await ctx.map("copy", one, input.files))
