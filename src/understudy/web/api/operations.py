"""`/v1/operations`: what can be asked for, with JSON Schemas and examples."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path

from understudy.engine.operation import Operation
from understudy.web.api.answers import refused
from understudy.web.api.runs import HOUSE
from understudy.web.auth import Reader
from understudy.web.context import TheApp
from understudy.wire import OperationList, OperationView

router = APIRouter(prefix="/v1/operations", tags=["operations"])


@router.get("")
async def listing(app: TheApp, who: Reader) -> OperationList:
    """List what can be asked for, by name; what the server asks of itself, to `admin` alone."""
    shown = [one for one in app.registry if one.name not in HOUSE or who.may("admin")]
    return OperationList(items=[viewed(operation) for operation in shown])


@router.get("/{name}", responses=refused("unknown_operation"))
async def show(
    app: TheApp,
    _who: Reader,
    name: Annotated[str, Path(max_length=200, examples=["morph"])],
) -> OperationView:
    """Look at one operation: the schemas of its input and output, and examples to start from."""
    return viewed(app.registry.get(name))


def viewed(operation: Operation[Any, Any]) -> OperationView:
    """An operation as JSON."""
    return OperationView(
        name=operation.name,
        version=operation.version,
        summary=operation.summary,
        input=operation.input.model_json_schema(),
        output=operation.output.model_json_schema(),
        examples={
            title: example.model_dump(mode="json") for title, example in operation.examples.items()
        },
    )
