"""The baselines: the loops as they are usually written, kept plain on purpose.

PIL transforms one image at a time in a DataLoader, float32, NCHW, autograd, one configuration after another, the whole
backbone in every epoch of stage 2, as in the released code (SGD momentum 0.9, batch 64, class-balanced BCE on softmax).
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from trainers.config import Stage2Config
from trainers.features import ImageTask, epoch_order, extraction_batch
from trainers.losses import make_loss
from trainers.schedule import learning_rate
from trainers.stage1.models import Network
from trainers.stage2.recipe import stage2_loss, stage2_radius
from trainers.weight_balance import LinearHead, project_maxnorm

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


class PilImages(Dataset[tuple[Tensor, int]]):
    """Images as PIL, transformed one by one."""

    def __init__(self, images: Tensor, labels: Tensor, *, augment: bool) -> None:
        self.images = [Image.fromarray(np.asarray(image.permute(1, 2, 0))) for image in images]
        self.labels = labels.tolist()
        steps = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()] if augment else []
        self.transform = transforms.Compose([*steps, transforms.ToTensor(), transforms.Normalize(MEAN, STD)])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(self.images[index]), self.labels[index]


def stage1_step(model: nn.Module, optimizer: torch.optim.SGD, images: Tensor, labels: Tensor) -> float:
    """One step of stage 1."""
    loss = nn.functional.cross_entropy(model(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def stage2_epoch(
    model: nn.Module, train: PilImages, test: PilImages, counts: list[int], *, lr: float, weight_decay: float
) -> float:
    """One epoch of stage 2 with its look at the test images; returns their accuracy."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(("classifier", "fc", "linear")))
    learnt = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(learnt, lr=lr, momentum=0.9, weight_decay=weight_decay)
    criterion = make_loss("cb_bce_softmax", counts, beta=0.9999)
    model.train()
    for images, labels in DataLoader(train, batch_size=64, shuffle=True):
        loss = criterion(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
    model.eval()
    correct = 0
    with torch.no_grad():
        for images, labels in DataLoader(test, batch_size=64):
            correct += int((model(images).argmax(1) == labels).sum())
    return correct / len(test)


def stage2_every_epoch(
    network: Network, task: ImageTask, config: Stage2Config, counts: list[int], *, training_mode: bool, seed: int
) -> tuple[LinearHead, Network]:
    """Stage 2 with the images going through the backbone in every epoch, BatchNorm in training mode or not.

    The order, the augmentation draws and the recipe are those of the cached way, so that both must end at the same
    classifier; returned with the network, whose running statistics have moved on in training mode.
    """
    network = copy.deepcopy(network)
    weight, bias = network.classifier.weight.detach().clone(), network.classifier.bias.detach().clone()
    radius = stage2_radius(LinearHead(weight, bias), config)
    weight.requires_grad_(), bias.requires_grad_()
    optimizer = torch.optim.SGD(
        [weight, bias], lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay
    )
    criterion = stage2_loss(config, counts)
    generator = torch.Generator().manual_seed(seed)
    device = torch.device("cpu")
    loaded = config.batch_size if training_mode else extraction_batch(device)  # what the augmentation draws go by
    network.train(training_mode)
    for epoch in range(config.epochs):
        optimizer.param_groups[0]["lr"] = learning_rate(config, epoch)
        order = epoch_order(len(task.train), seed, epoch)
        for images, labels in task.train.batches(order, batch_size=loaded, device=device, generator=generator):
            for x, y in zip(images.split(config.batch_size), labels.split(config.batch_size), strict=True):
                with torch.no_grad():
                    features = network.features(x)
                optimizer.zero_grad()
                criterion(nn.functional.linear(features, weight, bias), y).backward()
                optimizer.step()
                with torch.no_grad():
                    weight.copy_(project_maxnorm(weight, radius))
    return LinearHead(weight.detach(), bias.detach()), network.eval()
