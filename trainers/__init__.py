"""The two-stage trainer for long-tailed recognition (Alshammari et al., CVPR 2022), on its own.

Imports torch, torchvision, numpy, safetensors (and pyarrow, scikit-learn for data) only: `python -m trainers` runs on
a bare GPU machine.
"""
