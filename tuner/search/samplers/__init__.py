"""The samplers by name. One file each; `sampler.py` says what a sampler is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from search_spaces.schema import SamplerName
from tuner.search.samplers.gp import GaussianProcess
from tuner.search.samplers.grid import Grid
from tuner.search.samplers.qmc import Even
from tuner.search.samplers.random import Random
from tuner.search.samplers.sampler import Sampler
from tuner.search.samplers.tpe import Parzen

BY_NAME: Mapping[SamplerName, Sampler] = {
    "gp": GaussianProcess(),
    "tpe": Parzen(),
    "random": Random(),
    "qmc": Even(),
    "grid": Grid(),
}
SAMPLERS: tuple[str, ...] = get_args(SamplerName)
