"""The server's faces: the HTTP API, and the dashboard."""
