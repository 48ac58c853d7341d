"""The trainer's files: the cache of backbones, checkpoints, and model files."""
