"""What went wrong, as the errors of the house: from a problem's `code`, or from what is there."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import cast, get_args

import httpx
from pydantic import ValidationError

from understudy import errors
from understudy.client.effects import Reply
from understudy.errors import Category, Error, Unreachable
from understudy.wire import ErrorView, ProblemView, RunView

_OTHER_WORDS = 200  # characters of an answer that is no problem+json


class RunFailed(Error):
    """The run did not succeed: it failed, or it was canceled. `run` is its last view."""

    code = "run_failed"
    retriable = False

    def __init__(self, run: RunView) -> None:
        failure = run.error or ErrorView(
            code="canceled", category="input", message="it was canceled", type="Canceled"
        )
        step = f" in step {failure.step}" if failure.step else ""
        super().__init__(f"{run.id} {run.status}{step}: {failure.message}")
        if failure.category in get_args(Category):
            self.category = cast("Category", failure.category)
        self.run = run


class Refused(Exception):
    """The server's own words, as the cause of the error that they became."""

    def __init__(self, problem: ProblemView) -> None:
        super().__init__(problem.detail)
        self.problem = problem


def problem_of(error: BaseException) -> ProblemView | None:
    """What the server said, with the faults of the body by their JSON pointers; None if nothing."""
    cause = error.__cause__
    return cause.problem if isinstance(cause, Refused) else None


def failure_of(reply: Reply, now: float) -> Error:
    """The error that a refusal means. An unknown code becomes the error of its status."""
    problem = _problem(reply)
    if problem is None:
        words = reply.content[:_OTHER_WORDS].decode(errors="replace")
        failure = _made(_kind(reply.status), f"the server answered {reply.status}: {words}")
    else:
        failure = _made(_KINDS.get(problem.code) or _kind(reply.status), problem.detail, problem)
        failure.__cause__ = Refused(problem)
        for fault in problem.errors:
            failure.add_note(f"{fault.pointer}: {fault.detail}")
    failure.retry_after = retry_after(reply, now)
    return failure


def unreachable(error: httpx.RequestError) -> Unreachable:
    """No answer at all."""
    failure = Unreachable(f"no answer from the server: {str(error) or type(error).__name__}")
    failure.__cause__ = error
    return failure


def retry_after(reply: Reply, now: float) -> float | None:
    """In how many seconds the server wants to be asked again; None if it does not say."""
    text = reply.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except ValueError:
        return None


def _problem(reply: Reply) -> ProblemView | None:
    try:
        return ProblemView.model_validate_json(reply.content)
    except ValidationError:
        return None


def _made(kind: type[Error], message: str, problem: ProblemView | None = None) -> Error:
    """An error of a class whose constructor may ask for facts that no problem has."""
    failure = kind.__new__(kind)
    Error.__init__(failure, message)
    for fact in _FACTS.get(kind, ()):
        setattr(failure, fact, None)
    if problem is not None and problem.category in get_args(Category):
        failure.category = cast("Category", problem.category)
    return failure


_FACTS: dict[type[Error], tuple[str, ...]] = {
    errors.StepFailed: ("step", "type"),
    errors.WaitTimeout: ("step",),
    errors.Diverged: ("expected", "found"),
}
_KINDS = {kind.code: kind for kind in errors.every_error()}
_STATUSES: dict[int, type[Error]] = {
    401: errors.Unauthorized,
    403: errors.Forbidden,
    404: errors.NotFound,
    409: errors.Conflict,
    413: errors.TooLarge,
    429: errors.TooMany,
}


def _kind(status: int) -> type[Error]:
    if 400 <= status < 500:
        return _STATUSES.get(status, errors.InputError)
    return Unreachable
