"""How the schema came to be, one file a step; `versions/` is read by Alembic."""
