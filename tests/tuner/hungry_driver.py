"""`python hungry_driver.py GROUP ...`: the `tuner` command, whose workers enter a control group and take all memory."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """The command."""
    from tuner import cli
    from tuner.execution import ray_session

    group = sys.argv.pop(1)
    start = ray_session.ray_session

    def with_hungry_workers(**asked: Any) -> Any:
        session = start(**asked)  # Ray is imported by it alone, for what it reads from the environment then
        return _Session(session, group)

    ray_session.ray_session = with_hungry_workers  # type: ignore[assignment]
    cli.main()


class _Session:
    def __init__(self, session: Any, group: str) -> None:
        self._session, self._group = session, group

    def __enter__(self) -> Any:
        entered = self._session.__enter__()
        from studies.records import Failure, FailureKind
        from tuner.execution import bridge
        from tuner.execution.messages import Report

        group = self._group

        class Hungry(bridge.JobTrainable):
            def step(self) -> dict[str, Any]:
                Path(group, "cgroup.procs").write_text(str(os.getpid()))
                eaten = [os.urandom(2**20) for _ in range(2**10)]
                return Report(content=Failure(FailureKind.ERROR, f"ate {len(eaten)} MB")).to_tune()

        assert bridge.run_tune.__kwdefaults__ is not None
        bridge.run_tune.__kwdefaults__["trainable"] = Hungry
        return entered

    def __exit__(self, *error: Any) -> Any:
        return self._session.__exit__(*error)


if __name__ == "__main__":
    main()
