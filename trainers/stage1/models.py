"""Networks with one interface: `features(x)` gives (N, D), and `classifier` is a Linear layer on top."""

from __future__ import annotations

import contextlib
import difflib
import math

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from trainers.errors import ConfigError
from trainers.stage1.pretrained import pretrained_model

OWN_NAMES = ("cnn-small", "resnet20", "resnet32", "resnet18", "resnet34")
SMALL_IMAGE = 64  # up to this size resnet18 and resnet34 have a stem for small images
_CIFAR_BLOCKS = {"resnet20": 3, "resnet32": 5}  # per stage: depth = 6n + 2
_NOT_OFFERED = ("googlenet", "inception_v3", "squeezenet1_0", "squeezenet1_1")  # auxiliary heads, or no Linear layer


class Network(nn.Module):
    """A trunk that ends in (N, D) features, and a linear classifier."""

    def __init__(self, trunk: nn.Module, feature_dim: int, num_classes: int, *, grey_to_rgb: bool = False) -> None:
        super().__init__()
        self.trunk = trunk
        self.classifier = nn.Linear(feature_dim, num_classes)
        self.feature_dim = feature_dim
        self._grey_to_rgb = grey_to_rgb

    def features(self, images: Tensor) -> Tensor:
        """(N, C, H, W) normalised images to (N, D) features."""
        features: Tensor = self.trunk(images.expand(-1, 3, -1, -1) if self._grey_to_rgb else images)
        return features

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, num_classes)."""
        logits: Tensor = self.classifier(self.features(images))
        return logits


def build_model(
    name: str,
    num_classes: int,
    *,
    in_channels: int = 3,
    image_size: int = 32,
    pretrained: bool = False,
    seed: int | None = None,
) -> Network:
    """Builds a network by name: one of `OWN_NAMES`, or any classification model of torchvision that ends in a Linear.

    With `seed` the weights depend only on it, and the global random state does not change. `pretrained` loads
    torchvision's ImageNet weights, and downloads them if needed; a replaced stem and the classifier start fresh.
    Above `SMALL_IMAGE` resnet18 and resnet34 are torchvision's, with stem and max-pool.
    Raises ConfigError for an unknown name, or a network that cannot take such images.
    """
    if num_classes < 2:
        raise ConfigError(f"a classifier needs at least 2 classes, but got {num_classes}")
    with contextlib.ExitStack() as stack:
        if seed is not None:
            stack.enter_context(torch.random.fork_rng(devices=[]))
            torch.default_generator.manual_seed(seed)
        if name in ("resnet18", "resnet34") and image_size <= SMALL_IMAGE:
            return _small_image_resnet(name, num_classes, in_channels, pretrained=pretrained)
        if name not in OWN_NAMES or name in ("resnet18", "resnet34"):
            return _torchvision_model(name, num_classes, in_channels, image_size, pretrained=pretrained)
        if pretrained:
            raise ConfigError(f"task.pretrained: there are no pretrained weights of {name}; set it to false")
        if name == "cnn-small":
            return Network(_small_cnn(in_channels), 128, num_classes)
        return _cifar_resnet(name, num_classes, in_channels)


def simplex_etf(num_classes: int, feature_dim: int, *, generator: torch.Generator) -> Tensor:
    """A simplex equiangular tight frame in a random orientation: (C, D), rows of norm 1, cosines -1 / (C - 1).

    W^T = sqrt(C / (C - 1)) P (I - 11^T / C), P with orthonormal columns (Hasegawa & Sato 2024; Papyan et al. 2020).
    Raises ConfigError unless D >= C - 1.
    """
    if num_classes < 2 or feature_dim < num_classes - 1:
        raise ConfigError(
            f"an ETF classifier needs 2 <= C and C - 1 <= D, but got C = {num_classes} classes and D = {feature_dim} "
            "features; take a wider task.model or stage1.classifier=linear"
        )
    rank = num_classes - 1
    centred = torch.eye(num_classes, dtype=torch.float64) - 1 / num_classes  # I - 11^T / C, of rank C - 1
    basis: Tensor = torch.linalg.qr(centred[:, :rank]).Q  # (C, C - 1) spans its range, so that D = C - 1 is enough
    random = torch.randn(feature_dim, rank, dtype=torch.float64, generator=generator, device=generator.device)
    orientation: Tensor = torch.linalg.qr(random).Q.cpu()  # (D, C - 1)
    return (math.sqrt(num_classes / rank) * basis @ orientation.T).float()


def _small_cnn(in_channels: int) -> nn.Module:
    """Three 3x3 convolutions of stride 1, 2, 2; 94 thousand parameters at 10 classes; for 8x8 to 32x32 images."""
    layers: list[nn.Module] = []
    for wide_in, wide_out, stride in ((in_channels, 32, 1), (32, 64, 2), (64, 128, 2)):
        convolution = nn.Conv2d(wide_in, wide_out, 3, stride=stride, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(wide_out), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


class _CifarBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut without parameters (He et al. 2016, section 4.2, option A)."""

    def __init__(self, wide_in: int, wide_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(wide_in, wide_out, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(wide_out)
        self.conv2 = nn.Conv2d(wide_out, wide_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(wide_out)
        self.stride = stride
        self.extra = (wide_out - wide_in) // 2  # zero channels on each side of the shortcut

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)), inplace=True)))  # BatchNorm keeps only its input
        if self.stride > 1:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.extra, self.extra))
        result: Tensor = F.relu(out.add_(x), inplace=True)
        return result


def _cifar_resnet(name: str, num_classes: int, in_channels: int) -> Network:
    """16-32-64 channels; at 10 classes 269,722 (resnet20) and 464,154 (resnet32) parameters, as in LDAM-DRW."""
    stem = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
    layers: list[nn.Module] = [stem, nn.BatchNorm2d(16), nn.ReLU(inplace=True)]
    wide_in = 16
    for wide_out in (16, 32, 64):
        for block in range(_CIFAR_BLOCKS[name]):
            layers.append(_CifarBlock(wide_in, wide_out, stride=2 if block == 0 and wide_out > 16 else 1))
            wide_in = wide_out
    network = Network(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), 64, num_classes)
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight)
    return network


def _small_image_resnet(name: str, num_classes: int, in_channels: int, *, pretrained: bool) -> Network:
    """Basic-block ResNet as released by Alshammari et al.: 3x3 stem of stride 1, no max-pool, 512 features."""
    trunk = _from_torchvision(name, pretrained=pretrained)
    trunk.conv1 = nn.Conv2d(in_channels, 64, 3, padding=1, bias=False)
    trunk.maxpool = nn.Identity()
    trunk.fc = nn.Identity()
    return Network(trunk, 512, num_classes)


def _torchvision_model(name: str, num_classes: int, in_channels: int, image_size: int, *, pretrained: bool) -> Network:
    offered = [n for n in torchvision.models.list_models(module=torchvision.models) if n not in _NOT_OFFERED]
    if name not in offered:
        near = difflib.get_close_matches(name, [*OWN_NAMES, *offered], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(
            f"task.model: must be one of {', '.join(OWN_NAMES)} or a classification model of torchvision, "
            f"but got {name!r}{hint}"
        )
    if in_channels not in (1, 3):
        raise ConfigError(f"task.model: {name} takes grey or RGB images, but these have {in_channels} channels")
    trunk = _from_torchvision(name, pretrained=pretrained, image_size=image_size if name.startswith("vit_") else None)
    feature_dim = _remove_last_linear(trunk)
    network = Network(trunk, feature_dim, num_classes, grey_to_rgb=in_channels == 1)
    _try_out(network, name, in_channels, image_size)
    return network


def _from_torchvision(name: str, *, pretrained: bool, image_size: int | None = None) -> nn.Module:
    try:
        if pretrained:
            return pretrained_model(name, image_size=image_size)
        options = {} if image_size is None else {"image_size": image_size}
        model: nn.Module = torchvision.models.get_model(name, weights=None, progress=False, **options)
    except (AssertionError, OSError, RuntimeError, ValueError) as error:
        size = "" if image_size is None else f" for {image_size}x{image_size} images"
        way_out = "; check the connection, or set task.pretrained=false" if pretrained else ""
        raise ConfigError(f"task.model: {name}{size} cannot be made: {error}{way_out}") from error
    return model


def _remove_last_linear(trunk: nn.Module) -> int:
    """Replaces the last Linear layer by an identity; returns its number of input features."""
    path, linear = [(path, module) for path, module in trunk.named_modules() if isinstance(module, nn.Linear)][-1]
    trunk.set_submodule(path, nn.Identity())
    return linear.in_features


@torch.no_grad()
def _try_out(network: Network, name: str, in_channels: int, image_size: int) -> None:
    network.eval()
    try:
        shape = network(torch.zeros(2, in_channels, image_size, image_size)).shape
    except (AssertionError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"task.model: {name} cannot take {image_size}x{image_size} images ({error}); set task.image_size, e.g. 224"
        ) from error
    finally:
        network.train()
    if shape != (2, network.classifier.out_features):
        raise ConfigError(f"task.model: {name} does not end in one linear classifier; take another")
