"""The verbs that an operation may need, as Protocols and plain values."""
