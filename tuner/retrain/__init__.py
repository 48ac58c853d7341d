"""Trains an exported configuration again, and writes the model, its card and its export."""
