"""Worked examples that an installed Headrace can run."""
