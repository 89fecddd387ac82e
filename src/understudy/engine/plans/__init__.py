"""The plans: each one way of driving runs."""
