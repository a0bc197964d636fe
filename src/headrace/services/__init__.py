"""The services wing: each service is a package with its Protocol in `__init__`."""
