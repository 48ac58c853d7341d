from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from trainers.features import FeatureBank, class_separation, classifier_alignment, epoch_order, extract_bank

CPU = torch.device("cpu")


@dataclass(frozen=True)
class FakeSplit:
    """Images in memory; those of a training split get fresh noise from the generator."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def batches(
        self, order: Tensor | None, *, batch_size: int, device: torch.device, generator: torch.Generator | None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.arange(len(self)) if order is None else order
        for first in range(0, len(self), batch_size):
            index = order[first : first + batch_size]
            images = self.images[index]
            if generator is not None:
                images = images + torch.randn(images.shape, generator=generator)
            yield images.to(device), self.labels[index].to(device)


@dataclass(frozen=True)
class FakeTask:
    train: FakeSplit
    val: FakeSplit


class SmallNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.classifier = nn.Linear(6, 4)

    def features(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)).relu().mean((2, 3))


def _setup() -> tuple[SmallNet, FakeTask]:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    sizes = {"train": 50, "val": 20}
    splits = {
        name: FakeSplit(torch.randn(n, 3, 8, 8, generator=generator), torch.arange(n) % 4) for name, n in sizes.items()
    }
    return SmallNet().train(), FakeTask(**splits)


def _extract(mode: str, seed: int = 3) -> FeatureBank:
    model, task = _setup()
    return extract_bank(
        model, task, mode=mode, epochs=3, batch_size=16, seed=seed, splits=["val"], device=CPU, precision="fp32"
    )


@pytest.mark.parametrize(("mode", "views"), [("search", 2), ("default", 3), ("replay", 3)])
def test_views_are_placed_by_image(mode: str, views: int) -> None:
    bank = _extract(mode)
    model, task = _setup()
    assert bank.train.shape == (views, 50, 6)
    assert torch.equal(bank.labels, task.train.labels)
    assert not torch.equal(bank.view(0), bank.view(1))
    if mode != "replay":
        with torch.no_grad():
            plain = model.eval().features(task.train.images)  # the noise moves a feature's place, not its image
            torch.testing.assert_close(bank.splits["val"].features, model.features(task.val.images))
        nearest = torch.cdist(bank.train.mean(0), plain)
        assert nearest.diagonal().mean() < nearest.mean()


def test_replay_is_the_loop_that_runs_the_backbone_every_epoch() -> None:
    bank = _extract("replay")
    model, task = _setup()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for epoch in range(3):
            model.train()
            order = epoch_order(50, 3, epoch)
            batches = task.train.batches(order, batch_size=16, device=CPU, generator=generator)
            for index, (images, _) in zip(order.split(16), batches, strict=True):
                torch.testing.assert_close(bank.view(epoch)[index], model.features(images), rtol=1e-5, atol=1e-6)
            seen = model.eval().features(task.val.images)
            torch.testing.assert_close(bank.split_at("val", epoch).features, seen, rtol=1e-5, atol=1e-6)
    assert torch.equal(bank.splits["val"].features, bank.split_at("val", 2).features)
    assert not torch.equal(bank.split_at("val", 0).features, bank.split_at("val", 2).features)


@pytest.mark.parametrize("mode", ["search", "replay"])
def test_a_mirrored_split_has_the_mean_of_image_and_mirror_image(mode: str) -> None:
    model, task = _setup()
    model.conv.weight.data[..., 0] = 0  # no filter is the mirror image of itself

    def look(mirrored: list[str], images: FakeSplit) -> Tensor:
        bank = extract_bank(
            model, FakeTask(task.train, images), mode=mode, epochs=2, batch_size=16, seed=0, splits=["val"],
            device=CPU, precision="fp32", mirrored=mirrored,
        )  # fmt: skip
        return bank.splits["val"].features

    plain = look([], task.val)
    turned = look([], FakeSplit(task.val.images.flip(3), task.val.labels))
    assert not torch.allclose(plain, turned)
    torch.testing.assert_close(look(["val"], task.val), (plain + turned) / 2)


@pytest.mark.parametrize("mode", ["search", "replay"])
def test_extraction_leaves_the_model_as_it_was(mode: str) -> None:
    model, task = _setup()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    extract_bank(model, task, mode=mode, epochs=2, batch_size=16, seed=0, splits=[], device=CPU, precision="fp32")
    assert model.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_extraction_is_bitwise_repeatable_and_moved_by_the_seed() -> None:
    assert torch.equal(_extract("default").train, _extract("default").train)
    assert not torch.equal(_extract("default").train, _extract("default", seed=4).train)


@pytest.mark.parametrize("mode", ["search", "replay"])
def test_a_bank_survives_a_file(mode: str) -> None:
    bank = _extract(mode)
    tensors = bank.to_tensors()
    again = FeatureBank.from_tensors(tensors)
    assert (again.order_seed, again.replay_batch_size) == (bank.order_seed, bank.replay_batch_size)
    assert again.to_tensors().keys() == tensors.keys()
    assert all(torch.equal(again.to_tensors()[name], tensor) for name, tensor in tensors.items())


def test_bf16_features_stay_close() -> None:
    model, task = _setup()
    bank = extract_bank(
        model, task, mode="search", epochs=1, batch_size=8, seed=3, splits=["val"], device=CPU, precision="bf16"
    )
    assert (bank.train.float() - _extract("search").train).abs().max() < 0.05


def _clusters(spread: float, width: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.repeat_interleave(torch.arange(3), torch.tensor([40, 20, 8]))
    means = 3 * torch.randn(3, width, generator=generator, dtype=torch.float64)
    return means[labels] + spread * torch.randn(len(labels), width, generator=generator), labels


def test_separation_agrees_with_numpy() -> None:
    features, labels = _clusters(0.5)
    x, y = features.numpy(), labels.numpy()
    means = np.stack([x[y == k].mean(0) for k in range(3)])
    n = np.bincount(y)
    scatter = [(x[y == k] - means[k]).T @ (x[y == k] - means[k]) for k in range(3)]
    between = (n[:, None] * (means - x.mean(0))).T @ (means - x.mean(0))
    centred = means - means.mean(0)
    averaged = sum(scatter[k] / n[k] for k in range(3)) / 3
    norms = np.linalg.norm(centred, axis=1)
    separation = class_separation(features, labels)
    assert separation["fdr"] == pytest.approx(np.trace(np.linalg.inv(sum(scatter)) @ between))
    assert separation["nc1"] == pytest.approx(np.trace(averaged @ np.linalg.pinv(centred.T @ centred / 3)) / 3)
    assert separation["nc2"] == pytest.approx(norms.std() / norms.mean())


def test_separation_is_unmoved_by_shift_scale_and_constant_dimensions() -> None:
    features, labels = _clusters(0.5)
    wider = torch.cat([4 * features + 7, torch.full((len(labels), 2), 3.0)], dim=1)
    assert class_separation(wider, labels) == pytest.approx(class_separation(features, labels))


def test_tighter_clusters_separate_better() -> None:
    tight, loose = (class_separation(*_clusters(spread)) for spread in (0.2, 1.0))
    assert tight["fdr"] > loose["fdr"]
    assert tight["nc1"] < loose["nc1"]


def test_separation_is_finite_with_more_dimensions_than_images() -> None:
    assert all(math.isfinite(value) for value in class_separation(*_clusters(0.5, width=200)).values())


def test_separation_of_one_class_is_none() -> None:
    assert set(class_separation(torch.randn(5, 3), torch.zeros(5, dtype=torch.long)).values()) == {None}


def test_a_classifier_of_centred_means_is_aligned() -> None:
    features, labels = _clusters(0.3)
    means = torch.stack([features[labels == k].mean(0) for k in range(3)])
    centred = means - means.mean(0)
    assert classifier_alignment(5 * centred, features, labels) == pytest.approx(0, abs=1e-12)
    assert classifier_alignment(-centred, features, labels) == pytest.approx(2)
    assert classifier_alignment(0 * centred, features, labels) is None
