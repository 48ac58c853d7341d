"""One benchmark figure: a line for people, a JSON file for machines."""

from __future__ import annotations

import json
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

FOLDER = Path("runs") / "bench"
LIBRARIES = ("torch", "torchvision", "optuna", "ray", "sqlalchemy", "numpy", "scipy", "scikit-learn", "pyarrow")


def record(
    name: str, *, figure: float, unit: str, baseline: str, target: float | None, met: bool | None, n: int, **extra: Any
) -> Path:
    """Prints the figure and writes `runs/bench/<name>.json`; returns where.

    `baseline` says in words what was compared with, `n` how many repetitions the figure rests on; `met` is None where
    the target is for another kind of machine, or where there is none. `extra` goes into the file as it is and must be
    plain values.
    """
    entry = {
        "name": name, "figure": figure, "unit": unit, "baseline": baseline, "target": target, "met": met, "n": n,
        **extra, "hardware": hardware(), "versions": versions(),
    }  # fmt: skip
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps(entry, indent=2, allow_nan=False) + "\n")
    verdict = {True: "met", False: "NOT met", None: "for other hardware"}[met]
    aim = "no target" if target is None else f"target {target:g}, {verdict}"
    print(f"{name}: {figure:.4g} {unit} ({aim}; n={n}; against {baseline})")
    return path


def hardware() -> dict[str, Any]:
    """Processor, cores this process may use, load of the host as it is now, and GPU (None without one)."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),  # of the last minute; above `cores` the figure is worth little
        "gpu": _gpu_name(),
    }


def versions() -> dict[str, str]:
    """Of Python and of those libraries that are installed."""
    found = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return found


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _gpu_name() -> str | None:
    try:
        import torch
    except ImportError:  # the search's benchmarks need none
        return None
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
