"""Accounts: who may do what, for which tenant, how often; and who did what."""
