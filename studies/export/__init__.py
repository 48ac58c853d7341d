"""best.yaml: written, read, what a run of it should give, and where it came from."""
