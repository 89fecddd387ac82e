"""What can be asked for, and the forms that ask for it: anew, or as another run did."""

from __future__ import annotations

import dataclasses
import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import ValidationError

from understudy.engine.operation import Operation
from understudy.engine.run import Request as Asked
from understudy.errors import InputError
from understudy.web.api.runs import HOUSE
from understudy.web.dashboard import form as forms
from understudy.web.dashboard.form import Answer, Field
from understudy.web.dashboard.page import Page, go
from understudy.web.dashboard.previews import Preview, preview
from understudy.web.dashboard.uploads import read_form
from understudy.web.dashboard.visitor import Visit, Visitor

START = "/dashboard/start"
"""Where the forms go; bodies may be as large as an upload there."""

_SENT_ONCE = "dashboard"
"""What a form asks is not compared: sent twice, it is one run."""

router = APIRouter(route_class=Page, include_in_schema=False)


@router.get("/dashboard/operations")
async def operations(visit: Visit) -> Response:
    """All that this server can do."""
    shown = [one for one in visit.app.registry if one.name not in HOUSE or visit.may("admin")]
    return await visit.show("operations.html", operations=shown)


@router.get("/dashboard/operations/{name}")
async def operation(visit: Visit, name: str, example: str = "") -> Response:
    """The form of an operation, empty or with one of its examples."""
    wanted = _wanted(visit, name)
    fields = forms.fields_of(wanted.input.model_json_schema())
    if example in wanted.examples:
        given = wanted.examples[example].model_dump(mode="json")
        fields = _without_files(forms.filled(fields, given))
    return await _ask(visit, wanted, fields)


@router.get("/dashboard/runs/{run_id}/replay")
async def replay(visit: Visit, run_id: str) -> Response:
    """The form of a run's operation, with its input to be edited."""
    run = await visit.app.engine.get(run_id, visit.tenant)
    wanted = _wanted(visit, run.operation)
    fields = forms.fields_of(wanted.input.model_json_schema())
    given = forms.filled(fields, json.loads(run.input))
    return await _ask(visit, wanted, given, of=run_id, user=run.user or "")


@router.post(START)
async def start(
    visit: Visit,
    request: Request,
    name: Annotated[str, Query(alias="operation")],
    of: str = "",
) -> Response:
    """Store the files, check the answers, and start the run; or ask again, as it was answered."""
    if of:  # what is replayed is what that run did, whatever the address says besides
        name = (await visit.app.engine.get(of, visit.tenant)).operation
    wanted = _wanted(visit, name)
    fields = forms.fields_of(wanted.input.model_json_schema())
    most = int(visit.app.settings.upload_mb * 1e6)
    sent = await read_form(request, visit.files, most, lambda csrf: visit.check("submit", csrf))
    data, faults, others = _read(wanted, fields, sent.answer)
    if not faults and not others:
        try:
            run_id = await _started(visit, wanted, data, sent.own, of)
        except InputError as error:
            others = [error.message]
        else:
            await visit.note("run.replay" if of else "run.start", run_id, _told(of))
            return go(request, f"/dashboard/runs/{run_id}")
    again = forms.with_faults(forms.answered(fields, sent.answer), faults)
    user = sent.own.get("user", "")
    return await _ask(visit, wanted, again, of=of, user=user, others=others, status=422)


def _wanted(visit: Visitor, name: str) -> Operation[Any, Any]:
    """The operation, for who may ask for it: the house's own take more, as they do at the API."""
    visit.principal.require("admin" if name in HOUSE else "submit")
    return visit.app.registry.get(name)


async def _started(
    visit: Visitor, wanted: Operation[Any, Any], data: Any, own: Mapping[str, str], of: str
) -> str:
    """The id of the run that the form is for: the first one of it, if it was sent before."""
    asked = Asked(f"dashboard-{(own.get('once') or secrets.token_hex(16))[:64]}", _SENT_ONCE)
    engine = visit.app.engine
    if of:
        return (await engine.replay(of, visit.tenant, data, asked)).run.id
    user = own.get("user", "").strip()[:200] or None
    made = await engine.accept(wanted.name, data, tenant=visit.tenant, request=asked, user=user)
    return made.run.id


def _read(
    wanted: Operation[Any, Any], fields: Sequence[Field], answer: Answer
) -> tuple[Any, dict[str, str], list[str]]:
    """The input, what is wrong with which field, and what is wrong besides."""
    data, faults = forms.read(fields, answer)
    if faults:
        return data, faults, []
    if not isinstance(data, Mapping):
        return data, {}, ["the input is to be a JSON object"]
    try:
        wanted.input.model_validate(data)
    except ValidationError as error:
        return data, *forms.faults_of(error, fields)
    return data, {}, []


async def _ask(
    visit: Visitor,
    wanted: Operation[Any, Any],
    fields: Sequence[Field],
    *,
    status: int = 200,
    **more: Any,
) -> Response:
    kept = {
        field.name: [await _file(visit, name) for name in field.value]
        for field in fields
        if field.kind in {"file", "files"}
    }
    values = {"of": "", "user": "", "others": (), **more}
    return await visit.show(
        "operation.html",
        status=status,
        operation=wanted,
        fields=fields,
        kept=kept,
        once=secrets.token_hex(16),
        start=START,
        **values,
    )


async def _file(visit: Visitor, artifact_id: str) -> Preview:
    return await preview(visit.files, artifact_id)


def _without_files(fields: Sequence[Field]) -> list[Field]:
    """An example's files are nobody's."""
    return [
        dataclasses.replace(field, value=()) if field.kind in {"file", "files"} else field
        for field in fields
    ]


def _told(of: str) -> str:
    return f"edited and replayed from {of}" if of else ""
