"""Alembic migrations of the notary's tables: `env.py` runs them on the connection it is given."""
