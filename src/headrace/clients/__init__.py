"""Clients of the HTTP APIs, generated from their OpenAPI documents by ``python -m tools.client``. Not edited by hand."""
