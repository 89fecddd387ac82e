"""What bench/serving.py compares with: FastAPI that does one plain, durable INSERT per request.

    python bench/peers/serving_plain.py URL PORT

A body of the same form is validated by pydantic, and its row is committed before the answer. The
connections are as a careful author would have them: one for each thread of the pool, WAL and
`synchronous=FULL` on SQLite, autocommit on PostgreSQL.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import sys
import threading
import time
from typing import Any

import psycopg
import uvicorn
from fastapi import FastAPI, Response
from pydantic import BaseModel, ConfigDict


class Asked(BaseModel):
    """The body of a submission."""

    model_config = ConfigDict(extra="forbid")
    operation: str
    input: dict[str, Any]


def connect(url: str) -> Any:
    """A connection whose statements commit at once."""
    if url.startswith("sqlite:///"):
        connection = sqlite3.connect(
            url.removeprefix("sqlite:///"), isolation_level=None, timeout=60
        )
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        return connection
    return psycopg.connect(url, autocommit=True)


def plain(url: str) -> FastAPI:
    """The app."""
    app = FastAPI()
    own = threading.local()
    columns = "(id text PRIMARY KEY, operation text, input text, created_at float8)"
    connect(url).execute(f"CREATE TABLE IF NOT EXISTS asked {columns}")
    marks = "?, ?, ?, ?" if url.startswith("sqlite") else "%s, %s, %s, %s"

    @app.post("/v1/runs", status_code=202)
    def submit(asked: Asked, response: Response) -> dict[str, Any]:
        connection = getattr(own, "connection", None)
        if connection is None:
            connection = own.connection = connect(url)
        run_id = f"run_{secrets.token_hex(13)}"
        row = (run_id, asked.operation, json.dumps(asked.input), time.time())
        connection.execute(f"INSERT INTO asked VALUES ({marks})", row)
        response.headers["Location"] = f"/v1/runs/{run_id}"
        return {"id": run_id, "operation": asked.operation, "input": asked.input}

    return app


if __name__ == "__main__":
    uvicorn.run(plain(sys.argv[1]), port=int(sys.argv[2]), log_level="warning", access_log=False)
