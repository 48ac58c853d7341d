"""The two-stage trainer for long-tailed recognition (Alshammari et al., CVPR 2022), independent of the service.

It needs only torch, torchvision, numpy, safetensors and Pillow (pyarrow and scikit-learn for some data), so that
`python -m trainers` runs on a bare GPU machine.
"""
