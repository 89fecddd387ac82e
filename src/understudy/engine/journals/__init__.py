"""The journals: each one way of remembering runs."""
