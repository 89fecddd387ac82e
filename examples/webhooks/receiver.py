"""Takes webhooks: checks that they come from your server, and deals with each only once.

WEBHOOK_SECRET=whsec_… python receiver.py 9000
"""

from __future__ import annotations

import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from understudy.client.webhooks import BadSignature, verify

SECRET = os.environ["WEBHOOK_SECRET"]
LARGEST = 5_000_000  # bytes
seen: set[str] = set()  # in earnest: a table with a unique column


class Receiver(BaseHTTPRequestHandler):
    """Answers 2xx once the webhook is dealt with; anything else is delivered again later."""

    def do_POST(self) -> None:
        """Check, take, answer."""
        size = int(self.headers.get("Content-Length") or 0)
        if size > LARGEST:
            self.answer(413)
            return
        body = self.rfile.read(size)  # the bytes as they came: JSON written anew may differ
        try:
            webhook = verify(SECRET, dict(self.headers), body)
        except BadSignature as error:
            print(f"refused: {error}", file=sys.stderr)
            self.answer(400)
            return
        if webhook.id not in seen:
            seen.add(webhook.id)
            print(webhook.type, webhook.data.id, webhook.data.output, flush=True)
        self.answer(204)

    def answer(self, status: int) -> None:
        """An answer without a body."""
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()


server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver)
print(f"listening on port {server.server_port}", flush=True)
server.serve_forever()
