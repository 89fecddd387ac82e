"""The HTTP API, one resource a file; each has a `router`."""
