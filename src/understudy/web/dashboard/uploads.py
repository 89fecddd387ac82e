"""The form that starts a run: read as it comes, each file straight into the store."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable

from fastapi import Request

from understudy.artifacts.artifacts import Artifacts
from understudy.errors import InputError, TooLarge
from understudy.web.dashboard.form import MOST_FILES, Answer
from understudy.web.multipart import Form, Part, discard, parts
from understudy.web.problem import MalformedError

_FIELDS = MOST_FILES + 500
_FIELD_BYTES = 1 << 20
_TEXTS = 4 << 20
"""Characters of all texts of a form, which are in memory at once."""

VALUE, KEPT, FILES = "value:", "kept:", "files:"
"""What the names of a form's inputs begin with: texts, ids that stay, and new files."""


@dataclasses.dataclass
class Sent:
    """What a form said: `own` are its hidden and other fields, `answer` is of the operation's."""

    own: dict[str, str]
    answer: Answer


async def read_form(
    request: Request, files: Artifacts, most: int, check: Callable[[str], None]
) -> Sent:
    """The form of a request, with its files stored: those that were kept first, in their order.

    A file may have `most` bytes. `check` is given the form's token before any file is stored, and
    raises if it is not ours. Raises `TooLarge`, and `InputError` when it is no form; then nothing
    that came with it is kept.
    """
    form = Form([], [])
    try:
        async with contextlib.aclosing(parts(request, most * MOST_FILES)) as found:
            async for part in found:
                await _take(form, part, files, most)
                if part.name == "csrf":
                    check(form.fields[-1][1])
        if "csrf" not in dict(form.fields):
            check("")
    except MalformedError as error:
        await discard(form, files)
        raise InputError(f"the form could not be read: {error.detail}") from error
    except BaseException:
        await discard(form, files)
        raise
    return _sent(form)


async def _take(form: Form, part: Part, files: Artifacts, most: int) -> None:
    """One part: a text, or a file that is stored. A field without a chosen file is nothing."""
    if len(form.fields) + len(form.files) >= _FIELDS:
        raise TooLarge(f"a form has at most {_FIELDS} fields")
    if part.filename is None:
        text = b"".join([piece async for piece in _limited(part, _FIELD_BYTES)])
        form.fields.append((part.name, text.decode("utf-8", "replace").replace("\r\n", "\n")))
        if sum(len(one) for _, one in form.fields) > _TEXTS:
            raise TooLarge(f"the texts of a form have more than {_TEXTS} characters")
    elif part.filename and part.name.startswith(FILES):
        if not form.fields or form.fields[0][0] != "csrf":
            raise MalformedError("its token is to come first", "body")
        stored = await files.put(_limited(part, most), name=part.filename)
        form.files.append((part.name, stored))


async def _limited(part: Part, most: int) -> AsyncIterator[bytes]:
    taken = 0
    async for piece in part.pieces:
        taken += len(piece)
        if taken > most:
            what = part.filename or f"the field {part.name!r}"
            raise TooLarge(f"{what} has more than {most / 1e6:,.6g} MB, which is the limit")
        yield piece


def _sent(form: Form) -> Sent:
    own: dict[str, str] = {}
    texts: dict[str, str] = {}
    stored: dict[str, list[str]] = {}
    for name, text in form.fields:
        if name.startswith(VALUE):
            texts[name.removeprefix(VALUE)] = text
        elif name.startswith(KEPT):
            stored.setdefault(name.removeprefix(KEPT), []).append(text)
        else:
            own[name] = text
    for name, artifact in form.files:
        stored.setdefault(name.removeprefix(FILES), []).append(artifact.id)
    return Sent(own, Answer(texts, stored))
