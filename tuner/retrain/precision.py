"""Compares what stage 1 computed in here with what it computed in for the export: `auto` depends on the device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from search_spaces.problems import shown
from tuner.retrain.threads import exported_threads

if TYPE_CHECKING:
    from trainers.config import ResolvedPrecision

_NEEDS = {"bf16": ", which is slow on a device without bfloat16", "tf32": ", on a GPU that has TF32", "fp32": ""}


def precision_note(provenance: Mapping[str, Any], config: Mapping[str, Any], here: ResolvedPrecision | None) -> str:
    """The line for the user; "" if both computed in the same, or if nothing is on record."""
    hardware = provenance.get("hardware")
    if here is None or not isinstance(hardware, Mapping) or not hardware:
        return ""
    there = hardware.get("precision")
    if there is None:
        return _unrecorded(provenance, config, here)
    if there == here or not isinstance(there, str) or there not in _NEEDS:
        return ""
    return (
        f"stage 1 computed in {here} here, and in {there} in the study: figures may be outside their tolerances; to "
        f"compute in the same: --set stage1.precision={there}{_NEEDS[there]}"
    )


def _unrecorded(provenance: Mapping[str, Any], config: Mapping[str, Any], here: ResolvedPrecision) -> str:
    """For results of releases that recorded no precision."""
    device, asked = shown(provenance["hardware"].get("device")), config.get("stage1.precision")
    if asked == "auto":
        return f"stage 1 computed in {here} here; the export does not say what `auto` was on {device}"
    if asked == "fp32" and exported_threads(provenance) is None:
        return (
            f"stage 1 computed in float32 here; the study's release let convolutions on {device} use TF32 for fp32 if "
            "it has it: to compute as then: --set stage1.precision=tf32"
        )
    return ""
