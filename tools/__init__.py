"""Development tools: run as ``python -m tools.NAME``."""
