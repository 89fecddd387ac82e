"""Templates: whole pages, and the part of a page that is fetched again while it is looked at."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

import understudy
from understudy.clock import iso
from understudy.web.dashboard import words
from understudy.web.dashboard.statics import digest

LIVE = "live"
"""The id of the element that a page fetches again."""

_environment = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters |= {
    "clock": words.clock,
    "count": words.count,
    "duration": words.duration,
    "iso": iso,
    "plural": words.plural,
    "pretty": words.pretty,
    "pretty_text": words.pretty_text,
    "size": words.size,
    "tojson_plain": words.plain,
    "tone": words.tone,
    "when": words.when,
}
_environment.globals |= {
    "assets": lambda: f"/dashboard/static/{digest()}",
    "release": understudy.__version__,
    "share": words.share,
}


def is_fragment(request: Request) -> bool:
    """Whether a script asks, for a part of a page."""
    return "hx-request" in request.headers


def render(
    request: Request,
    template: str,
    context: Mapping[str, Any],
    *,
    status: int = 200,
) -> HTMLResponse:
    """A page. One that a dialog asks for comes without its frame."""
    asked = "bare.html" if is_fragment(request) else "page.html"
    values = {"request": request, "layout": asked, "visitor": None, **context}
    return HTMLResponse(_environment.get_template(template).render(values), status)


def render_live(
    request: Request, template: str, context: Mapping[str, Any], *, every: float | None
) -> Response:
    """A page whose part `NAME_live.html` is fetched again after `every` seconds; None: never more.

    Asked for the part alone, it is given if it has changed since, and else 204.
    """
    values = {"request": request, "layout": "page.html", "visitor": None, **context}
    part = _environment.get_template(template.replace(".html", "_live.html")).render(values)
    mark = hashlib.sha256(f"{every}{part}".encode()).hexdigest()[:16]
    live = {
        "live": Markup(part),  # noqa: S704 - rendered above, with what is foreign escaped
        "mark": mark,
        "every": every,
        "address": str(request.url.replace(scheme="", netloc="").remove_query_params("seen")),
    }
    if request.headers.get("hx-target") != LIVE:
        return HTMLResponse(_environment.get_template(template).render({**values, **live}))
    if request.query_params.get("seen") == mark:
        return Response(status_code=204)
    return HTMLResponse(_environment.get_template("live.html").render({**values, **live}))
