"""The migrations, in order; Alembic reads this folder."""
