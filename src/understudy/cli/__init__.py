"""The command line: one command a file, each a thin surface over the app."""
