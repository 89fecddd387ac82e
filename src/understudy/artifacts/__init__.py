"""Bytes with an id: what came in, what was made, and how long it is kept."""
