"""Stage 1: the networks, the loop that learns features, and the backbone that comes out."""
