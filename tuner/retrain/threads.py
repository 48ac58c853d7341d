"""Torch's number of threads: it changes the last digits of training on a CPU, so an export is trained with its own."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

_CPU_THREADS = re.compile(r"cpu \((\d+) threads\)")  # the device in exports older than `hardware.threads`


def exported_threads(provenance: Mapping[str, Any]) -> int | None:
    """The number of threads of an export's training; None if unknown or on a GPU."""
    hardware = provenance.get("hardware")
    if not isinstance(hardware, Mapping):
        return None
    number = hardware.get("threads")
    if "threads" not in hardware and (found := _CPU_THREADS.fullmatch(str(hardware.get("device")))):
        number = int(found[1])
    return number if isinstance(number, int) and number > 0 else None


@contextlib.contextmanager
def threads(number: int | None) -> Iterator[None]:
    """Sets torch's number of threads within the block; None changes nothing."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def told(number: int | None, *, gpu: bool) -> str:
    """The line for the user about threads; "" on a GPU, or if their number is unknown."""
    if number is None or gpu:
        return ""
    return (
        f"trained with {number} thread{'' if number == 1 else 's'}, as in the study: more or fewer move the last digits"
    )
