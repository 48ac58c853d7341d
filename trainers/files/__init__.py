"""What the trainer keeps on disk: the cache of backbones, checkpoints, and model files."""
