"""What the package does not import."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "ray", "pandas", "sqlalchemy", "plotly", "studies", "tuner")
CATALOGUE = {"trainers", "trainers.config", "trainers.errors"}


def loaded_after(code: str) -> set[str]:
    """Modules that a fresh interpreter holds after `code`."""
    script = f"import sys\n{code}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return set(done.stdout.split())


def test_loading_a_space_needs_neither_torch_nor_optuna_nor_our_other_packages() -> None:
    loaded = loaded_after("import search_spaces; search_spaces.load('wd_maxnorm')")
    assert loaded.isdisjoint({*HEAVY, "optuna", "numpy"})
    assert {name for name in loaded if name.partition(".")[0] == "trainers"} == CATALOGUE
    assert "pydantic" in loaded


def test_distributions_need_optuna_alone() -> None:
    loaded = loaded_after("import search_spaces; search_spaces.load('wd_maxnorm').searched")
    assert loaded.isdisjoint({"torch", "ray", "pandas", "studies", "tuner"})
    assert "optuna" in loaded


def test_the_bare_import_costs_nothing() -> None:
    assert loaded_after("import search_spaces").isdisjoint({*HEAVY, *CATALOGUE, "pydantic", "ruamel", "optuna"})


@pytest.mark.parametrize("name", HEAVY[-2:])
def test_the_proof_can_fail(name: str) -> None:
    assert name in loaded_after(f"import {name}")


def test_unknown_names_are_attribute_errors() -> None:
    import search_spaces

    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        search_spaces.nothing  # noqa: B018
    assert all(getattr(search_spaces, name) for name in search_spaces.__all__)
