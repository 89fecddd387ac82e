"""Which of an operation's tasks a call comes from.

Tasks of one operation take turns in another order on every replay: those whose steps are known
run ahead. A call is therefore counted within its own task. The operation's body is the root;
every other task is numbered when it makes its first call, among the tasks that its creator
started: `draw@2`, and in a task of that task `draw@2.1`. (Tasks that are created together call in
the order of their creation, unless one of them first awaits something that is no call.)
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_current: contextvars.ContextVar[Branch] = contextvars.ContextVar("understudy_branch")


class Branch:
    """One task of an operation. A new task inherits its creator's branch until it calls."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        path: str = "",
        task: asyncio.Task[Any] | None = None,
    ) -> None:
        self._loop = loop
        self.path = path
        self.task = task
        self.children = 0

    def start(self, body: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run the operation's body as the root of its branches."""
        context = contextvars.copy_context()
        context.run(_current.set, self)
        self.task = task = self._loop.create_task(body, context=context)
        return task

    def here(self) -> Branch:
        """The branch of the current task."""
        task = asyncio.current_task(self._loop)
        branch = _current.get(self)
        if branch.task is task:
            return branch
        branch.children += 1
        number = f"{branch.path}.{branch.children}" if branch.path else f"{branch.children}"
        child = Branch(self._loop, number, task)
        _current.set(child)
        return child
