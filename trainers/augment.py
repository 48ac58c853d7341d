"""Random crop and horizontal flip for whole batches of uint8 images, on whatever device they lie."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class CropFlip:
    """What was drawn for N images: offsets into the padded image and whether it is mirrored."""

    tops: Tensor  # (N,) int64, in [0, 2 * padding]
    lefts: Tensor  # (N,) int64
    flips: Tensor  # (N,) bool

    @classmethod
    def draw(cls, count: int, *, padding: int, flip: bool, generator: torch.Generator) -> CropFlip:
        """Draws for `count` images, on the generator's device."""
        where = generator.device
        tops, lefts = torch.randint(2 * padding + 1, (2, count), generator=generator, device=where)
        mirrored = torch.rand(count, generator=generator, device=where) < 0.5
        return cls(tops, lefts, mirrored & flip)

    def to(self, device: torch.device) -> CropFlip:
        """The same draws on `device`."""
        return CropFlip(*(drawn.to(device, non_blocking=True) for drawn in (self.tops, self.lefts, self.flips)))

    def __getitem__(self, part: slice) -> CropFlip:
        return CropFlip(self.tops[part], self.lefts[part], self.flips[part])


def crop_flip(images: Tensor, drawn: CropFlip, *, padding: int) -> Tensor:
    """Crops each image out of itself padded with `padding` raw zeros, then mirrors it where drawn.

    `images` is uint8 (B, C, H, W), as is what comes back; every image equals what PIL's crop and mirror give.
    """
    height, width = images.shape[-2:]
    padded = F.pad(images, (padding,) * 4)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # (B, C, 2p + 1, 2p + 1, H, W), a view
    each = torch.arange(len(images), device=images.device)
    cropped = windows[each, :, drawn.tops, drawn.lefts]  # (B, C, H, W)
    return torch.where(drawn.flips[:, None, None, None], cropped.flip(3), cropped)


def random_crop_flip(images: Tensor, *, padding: int, flip: bool, generator: torch.Generator) -> Tensor:
    """One fresh crop (and mirror image, with `flip`) of each image. uint8 (B, C, H, W) to the same."""
    drawn = CropFlip.draw(len(images), padding=padding, flip=flip, generator=generator)
    return crop_flip(images, drawn.to(images.device), padding=padding)
