"""The models wing: from readings to inputs, from inputs to predictions, and how sure they are."""
