"""The streams wing: where messages come from, how they are read, and the log that keeps them."""
