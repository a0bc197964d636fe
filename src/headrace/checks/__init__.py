"""Contract suites: what every member of a plug-in family must do, shipped so that third parties can run them too."""
