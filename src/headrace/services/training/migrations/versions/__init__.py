"""Each file one step; none is changed after its release."""
