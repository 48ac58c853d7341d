"""What to ask for next: which backbones and heads, within the budget, and what is read on test data."""
