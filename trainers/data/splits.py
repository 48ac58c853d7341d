"""Splits for a training loop: normalised batches on the device, from memory or decoded on the fly."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler
from torchvision.transforms import v2

from trainers.data.images import Images
from trainers.data.pool import Normalization
from trainers.errors import DataError
from trainers.long_tail import IntArray
from trainers.stage1.augment import CropFlip, crop_flip

Augment = Literal["none", "crop", "crop_flip"]
_MOST_WORKERS = 16
_BLOCK_BYTES = 64 * 2**20  # of normalised images on a GPU
_LONGEST_SIDE = 64  # times the short side


class Split(Protocol):
    """Labelled images in batches."""

    @property
    def labels(self) -> Tensor:
        """(N,) int64, on the CPU."""

    def __len__(self) -> int: ...

    def batches(
        self, order: Tensor | None, *, batch_size: int, device: torch.device, generator: torch.Generator | None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields normalised float32 images (B, C, H, W), channels last, and labels (B,), both on `device`.

        `order` holds any number of positions; None is file order. With `generator` each image is augmented anew.
        Batches are those of `batch_slices`. Raises DataError for an image that cannot be decoded.
        """


@dataclass(frozen=True, eq=False)
class MemorySplit:
    """Images in memory, moved to a device once and kept there; batches are index slices."""

    images: Tensor  # uint8 (N, C, H, W)
    labels: Tensor
    normalization: Normalization
    augment: Augment
    _resident: dict[torch.device, tuple[Tensor, Tensor]] = field(default_factory=dict, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def padding(self) -> int:
        """Padding in pixels before a crop: 4 for 32x32, 1 for 8x8."""
        return max(1, self.images.shape[-1] // 8)

    def batches(
        self, order: Tensor | None, *, batch_size: int, device: torch.device, generator: torch.Generator | None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """See Split. A call draws all random numbers at its start, so that no step waits for the host."""
        images, labels = self._on(device)
        normalize = normalizer(self.normalization, device)
        count = len(self) if order is None else len(order)
        order = None if order is None else order.to(device)
        drawn, flip = None, self.augment == "crop_flip"
        if generator is not None and self.augment != "none":
            drawn = CropFlip.draw(count, padding=self.padding, flip=flip, generator=generator).to(device)
        for block, parts in _blocks(batch_slices(count, batch_size), self.block_images(device)):
            chosen = images[block] if order is None else images.index_select(0, order[block])  # (n, H, W, C)
            views = chosen.permute(0, 3, 1, 2)
            if drawn is not None:
                views = crop_flip(views, drawn[block], padding=self.padding, flip=flip)
            ready, theirs = normalize(views), labels[block if order is None else order[block]]
            for part in parts:
                here = slice(part.start - block.start, part.stop - block.start)
                yield ready[here], theirs[here]

    def block_images(self, device: torch.device) -> int:
        """How many images to prepare at once: on a GPU many; on a CPU a batch, which fits its cache."""
        return 1 if device.type == "cpu" else max(1, _BLOCK_BYTES // (4 * self.images[0].numel()))

    def _on(self, device: torch.device) -> tuple[Tensor, Tensor]:
        if device not in self._resident:
            pixels = self.images.to(device).permute(0, 2, 3, 1).contiguous()  # (N, H, W, C)
            self._resident[device] = (pixels, self.labels.to(device))
            if device.type == "cuda":
                torch.cuda.synchronize(device)  # other jobs read them on streams of their own
        return self._resident[device]


@dataclass(frozen=True, eq=False)
class StreamedSplit:
    """Images that exceed the memory limit, decoded by worker processes while the device computes."""

    images: Images
    indices: IntArray  # (N,) which of `images`
    labels: Tensor
    image_size: int
    normalization: Normalization
    augment: Augment
    workers: int | None = None  # None: the number of this process's threads, at most 16
    _loaders: dict[bool, DataLoader[Tensor | DataError]] = field(default_factory=dict, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.labels)

    def batches(
        self, order: Tensor | None, *, batch_size: int, device: torch.device, generator: torch.Generator | None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """See Split. Each image has its own seed, so that batches do not depend on the number of workers."""
        positions = torch.arange(len(self)) if order is None else order.cpu()
        seeds: list[int | None] = [None] * len(positions)
        fresh = generator is not None and self.augment != "none"
        if generator is not None and fresh:
            drawn = torch.randint(2**62, (len(positions),), generator=generator, device=generator.device)
            seeds = list(drawn.tolist())
        tickets = list(zip(positions.tolist(), seeds, strict=True))
        parts = list(batch_slices(len(tickets), batch_size))
        loader = self._loader([tickets[part] for part in parts], kept=fresh, pinned=device.type == "cuda")
        normalize = normalizer(self.normalization, device)
        for batch, part in zip(loader, parts, strict=True):
            if isinstance(batch, DataError):
                raise batch
            labels = self.labels[positions[part]].to(device, non_blocking=True)
            yield normalize(batch.to(device, non_blocking=True)), labels
        if fresh and loader.num_workers:
            self._loaders[device.type == "cuda"] = loader

    def _loader(
        self, batches: list[list[tuple[int, int | None]]], *, kept: bool, pinned: bool
    ) -> DataLoader[Tensor | DataError]:
        """A loader of these batches.

        The training loader keeps its processes for the next epoch, because they are slow to start. While it is in use
        it is not found here: two jobs may be in the middle of an epoch.
        """
        workers = self._workers()
        loader = self._loaders.pop(pinned, None) if kept and workers else None
        if loader is not None:
            cast(_Batches, loader.batch_sampler).batches = batches
            return loader
        return DataLoader(
            _Decoder(self.images, self.indices, self.image_size, self.augment),
            batch_sampler=_Batches(batches),
            num_workers=workers,
            persistent_workers=kept and workers > 0,
            collate_fn=_stack,
            pin_memory=pinned,
            generator=torch.Generator(),  # else the loader draws from the global one
        )

    def _workers(self) -> int:
        if self.workers is not None:
            return self.workers
        return min(_MOST_WORKERS, torch.get_num_threads())


def batch_slices(count: int, batch_size: int) -> Iterator[slice]:
    """The slice of each batch; the last may be smaller, but a single image joins the previous batch.

    BatchNorm needs more than one value per channel, which one image does not give if its maps are single pixels.
    """
    last = count - count % batch_size if count % batch_size != 1 or count < batch_size else count - 1 - batch_size
    yield from (slice(start, start + batch_size) for start in range(0, last, batch_size))
    if last < count:
        yield slice(last, count)


def _blocks(parts: Iterable[slice], images: int) -> Iterator[tuple[slice, list[slice]]]:
    """Groups consecutive batches into blocks of up to `images` images, at least one batch each."""
    block: list[slice] = []
    for part in parts:
        if block and part.stop - block[0].start > images:
            yield slice(block[0].start, block[-1].stop), block
            block = []
        block.append(part)
    if block:
        yield slice(block[0].start, block[-1].stop), block


def normalizer(normalization: Normalization, device: torch.device) -> Callable[[Tensor], Tensor]:
    """A function from uint8 (B, C, H, W) on `device` to float32, channels last: (x / 255 - mean) / std."""
    mean, std = (torch.tensor(values, device=device) for values in normalization)
    scale, shift = 1 / (255 * std), -mean / std  # (C,)

    def normalize(images: Tensor) -> Tensor:
        floats = images.to(torch.float32, memory_format=torch.channels_last)
        count, channels, height, width = floats.shape
        rows = floats.permute(0, 2, 3, 1).view(count, height, width * channels)  # faster than by channel
        rows.mul_(scale.repeat(width)).add_(shift.repeat(width))
        return floats

    return normalize


def center_view(image: Image.Image, image_size: int) -> Image.Image:
    """The customary evaluation view: scales the short side to 256/224 of `image_size`, crops the middle square."""
    width, height = image.size
    most = _LONGEST_SIDE * min(width, height)
    if max(width, height) > most:  # scale only the middle of a very long image: the whole would take gigabytes
        image = v2.functional.center_crop(image, [min(height, most), min(width, most)])
    scaled = v2.functional.resize(image, [round(image_size * 256 / 224)], antialias=True)
    middle: Image.Image = v2.functional.center_crop(scaled, [image_size, image_size])
    return middle


class _Batches(Sampler[list[tuple[int, int | None]]]):
    """Positions and seeds of each batch of this epoch."""

    def __init__(self, batches: list[list[tuple[int, int | None]]]) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[list[tuple[int, int | None]]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class _Decoder(Dataset[Tensor | DataError]):
    """Decodes, crops and scales one image in a worker process. Returns a bad image's error instead of raising it."""

    def __init__(self, images: Images, indices: IntArray, image_size: int, augment: Augment) -> None:
        self._images = images
        self._indices = indices
        flip: list[v2.Transform] = [v2.RandomHorizontalFlip()] if augment == "crop_flip" else []
        self._train = v2.Compose([v2.RandomResizedCrop(image_size, antialias=True), *flip, v2.PILToTensor()])
        self._eval = v2.Compose([functools.partial(center_view, image_size=image_size), v2.PILToTensor()])

    def __getitem__(self, ticket: tuple[int, int | None]) -> Tensor | DataError:
        position, seed = ticket
        try:
            image = self._images.open(int(self._indices[position]))
        except DataError as error:
            return error
        return self._view(image, seed)

    def _view(self, image: Image.Image, seed: int | None) -> Tensor:
        if seed is None:
            fixed: Tensor = self._eval(image)
            return fixed
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            fresh: Tensor = self._train(image)
        return fresh


def _stack(items: list[Tensor | DataError]) -> Tensor | DataError:
    tensors: list[Tensor] = []
    for item in items:
        if isinstance(item, DataError):
            return item
        tensors.append(item)
    return torch.stack(tensors)


def pixel_statistics(images: Tensor) -> Normalization:
    """Mean and standard deviation per channel of uint8 images (N, C, H, W), as fractions of 255, from exact sums."""
    levels = np.arange(256) / 255
    means, deviations = [], []
    for channel in range(images.shape[1]):
        share = torch.bincount(images[:, channel].flatten().int(), minlength=256).double().numpy()
        share /= share.sum()
        mean = float(share @ levels)
        deviation = float(np.sqrt(share @ (levels - mean) ** 2))
        means.append(mean)
        deviations.append(deviation if deviation > 0 else 1.0)
    return tuple(means), tuple(deviations)
