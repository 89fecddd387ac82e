"""`/problems/{code}`: what a problem's `type` leads to."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from understudy.errors import NotFound
from understudy.web.api.answers import refused
from understudy.web.problem import PROBLEMS, Kind
from understudy.wire import ProblemKind, ProblemKinds

router = APIRouter(prefix="/problems", tags=["problems"])


@router.get("")
async def listing() -> ProblemKinds:
    """List every problem that this server gives."""
    return ProblemKinds(items=[_said(kind) for kind in PROBLEMS.values()])


@router.get("/{code}", responses=refused("not_found"))
async def show(
    code: Annotated[str, Path(max_length=100, examples=["idempotency_key_reused"])],
) -> ProblemKind:
    """Explain one problem."""
    if code not in PROBLEMS:
        raise NotFound(f"no problem has the code {code!r}")
    return _said(PROBLEMS[code])


def _said(kind: Kind) -> ProblemKind:
    return ProblemKind(
        type=kind.type,
        code=kind.code,
        title=kind.title,
        status=kind.status,
        category=kind.category,
        retriable=kind.retriable,
        meaning=kind.meaning,
    )
