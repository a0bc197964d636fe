"""Identity: companies, their people, devices and services; signing in and out. The only service that gives out tokens."""

PATHS = ("/realms/", "/companies", "/people", "/password", "/whoami", "/session", "/login", "/logout", "/keys/")
"""How the paths of its HTTP begin; it also has ``/openapi/identity.json`` and ``/docs/identity``."""
