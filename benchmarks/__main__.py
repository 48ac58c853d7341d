"""`make bench`: every benchmark in turn, each in a process of its own; one line a figure, records in runs/bench/.

`python -m benchmarks bench_images bench_stage2` runs those alone. One whose libraries are not installed is left out, as
on a GPU box that has the trainers' alone. Exit code: 0 when all that ran ended well, targets met or not (the last lines
name those missed); 1 when one did not end well; 2 for a name that is none.
"""

from __future__ import annotations

import difflib
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.record import FOLDER

TRAINERS = ("torch", "torchvision", "numpy", "safetensors", "pyarrow", "sklearn", "PIL")
SEARCH = ("optuna", "numpy", "scipy", "threadpoolctl", "torch", "greenlet")  # the last two for its Gaussian process
SERVICE = (*TRAINERS, *SEARCH, "ray", "sqlalchemy", "pandas", "plotly", "pydantic", "ruamel.yaml", "typer", "rich")
NEEDS = {  # what a benchmark imports, or the programs that it starts
    "bench_cache": SERVICE,
    "bench_images": TRAINERS,
    "bench_objectives": (*SEARCH, "pydantic", "ruamel.yaml"),
    "bench_run": SERVICE,
    "bench_search": SEARCH,
    "bench_search_digits": SERVICE,
    "bench_service": SERVICE,
    "bench_stage1": TRAINERS,
    "bench_stage2": TRAINERS,
}


def main(names: Sequence[str]) -> int:
    """Runs the benchmarks named, or all; returns the exit code."""
    for name in names:
        if name not in NEEDS:
            near = difflib.get_close_matches(name, NEEDS, n=1)
            print(f"{name}: no benchmark; " + (f"did you mean {near[0]}?" if near else f"there are {', '.join(NEEDS)}"))
            return 2
    began, failed = time.time(), list[str]()
    for name in names or NEEDS:
        lacking = missing(NEEDS[name])
        if lacking:
            print(f"== {name}: left out, needs {', '.join(lacking)}", flush=True)
            continue
        print(f"== {name}", flush=True)
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode:
            failed.append(name)
    print("\n".join(["", *closing(recorded(FOLDER, since=began), failed, seconds=time.time() - began)]))
    return 1 if failed else 0


def missing(libraries: Sequence[str]) -> list[str]:
    """Those that cannot be imported here."""
    return [library for library in libraries if not _installed(library)]


def _installed(library: str) -> bool:
    try:
        return importlib.util.find_spec(library) is not None
    except ModuleNotFoundError:  # of `ruamel.yaml`, not even `ruamel`
        return False


def recorded(folder: Path, *, since: float) -> list[dict[str, Any]]:
    """The records that were written after a moment, by name."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json")) if path.stat().st_mtime >= since]


def closing(records: Sequence[dict[str, Any]], failed: Sequence[str], *, seconds: float) -> list[str]:
    """The last lines: how long it took, which targets were missed, what did not end well."""
    judged = [entry for entry in records if entry["met"] is not None]
    missed = [entry for entry in judged if not entry["met"]]
    lines = [f"{len(records)} figures in {seconds / 60:.1f} minutes; {len(missed)} of {len(judged)} targets missed"]
    lines += [f"missed: {e['name']}, {e['figure']:.4g} {e['unit']} (target {e['target']:g})" for e in missed]
    return [*lines, *(f"did not end well: {name}" for name in failed)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
