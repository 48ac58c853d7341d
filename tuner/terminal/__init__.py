"""The terminal: the live view, tables, `--watch`, and the one way to print."""
