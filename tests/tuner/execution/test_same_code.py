"""Workers import from the driver's folders: a launch in a folder full of look-alikes runs none of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tuner.execution import same_code
from tuner.execution.same_code import PACKAGES, code_sha256, difference

SPACE = """
version: 1
name: alike
task: {dataset: digits-lt, imbalance_factor: 50, model: cnn-small}
stage1: {epochs: 1, weight_decay: {low: 1e-3, high: 5e-2, log: true}}
stage2: {epochs: 1, weight_decay: {low: 1e-3, high: 1e-1, log: true}}
budget: {backbones: 2, heads_per_backbone: 2, rounds: 1, max_retries: 0}
baselines: [naive]
"""
MODULES = (
    "json", "random", "pickle", "threading", "sitecustomize", "usercustomize", "numpy", "pyarrow", "ray", "torch",
    "torchvision", "safetensors", "sklearn", "psutil",
)  # fmt: skip
TUNER = "import sys; sys.path.pop(0); from tuner.cli import main; main()"  # as the installed script


@pytest.fixture
def folder() -> Iterator[Path]:
    """Modules and packages named like ours and like what we import; each leaves its name in `ran`."""
    made = Path(tempfile.mkdtemp(prefix="a-", dir="/tmp"))  # short, for Ray's sockets
    code = f"open({str(made / 'ran')!r}, 'a').write(__name__ + ' ')\nraise ImportError('a look-alike ran')\n"
    for name in PACKAGES:
        (made / name).mkdir()
        (made / name / "__init__.py").write_text(code)
    for name in MODULES:
        (made / f"{name}.py").write_text(code)
    (made / "alike.yaml").write_text(SPACE)
    yield made
    shutil.rmtree(made)


def test_a_launch_beside_look_alikes_runs_none_of_them(folder: Path) -> None:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "TUNER_", "PYTHONPATH"))}
    root = str(Path(same_code.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", TUNER, "launch", "--space", "alike.yaml"],
        cwd=folder, env={**kept, "PYTHONPATH": root, "TMPDIR": str(folder), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert not (folder / "ran").exists(), (folder / "ran").read_text()
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "runs" / "alike" / "best.yaml").exists()


def test_the_hash_covers_every_package_and_names_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def copied(change: str | None = None) -> str:
        root = tmp_path / (change or "same").replace("/", "-")
        for package in PACKAGES:
            shutil.copytree(Path(same_code.__file__).parents[2] / package, root / package)
        if change is not None:
            (root / change).write_text("changed = True\n")
        monkeypatch.setattr(same_code.importlib.util, "find_spec", lambda name: Spec([str(root / name)]))
        return code_sha256.__wrapped__()

    assert copied() == code_sha256()
    changed = [f"{package}/__init__.py" for package in PACKAGES] + ["trainers/data/new.py", "trainers/stage1/loop.py"]
    hashes = [copied(change) for change in changed]
    assert len({*hashes, code_sha256()}) == len(changed) + 1


class Spec:
    """Where a package is found."""

    def __init__(self, folders: list[str]) -> None:
        self.submodule_search_locations = folders


def test_the_same_code_differs_in_nothing_and_other_code_is_told_where_it_lies() -> None:
    assert difference(code_sha256()) is None
    said = difference("0" * 64)
    assert said is not None
    assert str(Path(same_code.__file__).parents[2] / "trainers") in said
