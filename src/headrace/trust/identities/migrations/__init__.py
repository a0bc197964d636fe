"""Alembic migrations of the issuer's tables."""
