"""Where the bytes lie: one file for each kind of store."""
