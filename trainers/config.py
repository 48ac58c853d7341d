"""What determines one trial: frozen, checked, and with one dotted name a value for life (`stage1.weight_decay`)."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, get_args

from trainers.errors import ConfigError

Scalar = str | int | float | bool | None

DatasetName = Literal[
    "digits-lt", "cifar10-lt", "cifar100-lt", "imagenet-lt", "places-lt", "inaturalist18",
    "parquet", "image-folder", "npz", "csv", "lists",
]  # fmt: skip
LossName = Literal["ce", "logit_adjusted", "cb_ce", "cb_bce_softmax", "cb_focal", "cb_sigmoid", "ldam", "vs"]
TrainedMethod = Literal["weight_balancing", "crt", "lws"]
PosthocMethod = Literal["none", "l2_norm", "tau_norm", "logit_adjustment", "logit_adjustment_mul", "ncm"]
Method = Literal[
    "weight_balancing", "crt", "lws",
    "none", "l2_norm", "tau_norm", "logit_adjustment", "logit_adjustment_mul", "ncm",
]  # fmt: skip
TRAINED_METHODS: tuple[str, ...] = get_args(TrainedMethod)
POSTHOC_METHODS: tuple[str, ...] = get_args(PosthocMethod)


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """Which images, how long the tail, which split, which network."""

    dataset: DatasetName = "digits-lt"
    data: str | None = None  # folder or file; None only for the embedded digits
    imbalance_factor: float | None = 50.0  # largest over smallest class; None takes the data as it is
    profile: Literal["exp", "step"] = "exp"
    selection: Literal["seed0", "first_n"] = "seed0"  # which images of a class are kept
    max_count: int | None = None  # cap on the largest class
    protocol: Literal["honest", "iclr24", "paper_leak"] = "honest"
    val_per_class: int = 20
    split_seed: int = 0
    model: str = "cnn-small"
    pretrained: bool = False
    augment: Literal["auto", "none", "crop", "crop_flip"] = "auto"
    image_size: int | None = None
    many: int = 100  # a class with more training images is "many"
    few: int = 20  # a class with fewer is "few"
    flip_average: bool = False  # test logits are the mean over image and mirror image, as the released final figures
    download: bool = False


@dataclass(frozen=True, kw_only=True)
class Stage1Config:
    """Feature learning. Weight decay is SGD's coupled L2, on all parameters."""

    loss: LossName = "ce"
    beta: float = 0.9999
    gamma: float | None = None
    tau: float = 1.0
    max_margin: float = 0.5
    scale: float = 30.0
    drw: float | None = None  # fraction of the epochs after which class-balanced weights start
    classifier: Literal["linear", "etf"] = "linear"
    feature_regularization: float = 0.0
    epochs: int = 40
    batch_size: int = 64
    lr: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-3
    schedule: Literal["cosine", "cosine_ahead"] = "cosine"  # ahead: stepped before each epoch, as released
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Stage2Config:
    """The classifier on a frozen backbone: trained, or derived post hoc."""

    method: Method = "weight_balancing"
    loss: LossName = "cb_ce"
    beta: float = 0.9999
    gamma: float | None = None
    tau: float = 1.0  # of tau_norm, logit_adjustment(_mul), and of the losses that have one
    max_margin: float = 0.5
    scale: float = 30.0
    epochs: int = 10
    batch_size: int = 64
    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 1e-2
    maxnorm_radius: float | None = 1.0  # in radius_unit; None leaves the constraint out
    radius_unit: Literal["absolute", "median_norm", "norm_span"] = "median_norm"
    projection: Literal["step", "epoch"] = "step"
    schedule: Literal["cosine", "cosine_ahead"] = "cosine"
    features: Literal["search", "default", "replay"] = (
        "default"  # 2 views; one a stage-2 epoch; BatchNorm in training mode
    )
    epoch_rule: Literal["last", "best"] = "last"  # best: on the selection split; only paper_leak wants it
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """One full two-stage configuration."""

    task: TaskConfig = field(default_factory=TaskConfig)
    stage1: Stage1Config = field(default_factory=Stage1Config)
    stage2: Stage2Config = field(default_factory=Stage2Config)

    def to_flat(self) -> dict[str, Scalar]:
        """Dotted names to values, in the order of the classes above."""
        return {
            f"{part.name}.{f.name}": getattr(getattr(self, part.name), f.name)
            for part in dataclasses.fields(self)
            for f in dataclasses.fields(getattr(self, part.name))
        }

    @classmethod
    def from_flat(cls, flat: Mapping[str, Any]) -> TrialConfig:
        """Builds a configuration from dotted names; names left out keep their defaults. Raises ConfigError."""
        parts: dict[str, dict[str, Any]] = {"task": {}, "stage1": {}, "stage2": {}}
        for key, value in flat.items():
            part, _, name = key.partition(".")
            if part not in parts or name not in _FIELDS[part]:
                near = difflib.get_close_matches(key, FLAT_NAMES, n=1)
                raise ConfigError(f"{key}: unknown setting" + (f"; did you mean {near[0]!r}?" if near else ""))
            parts[part][name] = checked(key, value)
        return cls(
            task=TaskConfig(**parts["task"]),
            stage1=Stage1Config(**parts["stage1"]),
            stage2=Stage2Config(**parts["stage2"]),
        )


Part = TypeVar("Part", TaskConfig, Stage1Config, Stage2Config)

_PARTS: dict[str, type[Any]] = {"task": TaskConfig, "stage1": Stage1Config, "stage2": Stage2Config}
_FIELDS: dict[str, dict[str, Any]] = {part: typing.get_type_hints(cls) for part, cls in _PARTS.items()}
FLAT_NAMES: tuple[str, ...] = tuple(f"{part}.{name}" for part, names in _FIELDS.items() for name in names)

_POSITIVE = {
    "task.imbalance_factor", "task.max_count", "task.image_size",
    "stage1.epochs", "stage1.batch_size", "stage1.lr", "stage1.scale",
    "stage2.epochs", "stage2.batch_size", "stage2.lr", "stage2.scale",
}  # fmt: skip
_NOT_NEGATIVE = {
    "task.val_per_class", "task.many", "task.few", "task.split_seed",
    "stage1.seed", "stage1.weight_decay", "stage1.momentum", "stage1.feature_regularization", "stage1.gamma",
    "stage2.seed", "stage2.weight_decay", "stage2.momentum", "stage2.maxnorm_radius", "stage2.gamma",
}  # fmt: skip
_LARGEST = 10**18  # what is below fits into 64 bits
_BELOW_ONE = {"stage1.momentum", "stage2.momentum", "stage1.beta", "stage2.beta"}


def checked(key: str, value: Any) -> Scalar:
    """Returns `value` in the type that `key` has. Raises ConfigError with the rule, the value and the way out."""
    part, _, name = key.partition(".")
    if isinstance(value, int) and abs(value) >= _LARGEST:
        raise ConfigError(f"{key}: a whole number has at most 18 digits; torch and databases hold no larger ones")
    value = _typed(key, value, _FIELDS[part][name])
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise ConfigError(f"{key}: must be finite, but got {value}")
        if key in _POSITIVE and value <= 0:
            raise ConfigError(f"{key}: must be greater than 0, but got {value}")
        if key in _NOT_NEGATIVE and value < 0:
            raise ConfigError(f"{key}: must not be negative, but got {value}")
        if key in _BELOW_ONE and not 0 <= value < 1:
            raise ConfigError(f"{key}: must be in [0, 1), but got {value}")
        if key == "task.imbalance_factor" and value < 1:
            raise ConfigError(f"{key}: is the largest class over the smallest, so at least 1, but got {value}")
        if key == "stage1.drw" and not 0 <= value <= 1:
            raise ConfigError(f"{key}: is a fraction of the epochs, so in [0, 1], but got {value}")
    return typing.cast(Scalar, value)


def _typed(key: str, value: Any, hint: Any) -> Scalar:
    options = get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if value is None and type(None) in options:
        return None
    for option in options:
        if typing.get_origin(option) is Literal:
            if value in get_args(option):
                return typing.cast(Scalar, value)
            near = difflib.get_close_matches(str(value), get_args(option), n=1)
            hint_text = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"{key}: must be one of {', '.join(get_args(option))}, but got {value!r}{hint_text}")
        if option is bool and isinstance(value, bool):
            return value
        if isinstance(value, bool):
            continue
        if option is float and isinstance(value, (int, float)):
            return float(value)
        if option is int and (isinstance(value, int) or (isinstance(value, float) and value.is_integer())):
            return int(value)
        if option is str and isinstance(value, str):
            return value
    wanted = " or ".join("none" if o is type(None) else getattr(o, "__name__", str(o)) for o in options)
    raise ConfigError(f"{key}: must be {wanted}, but got {value!r}")
