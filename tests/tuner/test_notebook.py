"""The example in docs/notebook.md runs as it stands, on a study of that name."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from search_spaces import load
from studies.store import Store
from trainers.results import JobResult
from tuner.search.planner import Planner

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "notebook.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
OUTPUTS = "".join(re.findall(r"```text\n(.*?)```", PAGE, flags=re.DOTALL))


def test_the_example_runs(
    tmp_path: Path,
    pretend: Callable[..., JobResult],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    space = load("wd_maxnorm.yaml", overrides=["budget.backbones=2", "budget.heads_per_backbone=4"])
    known = {"space_yaml": space.to_yaml(), "space_sha256": space.sha256, "objective": space.objective}
    with Store.create_or_open("sqlite:///runs/studies.db", name=space.name, **known) as store:
        planner = Planner(space, store)
        while (task := planner.next_task()) is not None:
            planner.complete(task, pretend(task))
    names: dict[str, Any] = {}
    for block in BLOCKS:
        exec(block, names)
    names["study"].close()
    assert len(names["trials"]) == space.trials
    printed = capsys.readouterr().out
    for column in ("stage2.weight_decay", "val.few", "test.balanced_accuracy"):
        assert column in printed
        assert column in OUTPUTS
    assert (tmp_path / "accuracy_vs_balance.html").stat().st_size > 1_000_000


def test_there_is_something_to_run() -> None:
    assert len(BLOCKS) == 3
    assert OUTPUTS
