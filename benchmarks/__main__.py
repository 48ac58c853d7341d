"""`make bench`: every benchmark in turn, each in a process of its own; one line a figure, records in runs/bench/."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def main(names: list[str]) -> int:
    """Runs the benchmarks named, or all; returns how many did not end well."""
    folder = Path(__file__).parent
    found = sorted(path.stem for path in folder.glob("bench_*.py"))
    failed = 0
    for name in names or found:
        print(f"== {name}", flush=True)
        failed += subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
