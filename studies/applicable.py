"""Which settings of a configuration had a part in its result: what nothing has read is a default, and is not shown.

Every row holds a whole configuration, so that it can be run again; a classifier by tau-normalisation has a MaxNorm
radius in its row, too.
"""

from __future__ import annotations

from collections.abc import Mapping

from studies.records import Scalar

_CLASS_BALANCED = ("cb_ce", "cb_bce_softmax", "cb_focal", "cb_sigmoid")
_OF_LOSSES: dict[str, tuple[str, ...]] = {  # setting -> the losses that read it
    "beta": _CLASS_BALANCED,
    "gamma": ("cb_focal", "vs"),
    "tau": ("logit_adjusted", "vs"),
    "max_margin": ("ldam",),
    "scale": ("ldam",),
}
_OF_POSTHOC: dict[str, tuple[str, ...]] = {  # method without training -> the settings of stage 2 that it reads
    "none": (),
    "l2_norm": (),
    "tau_norm": ("tau",),
    "logit_adjustment": ("tau",),
    "logit_adjustment_mul": ("tau",),
    "ncm": ("features", "epochs", "seed"),  # the means are over all views of the training images
}
_OF_MAXNORM = ("maxnorm_radius", "radius_unit", "projection")


def applies(name: str, config: Mapping[str, Scalar]) -> bool:
    """Whether the setting `name` of a whole configuration had a part in its result."""
    stage, _, field = name.partition(".")
    if stage == "stage1":
        reweighted = field == "beta" and config.get("stage1.drw") is not None
        return reweighted or _read_by_loss(field, config.get("stage1.loss"))
    return stage != "stage2" or _in_stage2(field, config)


def applicable(config: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """The settings of a whole configuration that had a part in its result, in its order."""
    return {name: value for name, value in config.items() if applies(name, config)}


def _in_stage2(field: str, config: Mapping[str, Scalar]) -> bool:
    method = str(config.get("stage2.method"))
    if field == "method":
        return True
    if method in _OF_POSTHOC:
        return field in _OF_POSTHOC[method]
    if field in _OF_MAXNORM:
        bound = field == "maxnorm_radius" or config.get("stage2.maxnorm_radius") is not None
        return method == "weight_balancing" and bound
    return _read_by_loss(field, config.get("stage2.loss"))


def _read_by_loss(field: str, loss: Scalar) -> bool:
    return field not in _OF_LOSSES or loss in _OF_LOSSES[field]
