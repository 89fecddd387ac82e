"""One schema, one writer, readers that never wait for it."""
