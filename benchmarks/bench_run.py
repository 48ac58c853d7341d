"""What `make run` does once all is installed: the shipped study, from the command to the report."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.record import record
from studies.store import Store

TRIALS, TARGET = 200, 90


def main() -> None:
    """Prints one line."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tuner", "launch", "--space", "wd_maxnorm.yaml", "--home", folder]
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        taken = time.perf_counter() - began
        with Store.open(f"sqlite:///{Path(folder) / 'studies.db'}", "wd_maxnorm") as store:
            complete = sum(row.state == "COMPLETE" for row in store.trials())
            test = {row.role: row.metrics["test.balanced_accuracy"] for row in store.readings()}
    record(
        name="run", figure=taken, unit="s", baseline=f"none: absolute, for at least {TRIALS} trials", target=TARGET,
        met=taken <= TARGET and complete >= TRIALS, n=1, trials=complete, test=test,
    )  # fmt: skip


if __name__ == "__main__":
    main()
