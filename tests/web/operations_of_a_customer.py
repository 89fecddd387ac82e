"""Operations that the web tests ask for."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from understudy import Context, Permanent, operation


class Words(BaseModel):
    """A text, and how often."""

    model_config = ConfigDict(extra="forbid")

    text: str = "hello"
    times: int = Field(default=1, ge=0, le=5)


class Said(BaseModel):
    """The text, that often."""

    text: str


@operation("echo", examples={"twice": Words(text="hi", times=2)})
async def echo(ctx: Context, input: Words) -> Said:
    """Say it again, one step each."""

    async def say(number: int) -> str:
        return f"{input.text}{number}"

    return Said(text=" ".join([await ctx.step("say", say, n) for n in range(input.times)]))


@operation("ask")
async def ask(ctx: Context, input: Words) -> Said:
    """Wait for somebody's answer."""
    return Said(text=(await ctx.wait("answer"))["text"])


@operation("fail")
async def fail(ctx: Context, input: Words) -> Said:
    """Fail at once."""

    async def refuse() -> str:
        raise Permanent(f"no {input.text}")

    return Said(text=await ctx.step("refuse", refuse))
