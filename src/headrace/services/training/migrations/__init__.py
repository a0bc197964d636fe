"""The tables of the training service, step by step."""
