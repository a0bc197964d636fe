"""Alembic migrations of the hub's tables: `env.py` runs them on the connection it is given."""
