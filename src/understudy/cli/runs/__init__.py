"""`understudy runs …`: what was asked, how far it is, and what to do about it."""
