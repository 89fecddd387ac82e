"""One suite for each contract; every implementation inherits it."""
