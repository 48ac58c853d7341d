"""A block of steps recorded once as a CUDA graph and replayed, so that the host does not launch each kernel.

Each recording is compared with the steps themselves before use, on other images and with other learning rates than it
was recorded with. If recording fails, or the recording changes something differently, the training goes on without it
and logs a warning.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

Replay = Callable[[], None]
RecorderFor = Callable[[torch.device], "BlockRecorder | None"]  # None: nothing is recorded on this device
_BLOCK_AGREEMENT = 0.05  # of a head's change: other kernels round differently, a wrong recording differs by all of it


class BlockRecorder(Protocol):
    """Records work on a device."""

    def warm_up(self, work: Callable[[], None]) -> None:
        """Does `work`, where the recording will be made."""

    def record(self, work: Callable[[], None]) -> Replay:
        """Records `work` without doing it; the result does it. Raises RuntimeError if that is impossible."""


class Block(Protocol):
    """Work that can be recorded, tried and taken back."""

    @property
    def heads(self) -> int: ...
    def to_record(self) -> None: ...
    def make_trial(self) -> None: ...
    def plain_trial(self) -> None: ...
    def changed(self) -> Mapping[str, Tensor]: ...
    def inputs(self) -> Sequence[Tensor]: ...


def on_cuda(device: torch.device) -> BlockRecorder | None:
    """CUDA graphs on a GPU; nothing is recorded on other devices."""
    return CudaGraphs() if device.type == "cuda" else None


def never(device: torch.device) -> None:
    """Nothing is recorded on any device."""


class CudaGraphs:
    """Records on a stream of its own, so that recordings share no workspace."""

    def __init__(self) -> None:
        self.side = torch.cuda.Stream()  # type: ignore[no-untyped-call]

    def warm_up(self, work: Callable[[], None]) -> None:
        """Does `work` on that stream, so that the libraries' handles and workspaces exist before a recording."""
        self.side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.side):
            work()
        torch.cuda.current_stream().wait_stream(self.side)

    def record(self, work: Callable[[], None]) -> Replay:
        """Records `work` as a graph. Raises RuntimeError."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self.side, capture_error_mode="thread_local"):  # other threads continue
            work()
        torch.cuda.current_stream().wait_stream(self.side)
        return graph.replay


def recorded_or_none(block: Block, recorder: BlockRecorder) -> Replay | None:
    """The recording of `block` if it is right, else None after a warning. Leaves all tensors as they were.

    Raises OutOfMemoryError: fewer heads at once would fit.
    """
    try:
        replay = recorder.record(block.to_record)
        _compare(block, replay)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        logger.warning("the steps of the heads were not recorded as a CUDA graph, so they are slower: %s", error)
        return None
    return replay


def _compare(block: Block, replay: Replay) -> None:
    """Raises RuntimeError unless a replay changes every tensor like the steps, on other images with other rates."""
    before, inputs = _copies(block), [tensor.clone() for tensor in block.inputs()]
    try:
        block.make_trial()
        start = {**before, "counter": block.changed()["counter"].clone()}
        block.plain_trial()
        wanted = _copies(block)
        _put_back(block, start)
        replay()
        for kind, found in block.changed().items():
            apart = _apart(*(_rows(each, block.heads) for each in (found, wanted[kind], start[kind])))
            if not apart <= _BLOCK_AGREEMENT:  # also true for NaN
                raise RuntimeError(f"the recording changes the {kind} differently, by {apart:.2g} of the change")
    finally:
        _put_back(block, before)
        for tensor, value in zip(block.inputs(), inputs, strict=True):
            tensor.copy_(value)


def _copies(block: Block) -> dict[str, Tensor]:
    return {kind: tensor.clone() for kind, tensor in block.changed().items()}


def _put_back(block: Block, values: Mapping[str, Tensor]) -> None:
    for kind, tensor in block.changed().items():
        tensor.copy_(values[kind])


def _rows(tensor: Tensor, heads: int) -> Tensor:
    """One row a head; the counter is one row."""
    return tensor.float().reshape(heads if tensor.numel() > 1 else 1, -1)


def _apart(found: Tensor, wanted: Tensor, start: Tensor) -> float:
    """The worst distance of a row from `wanted`, relative to the row's change.

    A row that overflows while it is trained agrees if it does so in both.
    """
    if not torch.equal(found.isfinite().all(1), wanted.isfinite().all(1)):
        return math.inf
    error = torch.linalg.vector_norm(found - wanted, dim=1)
    change = torch.linalg.vector_norm(wanted - start, dim=1)
    apart = torch.where(error > 0, error / change, error)  # 0 / 0: neither changed
    return max(apart[change.isfinite()].tolist(), default=0.0)
