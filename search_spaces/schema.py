"""A search space: what is fixed, what is searched, on which data, with which budget.

Task, Stage1 and Stage2 repeat the names, defaults and domains of the trainer's configuration, so that this package
can check a file without the trainer (and without torch); a test holds the two together.
"""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Le
from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from search_spaces.parameters import (
    BelowOne,
    NotNegative,
    NotNegativeInteger,
    Option,
    Parameter,
    Part,
    Positive,
    PositiveInteger,
)

Dataset = Literal[
    "digits-lt", "cifar10-lt", "cifar100-lt", "imagenet-lt", "places-lt", "inaturalist18",
    "parquet", "image-folder", "npz", "csv", "lists",
]  # fmt: skip
Loss = Literal["ce", "logit_adjusted", "cb_ce", "cb_bce_softmax", "cb_focal", "cb_sigmoid", "ldam", "vs"]
Method = Literal[
    "weight_balancing", "crt", "lws",
    "none", "l2_norm", "tau_norm", "logit_adjustment", "logit_adjustment_mul", "ncm",
]  # fmt: skip
Objective = Literal[
    "val.balanced_accuracy", "val.many", "val.medium", "val.few", "val.top1", "val.top5",
    "val.worst_decile_recall", "val.harmonic_mean",
]  # fmt: skip
SamplerName = Literal["gp", "tpe", "random", "qmc", "grid"]
Baseline = Literal["naive", "weight_decay", "l2_norm", "tau_norm", "logit_adjustment", "logit_adjustment_mul", "ncm"]

STUDY_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"  # becomes a folder: never `.`, `..` or a path


class Task(Part):
    """Which images, how long the tail, which split, which network: fixed for the whole study."""

    dataset: Dataset
    data: str | None = None
    """Folder or file; only the embedded digits need none."""
    imbalance_factor: Annotated[float, Ge(1)] | None = 50.0
    """Largest over smallest class; null takes the data as it is."""
    profile: Literal["exp", "step"] = "exp"
    selection: Literal["seed0", "first_n"] = "seed0"
    """Which images of a class are kept."""
    max_count: PositiveInteger | None = None
    """Cap on the largest class."""
    protocol: Literal["honest", "iclr24", "paper_leak"] = "honest"
    val_per_class: NotNegativeInteger = 20
    split_seed: NotNegativeInteger = 0
    model: str = "cnn-small"
    pretrained: bool = False
    augment: Literal["auto", "none", "crop", "crop_flip"] = "auto"
    image_size: PositiveInteger | None = None
    many: NotNegativeInteger = 100
    """A class with more training images is "many"."""
    few: NotNegativeInteger = 20
    """A class with fewer training images is "few"."""
    flip_average: bool = False
    """Test logits are the mean over image and mirror image."""
    download: bool = False


class Stage1(Part):
    """Feature learning."""

    loss: Option[Loss] = "ce"
    beta: Parameter[BelowOne] = 0.9999
    gamma: Parameter[NotNegative | None] = None
    tau: Parameter[float] = 1.0
    max_margin: Parameter[float] = 0.5
    scale: Parameter[Positive] = 30.0
    drw: Parameter[Annotated[float, Ge(0), Le(1)] | None] = None
    """Fraction of the epochs after which class-balanced weights start."""
    classifier: Option[Literal["linear", "etf"]] = "linear"
    feature_regularization: Parameter[NotNegative] = 0.0
    epochs: Parameter[PositiveInteger] = 40
    batch_size: Parameter[PositiveInteger] = 64
    lr: Parameter[Positive] = 0.05
    momentum: Parameter[BelowOne] = 0.9
    weight_decay: Parameter[NotNegative] = 5e-3
    """SGD's coupled L2, on all parameters."""
    schedule: Option[Literal["cosine", "cosine_ahead"]] = "cosine"
    precision: Option[Literal["auto", "fp32", "bf16"]] = "auto"
    seed: Parameter[NotNegativeInteger] = 0


class Stage2(Part):
    """The classifier on a frozen backbone: trained, or derived post hoc."""

    method: Option[Method] = "weight_balancing"
    loss: Option[Loss] = "cb_ce"
    beta: Parameter[BelowOne] = 0.9999
    gamma: Parameter[NotNegative | None] = None
    tau: Parameter[float] = 1.0
    """Of tau_norm, logit_adjustment(_mul), and of the losses that have one."""
    max_margin: Parameter[float] = 0.5
    scale: Parameter[Positive] = 30.0
    epochs: Parameter[PositiveInteger] = 10
    batch_size: Parameter[PositiveInteger] = 64
    lr: Parameter[Positive] = 0.01
    momentum: Parameter[BelowOne] = 0.9
    weight_decay: Parameter[NotNegative] = 1e-2
    """SGD's coupled L2, on the classifier; its scale belongs to the loss."""
    maxnorm_radius: Parameter[NotNegative | None] = 1.0
    """In radius_unit; null leaves the constraint out."""
    radius_unit: Option[Literal["absolute", "median_norm", "norm_span"]] = "median_norm"
    projection: Option[Literal["step", "epoch"]] = "step"
    schedule: Option[Literal["cosine", "cosine_ahead"]] = "cosine"
    features: Option[Literal["search", "default", "replay"]] = "default"
    epoch_rule: Option[Literal["last", "best"]] = "last"
    seed: Parameter[NotNegativeInteger] = 0


def _none_or_several(count: int) -> int:
    if count == 1:
        raise PydanticCustomError("several", "must be 0, or 2 or more, for one seed has no deviation, but got 1")
    return count


class Budget(Part):
    """How much a study holds when it is done."""

    backbones: PositiveInteger = 8
    heads_per_backbone: PositiveInteger = 8
    rounds: PositiveInteger = 2
    """In how many draws the heads of a backbone are made; never more than there are heads."""
    hours: Positive | None = None
    max_failed: NotNegativeInteger = 5
    max_retries: NotNegativeInteger = 1
    fresh_seeds: Annotated[NotNegativeInteger, AfterValidator(_none_or_several)] = 0
    """How often the chosen configuration is trained again, each time with another seed: tolerances of best.yaml."""


class Sampler(Part):
    """Which of Optuna's samplers chooses backbones, and which chooses heads on them."""

    stage1: SamplerName = "gp"
    stage2: SamplerName = "tpe"
    seed: Annotated[int, Ge(0), Le(2**32 - 1)] = 0


class Refine(Part):
    """More heads on the best backbones, after the search."""

    top: PositiveInteger = 2
    heads: PositiveInteger = 16
