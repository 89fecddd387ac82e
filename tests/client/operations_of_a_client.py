"""Operations that the client's tests ask for."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from understudy import ArtifactId, Artifacts, Context, Permanent, operation


class Words(BaseModel):
    """A text."""

    text: str = ""


class Number(BaseModel):
    """How many."""

    n: int


class Gate(BaseModel):
    """A path that must exist."""

    path: Path


class Files(BaseModel):
    """Files to copy."""

    files: list[ArtifactId]


class Copies(BaseModel):
    """Their copies."""

    copies: list[ArtifactId]


@operation("shout")
async def shout(ctx: Context, input: Words) -> Words:
    """Say it loudly."""

    async def louder() -> str:
        return input.text.upper()

    return Words(text=await ctx.step("shout", louder))


@operation("many")
async def many(ctx: Context, input: Number) -> Number:
    """Take so many steps."""

    async def one() -> int:
        return 1

    return Number(n=sum([await ctx.step("one", one) for _ in range(input.n)]))


@operation("ask")
async def ask(ctx: Context, input: Words) -> Words:
    """Wait for somebody's answer."""
    return Words(text=(await ctx.wait("answer"))["text"])


@operation("pass")
async def through(ctx: Context, input: Gate) -> Words:
    """Fail until the path is there."""

    def look() -> str:
        if not input.path.exists():
            raise Permanent(f"{input.path.name} is missing")
        return input.path.name

    return Words(text=await ctx.step("look", look))


@operation("copy")
async def copy(ctx: Context, input: Files, *, files: Artifacts) -> Copies:
    """Copy files."""

    async def one(artifact: str) -> str:
        found = await files.get(artifact)
        return (await files.copy_in(await files.path(artifact), name=f"copy of {found.name}")).id

    return Copies(copies=await ctx.map("copy", one, input.files))
