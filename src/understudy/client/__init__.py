"""The client of an Understudy server, blocking and for asyncio.

It needs nothing of the server's own code but the errors and the models of the API.
"""

from __future__ import annotations

from understudy.client.aio import AsyncClient
from understudy.client.failures import RunFailed, problem_of
from understudy.client.following import Event
from understudy.client.patience import Patience
from understudy.client.sync import Client

__all__ = ["AsyncClient", "Client", "Event", "Patience", "RunFailed", "problem_of"]
