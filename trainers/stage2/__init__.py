"""Stage 2: classifiers on the features of a backbone, one head or many at once."""
