"""What the dashboard's tests share: a browser without scripts."""

from __future__ import annotations

import dataclasses
import html
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest


@dataclasses.dataclass
class Browser:
    """Somebody who reads pages and sends their forms, as browsers without scripts do."""

    client: httpx.AsyncClient

    async def get(self, path: str, status: int = 200, **headers: str) -> str:
        """A page."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await self.client.get(path, headers=named)
        assert answer.status_code == status, (path, answer.status_code, answer.text[-2000:])
        return answer.text

    async def send(self, page: str, path: str, status: int = 303, **values: Any) -> httpx.Response:
        """A form of a page, with what is hidden in it."""
        hidden = dict(re.findall(r'name="(csrf|once)" value="([^"]*)"', await self.get(page)))
        files = values.pop("files", None)
        if path.startswith("/dashboard/start"):
            files = files or [("files:none", ("", b""))]
        answer = await self.client.post(path, data={**hidden, **values}, files=files)
        assert answer.status_code == status, (path, answer.status_code, answer.text[-3000:])
        return answer

    async def audit(self) -> list[str]:
        """The actions in the audit, newest first."""
        page = await self.get("/dashboard/audit")
        return re.findall(r'<td class="main-cell">([a-z.-]+)', page)


def text_of(page: str) -> str:
    """A page's words, without its tags."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


@pytest.fixture
def browser() -> Callable[[httpx.AsyncClient], Browser]:
    """`browser(client)`."""
    return Browser


@pytest.fixture
def words_of() -> Callable[[str], str]:
    """A page's words, without its tags."""
    return text_of
