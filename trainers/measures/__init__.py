"""Measures of classifiers, from integers per class."""
