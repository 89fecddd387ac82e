"""Everything that an installation knows, in one file, and back."""
