"""Stage 1: the networks, the training loop, and the resulting backbone."""
