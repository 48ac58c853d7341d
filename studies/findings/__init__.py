"""Findings of a study: the headline, cautions, failures, intervals, the Pareto front."""
