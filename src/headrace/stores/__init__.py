"""The stores wing: where bytes rest."""
