"""The catalogue of settings that determine a trial, each with one dotted name everywhere (`stage1.weight_decay`).

Each setting has its name, domain, default and description here and nowhere else. `search_spaces.schema`, the editor's
schema and `studies.applicable` are made from it. It imports the standard library only, for packages without torch.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import types
import typing
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_args, get_origin

from trainers.errors import ConfigError

Scalar = str | int | float | bool | None
Pairs = tuple[tuple[str, str], ...]  # a mapping of words, frozen
Words = tuple[str, ...]  # one text or several

DatasetName = Literal[
    "digits-lt", "cifar10-lt", "cifar100-lt", "imagenet-lt", "places-lt", "inaturalist18",
    "parquet", "image-folder", "npz", "csv", "lists",
]  # fmt: skip
READERS: Mapping[DatasetName, str] = {  # the file of trainers/data and its function that read each data source
    "digits-lt": "digits:read_digits", "cifar10-lt": "cifar:read_cifar", "cifar100-lt": "cifar:read_cifar",
    "imagenet-lt": "lists:read_lists", "places-lt": "lists:read_lists", "inaturalist18": "lists:read_lists",
    "parquet": "parquet:read_parquet", "image-folder": "folders:read_folders", "npz": "arrays:read_npz",
    "csv": "csv_tables:read_csv", "lists": "lists:read_lists",
}  # fmt: skip
LayoutName = Literal["auto", "classes", "splits"]
StepWay = Literal["auto", "plain", "recorded", "lean", "compiled"]  # of computing; see trainers.stage1.step_ways
LossName = Literal["ce", "logit_adjusted", "cb_ce", "cb_bce_softmax", "cb_focal", "cb_sigmoid", "ldam", "vs"]
TrainedMethod = Literal["weight_balancing", "crt", "lws"]
PosthocMethod = Literal["none", "l2_norm", "tau_norm", "logit_adjustment", "logit_adjustment_mul", "ncm"]
Method = Literal[TrainedMethod, PosthocMethod]
ResolvedPrecision = Literal["fp32", "tf32", "bf16"]
Precision = Literal["auto", ResolvedPrecision]
TRAINED_METHODS: tuple[str, ...] = get_args(TrainedMethod)
POSTHOC_METHODS: tuple[str, ...] = get_args(PosthocMethod)


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Bounds of a number: above `gt`, from `ge`, below `lt`, up to `le`; `rule` says the same in words."""

    rule: str
    gt: float | None = None
    ge: float | None = None
    lt: float | None = None
    le: float | None = None

    def hold(self, value: float) -> bool:
        """True if `value` is within the bounds."""
        above = (self.gt is None or value > self.gt) and (self.ge is None or value >= self.ge)
        return above and (self.lt is None or value < self.lt) and (self.le is None or value <= self.le)


@dataclass(frozen=True)
class Keys:
    """The keys that a mapping may have."""

    names: tuple[str, ...]


_POSITIVE = Bounds(rule="must be greater than 0", gt=0)
_NOT_NEGATIVE = Bounds(rule="must not be negative", ge=0)
Positive = Annotated[float, _POSITIVE]
NotNegative = Annotated[float, _NOT_NEGATIVE]
BelowOne = Annotated[float, Bounds(rule="must be in [0, 1)", ge=0, lt=1)]
Share = Annotated[float, Bounds(rule="is a fraction of the epochs, so in [0, 1]", ge=0, le=1)]
Factor = Annotated[float, Bounds(rule="is the largest class over the smallest, so at least 1", ge=1)]
PositiveInteger = Annotated[int, _POSITIVE]
NotNegativeInteger = Annotated[int, _NOT_NEGATIVE]


# One line per setting: name, domain, the description that editors show, default.


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """Images, long tail, split and network: fixed for the whole study."""

    dataset: DatasetName = "digits-lt"
    data: Annotated[str | None, "Folder or file of the images; digits-lt needs none."] = None
    columns: Annotated[
        Pairs | None,
        Keys(("image", "label", "split")),
        "Columns of a CSV or parquet file under other names: {image: image_id, label: dx}; split is for CSV.",
    ] = None
    image_root: Annotated[Words | None, "Folder of the images, or several; relative to the folder of task.data."] = None
    suffix: Annotated[str | None, "What names of images lack in a list or table, such as .jpg."] = None
    imbalance_factor: Annotated[Factor | None, "Largest over smallest class; null keeps the data as it is."] = 50.0
    profile: Literal["exp", "step"] = "exp"
    selection: Annotated[Literal["seed0", "first_n"], "Which images of a class to keep."] = "seed0"
    max_count: Annotated[PositiveInteger | None, "Cap on the largest class."] = None
    protocol: Literal["honest", "iclr24", "paper_leak"] = "honest"
    val_per_class: NotNegativeInteger = 20
    split_seed: NotNegativeInteger = 0
    group: Annotated[
        str | None,
        "What keeps the images of one patient in one split: a column, or a pattern over paths such as '(ISIC_\\d+)_'.",
    ] = None
    model: str = "cnn-small"
    pretrained: bool = False
    augment: Literal["auto", "none", "crop", "crop_flip"] = "auto"
    image_size: PositiveInteger | None = None
    many: Annotated[NotNegativeInteger, 'A class with more training images is "many".'] = 100
    few: Annotated[NotNegativeInteger, 'A class with fewer training images is "few".'] = 20
    pixel_range: Annotated[
        str | None, "Black and white of images of more than 8 bits, such as 0..4095; null: by the training images."
    ] = None
    skip_bad: Annotated[bool, "Leave out images that cannot be decoded, instead of refusing the data."] = False
    flip_average: Annotated[bool, "Average test logits over each image and its mirror image."] = False  # as released
    download: bool = False
    layout: Annotated[
        LayoutName, "What the folders of an image-folder are; auto decides by names, and refuses what has two readings."
    ] = "auto"


@dataclass(frozen=True, kw_only=True)
class Stage1Config:
    """Feature learning."""

    loss: LossName = "ce"
    beta: BelowOne = 0.9999
    gamma: NotNegative | None = None
    tau: float = 1.0
    max_margin: float = 0.5
    scale: Positive = 30.0
    drw: Annotated[Share | None, "Fraction of the epochs after which class-balanced weights start."] = None
    classifier: Literal["linear", "etf"] = "linear"
    feature_regularization: NotNegative = 0.0
    epochs: PositiveInteger = 40
    batch_size: PositiveInteger = 64
    lr: Positive = 0.05
    momentum: BelowOne = 0.9
    weight_decay: Annotated[NotNegative, "SGD's coupled L2, on all parameters."] = 5e-3
    schedule: Literal["cosine", "cosine_ahead"] = "cosine"  # ahead: stepped before each epoch, as released
    precision: Annotated[
        Precision,
        "fp32 is IEEE float32 on every device; tf32 needs a GPU that has it; auto is bf16 if the device computes in "
        "it, else fp32.",
    ] = "auto"
    seed: NotNegativeInteger = 0


@dataclass(frozen=True, kw_only=True)
class Stage2Config:
    """The classifier on a frozen backbone: trained, or derived post hoc."""

    method: Method = "weight_balancing"
    loss: LossName = "cb_ce"
    beta: BelowOne = 0.9999
    gamma: NotNegative | None = None
    tau: Annotated[float, "Used by tau_norm, logit_adjustment(_mul), and the losses with a tau."] = 1.0
    max_margin: float = 0.5
    scale: Positive = 30.0
    epochs: PositiveInteger = 10
    batch_size: PositiveInteger = 64
    lr: Positive = 0.01
    momentum: BelowOne = 0.9
    weight_decay: Annotated[NotNegative, "SGD's coupled L2, on the classifier; its scale depends on the loss."] = 1e-2
    maxnorm_radius: Annotated[NotNegative | None, "In radius_unit; null means no constraint."] = 1.0
    radius_unit: Literal["absolute", "median_norm", "norm_span"] = "median_norm"
    projection: Literal["step", "epoch"] = "step"
    schedule: Literal["cosine", "cosine_ahead"] = "cosine"
    features: Literal["search", "default", "replay"] = (
        "default"  # 2 views; one a stage-2 epoch; BatchNorm in training mode
    )
    epoch_rule: Literal["last", "best"] = "last"  # best: on the selection split, as in paper_leak
    seed: NotNegativeInteger = 0


PARTS: Mapping[str, type[Any]] = {"task": TaskConfig, "stage1": Stage1Config, "stage2": Stage2Config}

READ_BY_LOSS: Mapping[str, tuple[str, ...]] = {  # the options that each loss reads; `beta`: it has class weights
    "ce": (),
    "logit_adjusted": ("tau",),
    "cb_ce": ("beta",),
    "cb_bce_softmax": ("beta",),
    "cb_focal": ("beta", "gamma"),
    "cb_sigmoid": ("beta",),
    "ldam": ("max_margin", "scale"),
    "vs": ("gamma", "tau"),
}
LOSS_OPTIONS = tuple(dict.fromkeys(option for options in READ_BY_LOSS.values() for option in options))

OF_MAXNORM = ("maxnorm_radius", "radius_unit", "projection")
OF_TRAINING = tuple(f.name for f in dataclasses.fields(Stage2Config) if f.name not in ("method", *OF_MAXNORM))
READ_BY_METHOD: Mapping[str, tuple[str, ...]] = {  # the stage-2 settings that each method reads
    "weight_balancing": (*OF_TRAINING, *OF_MAXNORM),
    "crt": OF_TRAINING,
    "lws": OF_TRAINING,
    "none": (),
    "l2_norm": (),
    "tau_norm": ("tau",),
    "logit_adjustment": ("tau",),
    "logit_adjustment_mul": ("tau",),
    "ncm": ("features", "epochs", "seed"),  # the means are over all views of the training images
}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One entry of the catalogue: the values that a setting can have, and its default."""

    name: str  # dotted
    kind: type[str] | type[int] | type[float] | type[bool] | type[dict[str, str]] | type[list[str]]
    choices: tuple[str, ...]  # of text, or the keys of a mapping; () for free text, numbers, switches and lists
    optional: bool  # None is a value
    bounds: Bounds | None
    default: Scalar
    meaning: str | None


def _settings() -> Iterator[Setting]:
    for part, config in PARTS.items():
        hints = typing.get_type_hints(config, include_extras=True)
        for f in dataclasses.fields(config):
            yield _setting(f"{part}.{f.name}", hints[f.name], f.default)


_KINDS: Mapping[Any, Any] = {str: str, int: int, float: float, bool: bool, Pairs: dict, Words: list}


def _setting(name: str, hint: Any, default: Any) -> Setting:
    said = list(_said(hint))
    choices = next((get_args(one) for one in said if get_origin(one) is Literal), ())
    keys = next((one.names for one in said if isinstance(one, Keys)), ())
    return Setting(
        name=name,
        kind=str if choices else next(_KINDS[one] for one in said if isinstance(one, Hashable) and one in _KINDS),
        choices=choices or keys,
        optional=types.NoneType in said,
        bounds=next((one for one in said if isinstance(one, Bounds)), None),
        default=default,
        meaning=next((one for one in said if isinstance(one, str)), None),
    )


def _said(hint: Any) -> Iterator[Any]:
    """The plain types in a hint, and their annotations."""
    if get_origin(hint) is Annotated:
        yield from _said(hint.__origin__)
        yield from hint.__metadata__
    elif get_origin(hint) in (typing.Union, types.UnionType):
        for one in get_args(hint):
            yield from _said(one)
    else:
        yield hint


SETTINGS: Mapping[str, Setting] = {setting.name: setting for setting in _settings()}
FLAT_NAMES: tuple[str, ...] = tuple(SETTINGS)


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """One full two-stage configuration."""

    task: TaskConfig = field(default_factory=TaskConfig)
    stage1: Stage1Config = field(default_factory=Stage1Config)
    stage2: Stage2Config = field(default_factory=Stage2Config)

    def to_flat(self) -> dict[str, Scalar]:
        """Dotted names to values, in the order of the classes above; a mapping or a list is one text."""
        return {
            f"{part.name}.{f.name}": as_scalar(getattr(getattr(self, part.name), f.name))
            for part in dataclasses.fields(self)
            for f in dataclasses.fields(getattr(self, part.name))
        }

    @classmethod
    def from_flat(cls, flat: Mapping[str, Any]) -> TrialConfig:
        """Builds a configuration from dotted names; missing names keep their defaults. Raises ConfigError."""
        parts: dict[str, dict[str, Any]] = {part: {} for part in PARTS}
        for key, value in flat.items():
            if key not in SETTINGS:
                near = difflib.get_close_matches(key, FLAT_NAMES, n=1)
                raise ConfigError(f"{key}: unknown setting" + (f"; did you mean {near[0]!r}?" if near else ""))
            part, _, name = key.partition(".")
            found = checked(key, value)
            structured = found is not None and SETTINGS[key].kind in (dict, list)
            parts[part][name] = frozen(SETTINGS[key], found) if structured else found
        return cls(
            task=TaskConfig(**parts["task"]),
            stage1=Stage1Config(**parts["stage1"]),
            stage2=Stage2Config(**parts["stage2"]),
        )


_LARGEST = 10**18  # smaller numbers fit into 64 bits


def loss_options(config: Stage1Config | Stage2Config) -> dict[str, Any]:
    """The options of a stage's loss, as arguments for `trainers.losses.make_loss`."""
    return {option: getattr(config, option) for option in LOSS_OPTIONS}


def checked(key: str, value: Any) -> Scalar:
    """Returns `value` in the type of `key`. Raises ConfigError with the rule, the value and the way out."""
    if isinstance(value, int) and abs(value) >= _LARGEST:
        raise ConfigError(f"{key}: a whole number has at most 18 digits; torch and databases hold no larger ones")
    setting = SETTINGS[key]
    found = _typed(setting, value)
    if isinstance(found, (int, float)) and not isinstance(found, bool):
        if not math.isfinite(found):
            raise ConfigError(f"{key}: must be finite, but got {found}")
        if setting.bounds and not setting.bounds.hold(found):
            raise ConfigError(f"{key}: {setting.bounds.rule}, but got {found}")
    return found


def frozen(setting: Setting, value: Any) -> Pairs | Words:
    """A mapping or a list of words as tuples, from plain values or from its text. Raises ConfigError."""
    plain: Any = _from_text(value) if isinstance(value, str) else value
    if setting.kind is list and isinstance(plain, str):
        plain = [plain]
    wanted = "a mapping such as {image: image_id, label: dx}" if setting.kind is dict else "a text or a list of texts"
    if (
        not plain
        or not isinstance(plain, setting.kind)
        or not all(isinstance(one, str) and one for one in _texts(plain))
    ):
        raise ConfigError(f"{setting.name}: must be {wanted}, but got {value!r}")
    if isinstance(plain, dict):
        for key in plain:
            if key not in setting.choices:
                near = difflib.get_close_matches(key, setting.choices, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise ConfigError(f"{setting.name}: its keys are {', '.join(setting.choices)}, but got {key!r}{hint}")
        return tuple((key, plain[key]) for key in setting.choices if key in plain)
    return tuple(_texts(plain))


def mistake_in(setting: Setting, value: Any) -> str | None:
    """What is wrong with a mapping or a list, without the setting's name; None if nothing is."""
    try:
        frozen(setting, value)
    except ConfigError as error:
        return str(error).removeprefix(f"{setting.name}: ")
    return None


def as_scalar(value: Any) -> Scalar:
    """The value in a flat configuration: a frozen mapping or list as one text in JSON, others as they are."""
    if not isinstance(value, tuple):
        return typing.cast(Scalar, value)
    return json.dumps(list(value) if isinstance(value[0], str) else dict(value), ensure_ascii=False)


def as_plain(name: str, value: Scalar) -> Any:
    """The opposite of `as_scalar`: a mapping or a list again, as a person writes it. Raises ConfigError."""
    if name not in SETTINGS or SETTINGS[name].kind not in (dict, list) or value is None:
        return value
    kind: Any = SETTINGS[name].kind
    return kind(frozen(SETTINGS[name], value))


def _from_text(text: str) -> Any:
    try:
        return json.loads(text) if text[:1] in ("{", "[") else text
    except (ValueError, RecursionError):
        return text


def _texts(plain: Any) -> list[Any]:
    return [*plain.keys(), *plain.values()] if isinstance(plain, dict) else list(plain)


def _typed(setting: Setting, value: Any) -> Scalar:
    if value is None and setting.optional:
        return None
    if setting.kind in (dict, list):
        return as_scalar(frozen(setting, value))
    if setting.choices:
        check_known(setting.name, value, setting.choices)
        return typing.cast(str, value)
    if isinstance(value, bool) == (setting.kind is bool) and isinstance(value, setting.kind):
        return typing.cast(Scalar, value)
    if setting.kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if setting.kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    wanted = setting.kind.__name__ + (" or none" if setting.optional else "")
    raise ConfigError(f"{setting.name}: must be {wanted}, but got {value!r}")


def check_known(what: str, name: object, known: Sequence[str]) -> None:
    """Raises ConfigError, with the nearest known name, unless `name` is known."""
    if name not in known:
        near = difflib.get_close_matches(str(name), known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"{what}: must be one of {', '.join(known)}, but got {name!r}{hint}")
