"""The dashboard's own files: one style sheet, one script, htmx, and the icon."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

FOLDER = Path(__file__).parent / "static"

TYPES = {
    "dashboard.css": "text/css; charset=utf-8",
    "dashboard.js": "text/javascript; charset=utf-8",
    "htmx.min.js": "text/javascript; charset=utf-8",
    "favicon.svg": "image/svg+xml",
}


@functools.cache
def digest() -> str:
    """What changes whenever one of the files does: a part of their address."""
    content = b"".join((FOLDER / name).read_bytes() for name in sorted(TYPES))
    return hashlib.sha256(content).hexdigest()[:12]
