"""The operations: one file, one thing that a customer can buy."""
