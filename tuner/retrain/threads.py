"""Threads of torch: their number moves the last digits of a training on a CPU, so an export is trained with its own."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

_CPU = re.compile(r"cpu \((\d+) threads\)")  # where exports before `hardware.threads` say it


def exported_threads(provenance: Mapping[str, Any]) -> int | None:
    """How many an export was trained with; None where that is not on record, or it was a GPU."""
    hardware = provenance.get("hardware")
    if not isinstance(hardware, Mapping):
        return None
    number = hardware.get("threads")
    if "threads" not in hardware and (found := _CPU.fullmatch(str(hardware.get("device")))):
        number = int(found[1])
    return number if isinstance(number, int) and number > 0 else None


@contextlib.contextmanager
def threads(number: int | None) -> Iterator[None]:
    """Within, torch computes with so many; afterwards with as many as before. None changes nothing."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def told(number: int | None, *, gpu: bool) -> str:
    """What was done about them, in words; "" when there was nothing to do."""
    if number is None or gpu:
        return ""
    return (
        f"trained with {number} thread{'' if number == 1 else 's'}, as in the study: more or fewer move the last digits"
    )
