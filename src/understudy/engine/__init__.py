"""The durable core: operations, runs, steps and the journal. Knows nothing of media or money."""
