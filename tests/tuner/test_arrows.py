"""Which package may import which: absence is proved in a fresh interpreter, and the proof can fail."""

from __future__ import annotations

import subprocess
import sys

import pytest

FORBIDDEN = {
    "trainers.job": ["ray", "optuna", "sqlalchemy", "yaml", "ruamel", "plotly", "tuner", "studies", "search_spaces"],
    "trainers.__main__": [
        "ray",
        "optuna",
        "sqlalchemy",
        "yaml",
        "ruamel",
        "plotly",
        "tuner",
        "studies",
        "search_spaces",
    ],
    "studies": ["ray", "torch", "pandas", "plotly", "tuner"],
    "studies.store": ["ray", "torch", "pandas", "plotly", "tuner"],
    "studies.report.write": ["ray", "torch", "tuner"],
    "search_spaces": ["ray", "torch", "sqlalchemy", "plotly", "tuner", "studies"],
    "search_spaces.space": ["ray", "torch", "sqlalchemy", "plotly", "optuna", "numpy", "tuner", "studies"],
    "tuner.cli": ["ray", "torch", "pandas", "plotly", "optuna", "sqlalchemy"],
    "tuner.search.sampling": ["ray", "torch", "sqlalchemy", "studies"],
}
OF_TRAINERS = {"trainers", "trainers.config", "trainers.errors", "trainers.results"}  # the standard library alone


def loaded_by(statement: str, forbidden: list[str]) -> list[str]:
    """Which of the forbidden modules a fresh interpreter holds after `statement`."""
    script = f"{statement}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = {module.partition(".")[0] for module in set(done.stdout.split()) - OF_TRAINERS}
    return [name for name in forbidden if name in loaded]


@pytest.mark.parametrize("module", FORBIDDEN)
def test_a_package_imports_only_what_its_room_may(module: str) -> None:
    assert loaded_by(f"import {module}", FORBIDDEN[module]) == []


def test_the_vocabulary_of_the_trainer_needs_the_standard_library_only() -> None:
    statement = "import sys\nbefore = set(sys.modules)\nimport trainers.config, trainers.results"
    script = f"{statement}\nprint(*{{name.partition('.')[0] for name in set(sys.modules) - before}})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) - sys.stdlib_module_names == {"trainers"}


@pytest.mark.parametrize(
    "module", ["studies.store", "studies.report.write", "search_spaces.space", "tuner.search.sampling"]
)
def test_of_trainers_the_others_load_what_needs_no_torch(module: str) -> None:
    script = f"import {module}, sys\nprint(*[name for name in sys.modules if name.partition('.')[0] == 'trainers'])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert {"trainers.config"} <= set(done.stdout.split()) <= OF_TRAINERS


def test_the_proof_can_fail() -> None:
    assert loaded_by("import trainers.job, sqlalchemy", FORBIDDEN["trainers.job"]) == ["sqlalchemy"]


def test_help_is_light() -> None:
    heavy = ["torch", "ray", "pandas", "optuna", "sqlalchemy", "plotly", "numpy"]
    statement = (
        "import sys\nsys.argv = ['tuner', '--help']\nimport tuner.cli\n"
        "try:\n    tuner.cli.main()\nexcept SystemExit:\n    pass"
    )
    done = loaded_by(statement, heavy)
    assert [word for word in done if word in heavy] == []
