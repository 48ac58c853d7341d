"""Published figures for orientation. They are not equivalent: each names its network and how it was selected.

Every figure was read in the named source; accuracies are fractions on the balanced test set, None where the source
gives none. "ResNet-32" has 0.46 M parameters in most of this literature and 21 M in some: hence the column.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from trainers.config import Scalar


class Published(NamedTuple):
    """One published result."""

    method: str
    role: str  # our baseline of the same method, "best" for weight balancing, "" for none
    dataset: str
    imbalance_factor: float | None  # None: the data set has one tail only
    many: float | None
    medium: float | None
    few: float | None
    all: float
    backbone: str
    selection: str
    source: str


_NOTEBOOK = "Alshammari et al., CVPR 2022: released notebooks"
_WIDE = "ResNet-34, 21.3 M parameters, 320 epochs"
_ON_TEST = "best epoch on test; averaged over flip"
_UNSTATED = "not stated"
_X50 = "ResNeXt-50"
_SMALL = "ResNet-32, 0.46 M parameters"
_QUOTED = "Alshammari et al., CVPR 2022, as quoted by others"
_LATER = "READMEs of later work"
_OPENLT = "as listed by OpenLT"
_DECOUPLING = "Kang et al., ICLR 2020: classifier-balancing README"
_LONG_TAIL_100 = "cifar100-lt"


def _notebook(method: str, role: str, many: float, medium: float, few: float, total: float) -> Published:
    return Published(method, role, _LONG_TAIL_100, 100, many, medium, few, total, _WIDE, _ON_TEST, _NOTEBOOK)


def _cifar100(method: str, role: str, factor: float, total: float, backbone: str, source: str) -> Published:
    return Published(method, role, _LONG_TAIL_100, factor, None, None, None, total, backbone, _UNSTATED, source)


def _imagenet(method: str, role: str, many: float, medium: float, few: float, total: float) -> Published:
    return Published(method, role, "imagenet-lt", None, many, medium, few, total, _X50, _UNSTATED, _DECOUPLING)


PUBLISHED: tuple[Published, ...] = (
    _notebook("naive", "naive", 0.674, 0.381, 0.104, 0.400),
    _notebook("weight decay 5e-3", "weight_decay", 0.780, 0.469, 0.139, 0.479),
    _notebook("weight decay + L2-norm", "l2_norm", 0.770, 0.503, 0.216, 0.510),
    _notebook("weight decay + tau-norm 1.9", "tau_norm", 0.741, 0.488, 0.320, 0.526),
    _notebook("weight balancing", "best", 0.722, 0.496, 0.349, 0.531),
    _cifar100("weight balancing", "best", 100, 0.5335, _UNSTATED, _QUOTED),
    _cifar100("weight balancing", "best", 50, 0.5771, _UNSTATED, _QUOTED),
    _cifar100("weight balancing", "best", 10, 0.6867, _UNSTATED, _QUOTED),
    _cifar100("cross-entropy", "naive", 100, 0.383, _UNSTATED, _LATER),
    _cifar100("cross-entropy", "naive", 50, 0.439, _UNSTATED, _LATER),
    _cifar100("cross-entropy", "naive", 10, 0.557, _UNSTATED, _LATER),
    _cifar100("LDAM-DRW", "", 100, 0.4204, _SMALL, f"Cao et al., NeurIPS 2019, {_OPENLT}"),
    _cifar100("logit adjustment", "logit_adjustment", 100, 0.4389, _UNSTATED, f"Menon et al., ICLR 2021, {_OPENLT}"),
    _cifar100("balanced softmax", "", 100, 0.451, _UNSTATED, "Ren et al., NeurIPS 2020, as listed by others"),
    _cifar100("RIDE, 3 experts", "", 100, 0.486, _SMALL + " a trunk", "Wang et al., ICLR 2021: README"),
    _cifar100("BCL", "", 100, 0.5193, _SMALL, "Zhu et al., CVPR 2022: README"),
    _cifar100("GLMC", "", 100, 0.5588, "wide ResNet, about 21 M parameters", "Du et al., CVPR 2023: README"),
    _imagenet("cross-entropy", "naive", 0.659, 0.375, 0.077, 0.444),
    _imagenet("cRT", "", 0.618, 0.462, 0.274, 0.496),
    _imagenet("tau-norm", "tau_norm", 0.591, 0.469, 0.307, 0.494),
    _imagenet("LWS", "", 0.602, 0.472, 0.303, 0.499),
    _imagenet("NCM", "ncm", 0.566, 0.453, 0.281, 0.473),
    Published(
        "weight balancing", "best", "imagenet-lt", None, None, None, None, 0.539, _X50, _UNSTATED,
        _QUOTED,
    ),
    Published(
        "cross-entropy", "naive", "inaturalist18", None, None, None, None, 0.647, _UNSTATED,
        "no labelled test: on validation",
        _LATER,
    ),
    Published(
        "logit adjustment", "logit_adjustment", "inaturalist18", None, None, None, None, 0.664, _UNSTATED,
        "no labelled test: on validation",
        "Menon et al., ICLR 2021, as listed by others",
    ),
)  # fmt: skip


def published_for(config: Mapping[str, Scalar]) -> tuple[Published, ...]:
    """Figures for the data of a configuration: the same data set and, if the tail is cut, the same imbalance factor."""
    dataset = config.get("task.dataset")
    factor = config.get("task.imbalance_factor")
    cut = config.get("task.max_count") is not None or config.get("task.profile", "exp") != "exp"
    found = (row for row in PUBLISHED if row.dataset == dataset)
    return tuple(row for row in found if row.imbalance_factor is None or (row.imbalance_factor == factor and not cut))
