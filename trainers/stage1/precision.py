"""What stage 1 computes in: IEEE float32, TF32 or bfloat16. Weights, losses and statistics are always float32.

`autocast` covers a forward pass, `arithmetic` a whole step. Torch keeps the precision of float32 operations in switches
of the process, and for a GPU they let convolutions use TF32, which keeps 10 of the 23 bits of a float32's fraction.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

from trainers.config import Precision, ResolvedPrecision
from trainers.errors import ConfigError

__all__ = [
    "Precision",
    "ResolvedPrecision",
    "arithmetic",
    "autocast",
    "cache_name",
    "has_tf32",
    "resolve_precision",
    "usable",
]

T = TypeVar("T")
_OPERATIONS = ("conv", "rnn", "matmul")
_IEEE = ("ieee", "none")  # none: not set, nor are the switches above it
_TF32 = ("tf32",)


def resolve_precision(precision: Precision, device: torch.device) -> ResolvedPrecision:
    """Resolves `auto`: bf16 if the hardware computes in it, else fp32, because emulated bf16 is slow.

    Never resolves `auto` to tf32: a GPU that has TF32 has bf16. Raises ConfigError for `tf32` on a device without it.
    """
    if precision == "tf32" and not has_tf32(device):
        raise ConfigError(
            "stage1.precision: tf32 needs an NVIDIA GPU of compute capability 8.0 or higher (A100, RTX 30 or later), "
            f"but the device is {_name(device)}; take fp32, which runs everywhere, or auto"
        )
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported() else "fp32"


def cache_name(precision: Precision, device: torch.device) -> str:
    """The resolved precision in a backbone's fingerprint; `ieee` for fp32 where earlier releases used TF32 for it.

    Raises ConfigError as `resolve_precision`.
    """
    resolved = resolve_precision(precision, device)
    return "ieee" if resolved == "fp32" and has_tf32(device) else resolved


def usable(precision: Precision, device: torch.device) -> Precision:
    """The precision for using a trained model: fp32 instead of tf32 on a device without it."""
    return "fp32" if precision == "tf32" and not has_tf32(device) else precision


@functools.cache
def has_tf32(device: torch.device) -> bool:
    """True if convolutions and matrix products on the device can compute in TF32."""
    if device.type != "cuda" or torch.version.hip is not None or not torch.cuda.is_available():
        return False
    return torch.cuda.get_device_capability(device) >= (8, 0)


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" and torch.cuda.is_available() else device.type


def autocast(precision: Precision, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Autocast to bfloat16, or nothing. Weights stay float32: bf16 would lose a long schedule's small updates."""
    if resolve_precision(precision, device) != "bf16":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


@contextlib.contextmanager
def arithmetic(precision: Precision, device: torch.device) -> Iterator[None]:
    """Within the block, float32 operations on `device` compute in TF32 for `tf32`, else in IEEE float32.

    The block must hold a whole step, because backward passes read torch's switches too. With bf16 it rules the
    operations that autocast leaves in float32. The switches belong to the process: do not yield from a generator inside
    the block, and let no other thread compute in another precision meanwhile. After the block, also after an error,
    they are as they were. Raises ConfigError for `tf32` on a device without it.
    """
    tf32 = precision == "tf32" and resolve_precision(precision, device) == "tf32"
    backend, accepted = "cuda" if device.type == "cuda" else "mkldnn", _TF32 if tf32 else _IEEE
    before = {operation: _get(backend, operation) for operation in _OPERATIONS}
    if all(value in accepted for value in before.values()):
        yield
        return
    inherited = _get(backend, "all")
    try:
        with _older_switches(tf32=tf32) if backend == "cuda" else contextlib.nullcontext():
            for operation in _OPERATIONS:
                _set(backend, operation, accepted[0])
            yield
    finally:
        for operation, value in before.items():
            _set(backend, operation, "none" if value == inherited else value)


@contextlib.contextmanager
def _older_switches(*, tf32: bool) -> Iterator[None]:
    """Sets `allow_tf32` and `set_float32_matmul_precision` too: they must agree with the newer switches when read.

    Torch's compiler reads them. Where they already disagree, torch refuses to say their values, and they stay.
    """
    convolutions, products = (
        _switch_value(lambda: torch.backends.cudnn.allow_tf32),
        _switch_value(torch.get_float32_matmul_precision),
    )
    on_cpu = _get("mkldnn", "matmul")  # `set_float32_matmul_precision` changes it
    try:
        if convolutions is not None:
            torch.backends.cudnn.allow_tf32 = tf32
        if products is not None:
            torch.set_float32_matmul_precision("high" if tf32 else "highest")
        yield
    finally:
        if convolutions is not None:
            torch.backends.cudnn.allow_tf32 = convolutions
        if products is not None:
            torch.set_float32_matmul_precision(products)
            _set("mkldnn", "matmul", "none" if on_cpu == _get("mkldnn", "all") else on_cpu)


def _switch_value(switch: Callable[[], T]) -> T | None:
    """The value of an older switch; None where it disagrees with the newer ones."""
    try:
        return switch()
    except RuntimeError:
        return None


def _get(backend: str, operation: str) -> str:
    """What an operation computes in. The public name of all operations of mkldnn sets those of every backend."""
    found: str = torch._C._get_fp32_precision_getter(backend, operation)
    return found


def _set(backend: str, operation: str, value: str) -> None:
    torch._C._set_fp32_precision_setter(backend, operation, value)
