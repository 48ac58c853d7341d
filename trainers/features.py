"""Cached features: what stage 2 needs of a frozen backbone, extracted once; and how well they separate classes.

With the backbone frozen, the features of an epoch depend on batch order, augmentation draws and BatchNorm's history,
never on the classifier. So one stream of views serves every head exactly, `replay` included.
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
from trainers.stage1.precision import Precision, autocast
from trainers.stage1.random_numbers import own_draws

FeatureMode = Literal["search", "default", "replay"]

SEARCH_VIEWS = 2
_BATCH = {"cpu": 128, "cuda": 512}  # quickest: on a processor the maps of a layer stay in its cache


class Split(Protocol):
    """Images of one split, as the task gives them."""

    @property
    def labels(self) -> Tensor: ...

    def __len__(self) -> int: ...

    def batches(
        self, order: Tensor | None, *, batch_size: int, device: torch.device, generator: torch.Generator | None
    ) -> Iterator[tuple[Tensor, Tensor]]: ...


class ImageTask(Protocol):
    """The part of a task that extraction looks at; further splits are attributes of their name."""

    @property
    def train(self) -> Split: ...


class FeatureNetwork(Protocol):
    """A network whose features the classifier sees."""

    def features(self, images: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class LabelledFeatures:
    """Features of a split that is only looked at."""

    features: Tensor  # (N, D)
    labels: Tensor  # (N,)


@dataclass(frozen=True)
class FeatureBank:
    """Everything stage 2 reads. Features are float32, or bfloat16 where they were computed so."""

    train: Tensor  # (K views, N, D)
    labels: Tensor  # (N,)
    order_seed: int
    splits: Mapping[str, LabelledFeatures]  # as the backbone leaves stage 1; in replay, after the last epoch
    replay: Mapping[str, Tensor] = field(default_factory=dict)  # by split, (K epochs, N, D): after each epoch
    replay_batch_size: int | None = None  # the only one a replay is exact for

    def view(self, epoch: int) -> Tensor:
        """Training features (N, D) of an epoch, counted from 0."""
        return self.train[epoch % len(self.train)]

    def split_at(self, name: str, epoch: int) -> LabelledFeatures:
        """A split as the network sees it after `epoch` (from 0); the same in every epoch unless this is a replay."""
        if name in self.replay:
            return LabelledFeatures(self.replay[name][epoch], self.splits[name].labels)
        return self.splits[name]

    def first(self, views: int) -> FeatureBank:
        """This bank with its first `views` views alone, which are the ones that a smaller bank would hold."""
        return dataclasses.replace(self, train=self.train[:views])

    def with_split(self, name: str, split: LabelledFeatures) -> FeatureBank:
        """This bank with one more split."""
        return dataclasses.replace(self, splits={**self.splits, name: split})

    def to(self, device: torch.device | str) -> FeatureBank:
        """This bank on `device`."""
        return FeatureBank.from_tensors({name: tensor.to(device) for name, tensor in self.to_tensors().items()})

    def to_tensors(self) -> dict[str, Tensor]:
        """Flat and whole, for a file; `from_tensors` reads it back."""
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
    """Extracts augmented views of the training images and the named `splits` (`val`, `test`); `model` stays as it was.

    `search` is two views, `default` one a stage-2 epoch, both with BatchNorm's running statistics. `replay` is the
    released loop: the network in training mode on stage 2's own batches of `batch_size`, its statistics moving on from
    epoch to epoch, and each split seen after every epoch. Features of the splits named in `mirrored` are the mean over
    image and mirror image: heads are linear, so their logits are the mean of both, too. Raises ConfigError when a
    split's batches do not visit each image once, and DataError for an image that cannot be decoded.
    """
    network = copy.deepcopy(model)  # replay moves its running statistics
    seen = {name: (cast(Split, getattr(task, name)), name in mirrored) for name in splits}
    extractor = Extractor(network, device, precision)
    generator = torch.Generator().manual_seed(seed)
    train = torch.empty(0)
    history: dict[str, list[Tensor]] = {name: [] for name in splits}
    for epoch in range(count := views(mode, epochs)):
        order = epoch_order(len(task.train), seed, epoch)
        network.train(mode == "replay")
        size = batch_size if mode == "replay" else extraction_batch(device)
        with own_draws(seed, epoch, device):
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
    """Features of a split that is only looked at, BatchNorm with its running statistics; `mirrored` as above."""
    model.eval()
    features = Extractor(model, device, precision).look(split, mirrored=mirrored)
    return LabelledFeatures(features, split.labels.to(device))


def extraction_batch(device: torch.device) -> int:
    """Images looked at at once where BatchNorm does not look at the batch: a matter of speed alone."""
    return _BATCH["cpu" if device.type == "cpu" else "cuda"]


def views(mode: FeatureMode, epochs: int) -> int:
    """How many views of the training images a stage 2 of so many epochs sees."""
    return SEARCH_VIEWS if mode == "search" else epochs


def epoch_order(images: int, seed: int, epoch: int) -> Tensor:
    """The order (N,) in which an epoch (from 0) visits the images; a function of its arguments alone."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    return torch.randperm(images, generator=generator)


@dataclass(frozen=True)
class Extractor:
    network: nn.Module
    device: torch.device
    precision: Precision

    def look(self, split: Split, *, mirrored: bool) -> Tensor:
        """Features (N, D) of a split that is not trained on."""
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
        """Features (N, D), placed by image whatever the order; `mirror` turns images left to right."""
        order = torch.arange(len(split)) if order is None else order
        network = cast(FeatureNetwork, self.network)
        features, start, rows = torch.empty(0), 0, order.to(self.device)
        batches = split.batches(order, batch_size=batch_size, device=self.device, generator=generator)
        with autocast(self.precision, self.device):
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
    """How far classes lie apart in features (N, D) with labels (N,); float64, constant dimensions left out.

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
    """Singular values (R,) and right singular vectors (R, D) of `rows` that are not rounding, at most `rank`."""
    _, singular, directions = torch.linalg.svd(rows, full_matrices=False)
    kept = singular[:rank] > singular[0] * max(rows.shape) * torch.finfo(rows.dtype).eps
    return singular[:rank][kept], directions[:rank][kept]
