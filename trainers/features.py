"""Features of a frozen backbone, extracted once for stage 2; and measures of how well they separate classes.

With a frozen backbone, the features of an epoch depend on batch order, augmentation and BatchNorm's history, never on
the classifier. So the same views serve every head exactly, also in `replay`.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, cast

import torch
from torch import Tensor, nn

from trainers.errors import ConfigError
from trainers.stage1.precision import Precision, arithmetic, autocast
from trainers.stage1.random_numbers import OwnDraws

FeatureMode = Literal["search", "default", "replay"]

SEARCH_VIEWS = 2
_BATCH = {"cpu": 128, "cuda": 512}  # fastest: on a CPU a layer's maps stay in the cache


class Split(Protocol):
    """Images of one split of a task."""

    @property
    def labels(self) -> Tensor: ...

    def __len__(self) -> int: ...

    def batches(
        self, order: Tensor | None, *, batch_size: int, device: torch.device, generator: torch.Generator | None
    ) -> Iterator[tuple[Tensor, Tensor]]: ...


class ImageTask(Protocol):
    """The part of a task that extraction reads; further splits are attributes by name."""

    @property
    def train(self) -> Split: ...


class FeatureNetwork(Protocol):
    """A network with features for a classifier."""

    def features(self, images: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class LabelledFeatures:
    """Features of a split for evaluation."""

    features: Tensor  # (N, D)
    labels: Tensor  # (N,)


@dataclass(frozen=True)
class FeatureBank:
    """The input of stage 2. Features are float32, or bfloat16 if computed in it."""

    train: Tensor  # (K views, N, D)
    labels: Tensor  # (N,)
    order_seed: int
    splits: Mapping[str, LabelledFeatures]  # with the backbone as stage 1 left it; in replay, after the last epoch
    replay: Mapping[str, Tensor] = field(default_factory=dict)  # by split, (K epochs, N, D): after each epoch
    replay_batch_size: int | None = None  # of the replay, exact for no other

    def view(self, epoch: int) -> Tensor:
        """Training features (N, D) of an epoch (from 0)."""
        return self.train[epoch % len(self.train)]

    def split_at(self, name: str, epoch: int) -> LabelledFeatures:
        """Features of a split after `epoch` (from 0); only in a replay they differ between epochs."""
        if name in self.replay:
            return LabelledFeatures(self.replay[name][epoch], self.splits[name].labels)
        return self.splits[name]

    def first(self, views: int) -> FeatureBank:
        """This bank with only its first `views` views, the same as a bank extracted with that many."""
        return dataclasses.replace(self, train=self.train[:views])

    def with_split(self, name: str, split: LabelledFeatures) -> FeatureBank:
        """This bank with another split."""
        return dataclasses.replace(self, splits={**self.splits, name: split})

    def to(self, device: torch.device | str) -> FeatureBank:
        """This bank on `device`."""
        return FeatureBank.from_tensors({name: tensor.to(device) for name, tensor in self.to_tensors().items()})

    def to_tensors(self) -> dict[str, Tensor]:
        """The bank as flat tensors for a file; `from_tensors` is the inverse."""
        tensors = {"train": self.train, "labels": self.labels, "order_seed": torch.tensor(self.order_seed)}
        for name, split in self.splits.items():
            tensors |= {f"splits.{name}.features": split.features, f"splits.{name}.labels": split.labels}
        tensors |= {f"replay.{name}": features for name, features in self.replay.items()}
        if self.replay_batch_size is not None:
            tensors["replay_batch_size"] = torch.tensor(self.replay_batch_size)
        return tensors

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> FeatureBank:
        """The bank that `to_tensors` wrote."""
        names = [key.split(".")[1] for key in tensors if key.startswith("splits.") and key.endswith(".labels")]
        batch_size = tensors.get("replay_batch_size")
        return cls(
            train=tensors["train"],
            labels=tensors["labels"],
            order_seed=int(tensors["order_seed"]),
            splits={
                name: LabelledFeatures(tensors[f"splits.{name}.features"], tensors[f"splits.{name}.labels"])
                for name in names
            },
            replay={name: tensors[f"replay.{name}"] for name in names if f"replay.{name}" in tensors},
            replay_batch_size=None if batch_size is None else int(batch_size),
        )


def extract_bank(
    model: nn.Module,
    task: ImageTask,
    *,
    mode: FeatureMode,
    epochs: int,
    batch_size: int,
    seed: int,
    splits: Sequence[str],
    device: torch.device,
    precision: Precision,
    mirrored: Sequence[str] = (),
) -> FeatureBank:
    """Extracts augmented views of the training images, and the named `splits` (`val`, `test`); does not change `model`.

    `search` is two views, `default` one per stage-2 epoch, both with BatchNorm's running statistics. `replay` is the
    released loop: the network runs in training mode on stage 2's batches of `batch_size`, its statistics change from
    epoch to epoch, and each split is extracted after every epoch. Features of the splits in `mirrored` are the mean
    over image and mirror image; heads are linear, so this averages their logits too. Raises ConfigError when a split's
    batches do not visit each image once, and DataError for an image that cannot be decoded.
    """
    network = copy.deepcopy(model)  # replay changes its running statistics
    seen = {name: (cast(Split, getattr(task, name)), name in mirrored) for name in splits}
    extractor = Extractor(network, device, precision)
    generator = torch.Generator().manual_seed(seed)
    train = torch.empty(0)
    history: dict[str, list[Tensor]] = {name: [] for name in splits}
    for epoch in range(count := views(mode, epochs)):
        order = epoch_order(len(task.train), seed, epoch)
        network.train(mode == "replay")
        size = batch_size if mode == "replay" else extraction_batch(device)
        with OwnDraws(seed, epoch, device):
            view = extractor.extract(task.train, order, size, generator)
        if epoch == 0:
            train = view.new_empty(count, *view.shape)
        train[epoch] = view
        if mode == "replay":
            network.eval()
            for name, (split, both) in seen.items():
                history[name].append(extractor.look(split, mirrored=both))
    network.eval()
    replay = {name: torch.stack(epochs_seen) for name, epochs_seen in history.items() if epochs_seen}
    return FeatureBank(
        train=train,
        labels=task.train.labels.to(device),
        order_seed=seed,
        splits={
            name: LabelledFeatures(
                replay[name][-1].clone() if name in replay else extractor.look(split, mirrored=both),
                split.labels.to(device),
            )
            for name, (split, both) in seen.items()
        },
        replay=replay,
        replay_batch_size=batch_size if mode == "replay" else None,
    )


@torch.no_grad()
def extract_split(
    model: nn.Module, split: Split, *, device: torch.device, precision: Precision, mirrored: bool
) -> LabelledFeatures:
    """Features of a split for evaluation, with BatchNorm's running statistics; `mirrored` as above."""
    model.eval()
    features = Extractor(model, device, precision).look(split, mirrored=mirrored)
    return LabelledFeatures(features, split.labels.to(device))


def extraction_batch(device: torch.device) -> int:
    """The batch size in evaluation mode, which affects speed only."""
    return _BATCH["cpu" if device.type == "cpu" else "cuda"]


def views(mode: FeatureMode, epochs: int) -> int:
    """How many views of the training images a stage 2 of `epochs` epochs uses."""
    return SEARCH_VIEWS if mode == "search" else epochs


def epoch_order(images: int, seed: int, epoch: int) -> Tensor:
    """The order (N,) in which an epoch (from 0) visits the images; depends only on the arguments."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    return torch.randperm(images, generator=generator)


@dataclass(frozen=True)
class Extractor:
    network: nn.Module
    device: torch.device
    precision: Precision

    def look(self, split: Split, *, mirrored: bool) -> Tensor:
        """Features (N, D) of a split for evaluation."""
        size = extraction_batch(self.device)
        plain = self.extract(split, None, size, None)
        if not mirrored:
            return plain
        return (plain + self.extract(split, None, size, None, mirror=True)) / 2

    @torch.no_grad()
    def extract(
        self,
        split: Split,
        order: Tensor | None,
        batch_size: int,
        generator: torch.Generator | None,
        *,
        mirror: bool = False,
    ) -> Tensor:
        """Features (N, D) in the order of the images, however they are visited; `mirror` flips them left to right."""
        order = torch.arange(len(split)) if order is None else order
        network = cast(FeatureNetwork, self.network)
        features, start, rows = torch.empty(0), 0, order.to(self.device)
        batches = split.batches(order, batch_size=batch_size, device=self.device, generator=generator)
        with arithmetic(self.precision, self.device), autocast(self.precision, self.device):
            for images, labels in batches:
                looked_at = images.flip(3) if mirror else images  # (B, C, H, W)
                batch = network.features(looked_at.contiguous(memory_format=torch.channels_last))  # (B, D)
                if start == 0:
                    features = batch.new_empty(len(split), batch.shape[1])
                features[rows[start : start + len(labels)]] = batch
                start += len(labels)
        if start != len(split):
            raise ConfigError(f"the split gave {start} of its {len(split)} images; its batches must visit each once")
        return features


def class_separation(features: Tensor, labels: Tensor) -> dict[str, float | None]:
    """Separation of the classes in features (N, D) with labels (N,); in float64, without constant dimensions.

    `fdr`: tr(S_W^+ S_B), S_B = sum_k n_k (mu_k - mu)(.)^T about the sample mean, S_W = sum_i (x_i - mu_y)(.)^T
    (Hasegawa & Sato 2024). `nc1`: tr(S_W S_B^+) / C with class-averaged matrices, and `nc2`: std/mean of
    ||mu_k - mu_G||, mu_G the mean of class means (Papyan et al. 2020). None with fewer than two classes.
    """
    x, index, sizes = _live(features, labels)
    if len(sizes) < 2 or not x.shape[1]:
        return {"fdr": None, "nc1": None, "nc2": None}
    means = _class_means(x, index, sizes)  # (C, D)
    within = x - means[index]  # (N, D)
    between = (means - x.mean(0)) * sizes.sqrt().unsqueeze(1)  # rows whose Gram matrix is S_B
    fdr = (torch.linalg.pinv(within.T @ within, hermitian=True) * (between.T @ between)).sum()
    averaged = within / (sizes[index] * len(sizes)).sqrt().unsqueeze(1)  # Gram matrix: class-averaged S_W
    centred = means - means.mean(0)  # Gram matrix: C times class-averaged S_B, of rank C - 1 at most
    singular, directions = _range(centred, rank=len(sizes) - 1)
    nc1 = ((averaged @ directions.T).square().sum(0) / singular.square()).sum()  # C and 1/C cancel
    norms = centred.norm(dim=1)
    return {"fdr": fdr.item(), "nc1": nc1.item(), "nc2": (norms.std(correction=0) / norms.mean()).item()}


def classifier_alignment(weight: Tensor, features: Tensor, labels: Tensor) -> float | None:
    """NC3: || W/||W|| - M/||M|| ||_F, M the centred class means (C, D); 0 is self-dual (Papyan et al. 2020).

    Classes without features are left out; None with fewer than two classes, or where W or M is 0.
    """
    index, sizes = torch.unique(labels, return_inverse=True, return_counts=True)[1:]
    means = _class_means(features.double(), index, sizes.double())
    centred = means - means.mean(0)
    rows = weight.detach().to(means)[torch.unique(labels)]
    if len(sizes) < 2 or not rows.any() or not centred.any():
        return None
    return float((_unit(rows) - _unit(centred)).square().sum().sqrt())


def _unit(matrix: Tensor) -> Tensor:
    """`matrix` with Frobenius norm 1."""
    return matrix / matrix.square().sum().sqrt()


def _live(features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Features without constant dimensions (N, D'), classes renumbered to those present (N,), their sizes (C',)."""
    x = features.double()
    spread = x.amax(0) - x.amin(0)
    _, index, sizes = torch.unique(labels, return_inverse=True, return_counts=True)
    return x[:, spread > 0], index, sizes.double()


def _class_means(x: Tensor, index: Tensor, sizes: Tensor) -> Tensor:
    return x.new_zeros(len(sizes), x.shape[1]).index_add_(0, index, x) / sizes.unsqueeze(1)


def _range(rows: Tensor, *, rank: int) -> tuple[Tensor, Tensor]:
    """Singular values (R,) and right singular vectors (R, D) of `rows` above rounding error, at most `rank`."""
    _, singular, directions = torch.linalg.svd(rows, full_matrices=False)
    kept = singular[:rank] > singular[0] * max(rows.shape) * torch.finfo(rows.dtype).eps
    return singular[:rank][kept], directions[:rank][kept]
