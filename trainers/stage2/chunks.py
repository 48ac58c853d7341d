"""How many heads are computed together: on a CPU as the cache has it, on a GPU as its memory allows."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from trainers.config import Stage2Config
from trainers.features import FeatureBank
from trainers.losses import LossKind
from trainers.stage2.recipe import evaluation_logits

logger = logging.getLogger(__name__)
Result = TypeVar("Result")

_CACHE_BYTES = 10 * 2**20  # of weights, velocities and gradients that fit a CPU's cache
_LARGEST_ON_CPU = 64
_SHARE = 0.8  # of the free memory: fragments, libraries' workspaces, other processes that grow
_FLOAT_BYTES = 4  # bytes

# Tensors like a head's weights (C, D): weights, velocities, two copies of both and two differences while a recording is
# compared, and two kept ones and two after an epoch.
_LIKE_WEIGHTS = 12
# Tensors like a batch's logits (n, C) that a loss holds at once, counted with their temporaries.
LIKE_LOGITS: dict[LossKind, int] = {"softmax": 4, "bce_softmax": 6, "focal": 8, "sigmoid": 3}
_LIKE_EVALUATED = 4  # tensors like the logits of an evaluation, of which the largest class takes 8 bytes an image
_INDEX_LIMIT = 2**31 - 1  # elements of a tensor that a kernel counts in 32 bits


def default_chunk(weight: Tensor) -> int:
    """How many heads like `weight` (C, D) a CPU computes together: fastest when their state just fits the cache."""
    state = 3 * _FLOAT_BYTES * weight.numel()  # weights, velocities and gradients in float32
    return max(4, min(_LARGEST_ON_CPU, _CACHE_BYTES // state))


@dataclass(frozen=True, kw_only=True)
class ChunkNeed:
    """The memory that heads of one kind take on a GPU, in bytes, estimated from above."""

    fixed: int  # however many they are
    each: int
    largest: int  # of heads at once, so that every tensor is within the reach of 32 bits

    @classmethod
    def of(cls, weight: Tensor, bank: FeatureBank, config: Stage2Config, kind: LossKind) -> ChunkNeed:
        """Of heads like `weight` (C, D) that share the batches and the kind of loss of `config`."""
        images, width = bank.train.shape[1:]
        logits = config.batch_size * len(weight)
        once, recorded = LIKE_LOGITS[kind] * logits, LIKE_LOGITS[kind] * logits  # the recording has a pool of its own
        evaluated = _LIKE_EVALUATED * evaluation_logits(weight.device)
        return cls(
            fixed=_FLOAT_BYTES * (2 * images * width + evaluated) + 8 * images * (config.epochs + 2),
            each=_FLOAT_BYTES * (_LIKE_WEIGHTS * weight.numel() + once + recorded),
            largest=_INDEX_LIMIT // max(weight.numel(), logits),
        )

    def fits(self, free: int) -> int:
        """How many heads fit into `free` bytes, at least one."""
        return max(1, min(self.largest, (int(_SHARE * free) - self.fixed) // self.each))


def free_bytes(device: torch.device) -> int:
    """Bytes of a GPU that no process holds, and those that this one holds without use."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def even_size(heads: int, most: int) -> int:
    """The size of chunks of at most `most` heads that are as equal as can be."""
    return math.ceil(heads / math.ceil(heads / most))


def in_chunks(
    items: Sequence[int], size: int, work: Callable[[Sequence[int]], list[Result]]
) -> Iterator[tuple[int, Result]]:
    """Each item with its result of `work`, which takes `size` at once, or half as many if memory ran out.

    Raises OutOfMemoryError when not even one item fits.
    """
    first, warned = 0, False
    while first < len(items):
        part = items[first : first + size]
        try:
            found = work(part)
        except torch.OutOfMemoryError as error:
            if len(part) == 1:
                raise
            reason = str(error)
        else:
            yield from zip(part, found, strict=True)
            first += len(part)
            continue
        size = math.ceil(len(part) / 2)
        torch.cuda.empty_cache()  # outside the handler, whose traceback holds the tensors
        if not warned:
            logger.warning(
                "%d heads at once did not fit the GPU's memory, so %d are trained: %s", len(part), size, reason
            )
        warned = True
