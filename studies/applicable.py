"""Which settings of a configuration affected its result: a setting that nothing reads is a default and is not shown.

Every row holds a whole configuration, so that it can be run again: even a tau-normalised classifier's row has a MaxNorm
radius. The trainer's catalogue says which settings each loss and method reads.
"""

from __future__ import annotations

from collections.abc import Mapping

from trainers.config import LOSS_OPTIONS, OF_MAXNORM, OF_TRAINING, READ_BY_LOSS, READ_BY_METHOD, Scalar


def applies(name: str, config: Mapping[str, Scalar]) -> bool:
    """True if the setting `name` affected the result of a whole configuration."""
    stage, _, field = name.partition(".")
    if stage == "stage1":
        reweighted = field == "beta" and config.get("stage1.drw") is not None
        return reweighted or _read_by_loss(field, config.get("stage1.loss"))
    return stage != "stage2" or _in_stage2(field, config)


def applicable(config: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """The settings of a whole configuration that affected its result, in its order."""
    return {name: value for name, value in config.items() if applies(name, config)}


def _in_stage2(field: str, config: Mapping[str, Scalar]) -> bool:
    read = READ_BY_METHOD.get(str(config.get("stage2.method")), OF_TRAINING)  # a later release may have others
    if field == "method":
        return True
    if field not in read:
        return False
    if field in OF_MAXNORM:
        return field == "maxnorm_radius" or config.get("stage2.maxnorm_radius") is not None
    return "loss" not in read or _read_by_loss(field, config.get("stage2.loss"))


def _read_by_loss(field: str, loss: Scalar) -> bool:
    return field not in LOSS_OPTIONS or field in READ_BY_LOSS.get(str(loss), ())
