"""Checkpoints of an unfinished stage 1, as tensors and JSON; training resumes bitwise from them."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from trainers.results import EpochResult
from trainers.stage1.step import Stage1State

CHECKPOINT_VERSION = 1  # of the format; training does not resume from another version
_MODEL, _MOMENTUM, _BEST, _GENERATOR = "model.", "momentum.", "best.", "generator"


def pack(state: Stage1State) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights, momentum, random state and history, in a form for the cache."""
    tensors = {_MODEL + name: tensor for name, tensor in state.model.state_dict().items()}
    for index, entry in state.optimizer.state_dict()["state"].items():
        if entry.get("momentum_buffer") is not None:
            tensors[f"{_MOMENTUM}{index}"] = entry["momentum_buffer"]
    tensors[_GENERATOR] = state.generator.get_state()
    manifest: dict[str, Any] = {
        "version": CHECKPOINT_VERSION,
        "seconds": state.seconds,
        "history": [dataclasses.asdict(row) for row in state.history],
    }
    if state.best is not None:
        manifest["best"] = state.best[0]
        tensors |= {_BEST + name: tensor for name, tensor in state.best[1].items()}
    return tensors, manifest


def restore(state: Stage1State, tensors: dict[str, Tensor], manifest: dict[str, Any]) -> None:
    """Restores a packed checkpoint into a fresh state.

    Raises ValueError, KeyError or RuntimeError if it does not fit; the state must then be discarded.
    """
    if manifest.get("version", CHECKPOINT_VERSION) != CHECKPOINT_VERSION:
        raise ValueError(
            f"it is of version {manifest['version']}, and this release goes on from version {CHECKPOINT_VERSION}"
        )
    state.model.load_state_dict(_tensors_under(tensors, _MODEL))
    parameters = state.optimizer.param_groups[0]["params"]
    for index, buffer in _tensors_under(tensors, _MOMENTUM).items():
        parameter = parameters[int(index)]
        # in the parameter's memory format: the fused step pairs elements by memory position
        state.optimizer.state[parameter]["momentum_buffer"] = torch.empty_like(parameter).copy_(buffer)
    state.generator.set_state(tensors[_GENERATOR])
    state.history = [*EpochResult.from_rows(manifest["history"])]
    state.seconds = manifest["seconds"]
    if "best" in manifest:
        state.best = (manifest["best"], _tensors_under(tensors, _BEST))


def _tensors_under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
