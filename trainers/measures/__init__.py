"""What is measured of classifiers, from integers per class."""
