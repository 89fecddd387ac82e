"""Who can do what: one file, one vendor; `local` needs no key."""
