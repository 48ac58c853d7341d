"""The space that would suit the data: settings of the task first, then groups, schedule and budget for this machine."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from studies.wording import count, duration

if TYPE_CHECKING:
    from trainers.config import TaskConfig
    from trainers.data.pool import Source
    from tuner.survey.survey import ImagesSeen, Survey

_SIDES = (8, 16, 24, 32, 48, 64, 96, 128, 160, 224)  # of images as a network sees them
_SMALL = 64  # the largest side without a GPU
_ENLARGED = 1.2  # an image may be enlarged so far
_EPOCHS = (30, 40, 60, 80, 100, 150, 200)
_STEPS = {False: 4_000, True: 20_000}  # of one training, without and with a GPU
_VALIDATION = 1_000  # images in all, if the classes allow it
_BACKBONES = (12, 8, 6, 4)
_PATIENCE = 2 * 3600.0  # seconds of the whole study, if four backbones fit in
_TRAINING = 0.9  # of a study's time; heads and readings take the rest
_FRESH = 3
_GREY = {"1", "L", "LA", "I", "I;16", "I;16B", "F"}
CUSTOMARY = (100, 20)  # many, few
_ROUND = tuple(step * 10**power for power in range(6) for step in (1, 2, 3, 5, 8))


class Reasoned(NamedTuple):
    """A value, and why it was chosen, in words for a comment."""

    value: Any
    why: str


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How fast this machine trains the network of the space."""

    images_per_second: float  # of one training
    at_once: int  # trainings
    device: str  # of one training, in words


def task_settings(images: ImagesSeen, source: Source, *, gpu: bool) -> dict[str, Reasoned]:
    """Size, network, augmentation and validation, from what the images are and how many there are of each class."""
    import numpy as np

    per_class = np.bincount(source.train.labels)
    side = _side(images, gpu=gpu)
    found = {
        "model": _model(side.value, len(per_class), gpu=gpu),
        "image_size": side,
        "augment": _augment(images, source.class_names),
    }
    if source.val is None:
        most = min(100, max(20, _VALIDATION // len(per_class)))
        found["val_per_class"] = Reasoned(
            most, "validation takes a fifth of a class, and at most this many images of it"
        )
    return found


def _side(images: ImagesSeen, *, gpu: bool) -> Reasoned:
    sides = images.shorter_sides
    if not sides:
        return Reasoned(32, "no image could be opened")
    (width, height), *others = images.sizes
    if not others and width == height and width <= _SMALL:
        return Reasoned(width, f"all images are {width}x{height}")
    low = sides[len(sides) // 4]
    fitting = [side for side in _SIDES if side <= _ENLARGED * low] or [_SIDES[0]]
    side = fitting[-1] if gpu else min(fitting[-1], _SMALL)
    own = (
        f"shorter sides are {sides[0]} to {sides[-1]} pixels, of a quarter up to {low}"
        if sides[0] < sides[-1]
        else f"sides are {low} pixels"
    )
    return Reasoned(side, own + ("; larger ones need a GPU" if side < fitting[-1] else ""))


def _model(side: int, classes: int, *, gpu: bool) -> Reasoned:
    if side <= 16:
        return Reasoned("cnn-small", f"three layers are enough for {side}x{side}")
    if side > _SMALL:
        name = "resnet50" if side >= 160 else "resnet18"
        return Reasoned(name, "task.pretrained=true begins with ImageNet's weights, which are downloaded then")
    if gpu and classes >= 50:
        return Reasoned("resnet34", "512 features for many classes; the paper's network for CIFAR-100")
    if gpu or classes >= 50:
        return Reasoned("resnet32", "the literature's network for small images")
    return Reasoned("resnet20", "a small network: it trains on a CPU; resnet32 is the literature's")


def _augment(images: ImagesSeen, names: Sequence[str]) -> Reasoned:
    if all(len(name) == 1 for name in names):
        return Reasoned("crop", "a mirrored letter or digit is another one; crop_flip mirrors, too")
    if images.modes and set(images.modes) <= _GREY:
        return Reasoned("crop", "crop_flip mirrors, too: take it if a mirrored image keeps its class")
    return Reasoned("crop_flip", "take crop if a mirrored image may belong to another class")


def thresholds(counts: Sequence[int]) -> tuple[int, int] | None:
    """Bounds `many` and `few` with no empty group; None if classes do not differ enough for three groups.

    The customary ones if they fit; else round numbers that make the smallest group as large as possible.
    """
    if _smallest_group(counts, CUSTOMARY):
        return CUSTOMARY
    own = {bound for n in set(counts) for bound in (n, n + 1)} if max(counts) < 20 else set()
    bounds = sorted({bound for bound in _ROUND if min(counts) < bound <= max(counts)} | own)
    pairs = [(many, few) for few, many in itertools.combinations(bounds, 2)] + [(bound, bound) for bound in bounds]
    best = max(
        pairs, key=lambda pair: (_smallest_group(counts, pair), _roundness(pair), -_distance(pair)), default=None
    )
    return best if best and _smallest_group(counts, best) else None


def _smallest_group(counts: Sequence[int], pair: tuple[int, int]) -> int:
    many, few = pair
    above, below = sum(n > many for n in counts), sum(n < few for n in counts)
    return min(above, below, len(counts) - above - below)


def _roundness(pair: tuple[int, int]) -> int:
    return sum(bound in _ROUND and str(bound)[0] in "125" for bound in pair)


def _distance(pair: tuple[int, int]) -> float:
    return sum(abs(math.log(bound / usual)) for bound, usual in zip(pair, CUSTOMARY, strict=True))


def group_settings(found: Survey) -> dict[str, Reasoned]:
    """The bounds of many and few; none if all classes are about as large."""
    counts = [one.train for one in found.classes]
    bounds = thresholds(counts)
    if bounds is None:
        return {}
    many, few = bounds
    above, below = sum(n > many for n in counts), sum(n < few for n in counts)
    return {
        "many": Reasoned(many, f"{_classes(above)} more training images"),
        "few": Reasoned(few, f"{_classes(below)} fewer; {len(counts) - above - below:,} between"),
    }


def _classes(number: int) -> str:
    return "1 class has" if number == 1 else f"{number:,} classes have"


def space_tree(
    found: Survey,
    task: TaskConfig,
    reasons: Mapping[str, Reasoned],
    *,
    name: str,
    data: str,
    pace: Pace | None,
    gpu: bool,
) -> tuple[dict[str, Any], dict[str, str]]:
    """The space as plain values, and a comment for some of its dotted names."""
    images = found.images_of("train")
    batch = 64 if images >= 640 else 16
    epochs = _epochs(images, batch, gpu=gpu)
    backbones = _backbones(images * epochs.value, pace)
    settings = {
        "dataset": task.dataset, "data": data, "imbalance_factor": task.imbalance_factor,
        **{key: reason.value for key, reason in reasons.items()},
    }  # fmt: skip
    comments = {f"task.{key}": reason.why for key, reason in reasons.items()}
    comments |= {
        "task.data": "looked up in the current folder, then beside this file"
        if not data.startswith(("/", "~"))
        else "",
        "task.imbalance_factor": "the data as it is" if task.imbalance_factor is None else "",
        "stage1.epochs": epochs.why,
        "budget.backbones": backbones.why,
        "budget.fresh_seeds": f"{_FRESH} more trainings, for the spread over seeds; 0 leaves them out",
    }
    tree = {
        "version": 1,
        "name": name,
        "task": settings,
        "stage1": {
            "loss": "ce",
            "epochs": epochs.value,
            "batch_size": batch,
            "lr": {"low": 3e-3, "high": 2e-1, "log": True},
            "weight_decay": {"low": 1e-4, "high": 2e-2, "log": True},
        },
        "stage2": {
            "method": "weight_balancing",
            "loss": "cb_ce",
            "epochs": 10,
            "lr": {"low": 1e-3, "high": 1e-1, "log": True},
            "weight_decay": {"low": 1e-4, "high": 0.2, "log": True},
            "radius_unit": "median_norm",
            "maxnorm_radius": {"low": 0.1, "high": 3.0, "log": True},
        },
        "objective": "val.balanced_accuracy",
        "budget": {"backbones": backbones.value, "heads_per_backbone": 32, "rounds": 2, "fresh_seeds": _FRESH},
        "sampler": {"stage1": "gp", "stage2": "tpe", "seed": 0},
        "refine": {"top": 2, "heads": 32},
        "baselines": ["naive", "weight_decay", "l2_norm", "tau_norm", "logit_adjustment"],
    }
    return tree, {key: words for key, words in comments.items() if words}


def _epochs(images: int, batch: int, *, gpu: bool) -> Reasoned:
    """Enough steps for the weight decay to matter, within the customary lengths."""
    per_epoch = max(1, -(-images // batch))
    wanted = _STEPS[gpu] / per_epoch
    epochs = min(_EPOCHS, key=lambda length: abs(math.log(length / wanted)))
    return Reasoned(epochs, f"{count(per_epoch * epochs, 'step')} of {batch} images")


def _backbones(work: int, pace: Pace | None) -> Reasoned:
    """As many as fit into two hours, of trainings that process `work` images each."""
    if pace is None:
        return Reasoned(_BACKBONES[1], "how long one takes here could not be measured")
    one = work / pace.images_per_second
    backbones = next((n for n in _BACKBONES if _whole(n, one, pace) <= _PATIENCE), _BACKBONES[-1])
    at_once = f", {pace.at_once} at a time" if pace.at_once > 1 else ""
    return Reasoned(
        backbones,
        f"about {duration(_whole(backbones, one, pace))} on this machine: {backbones + _FRESH + 1} trainings of "
        f"{duration(one)}{at_once}, at the {pace.images_per_second:,.0f} images/s that one reached on {pace.device}",
    )


def _whole(backbones: int, one: float, pace: Pace) -> float:
    """Seconds of the study: its backbones, fresh seeds and the naive baseline."""
    return (backbones + _FRESH + 1) * one / pace.at_once / _TRAINING
