"""Contract suites that every plug-in passes, third parties' included."""
