"""What to run next: backbones and heads within the budget, then the final readings of test data."""
