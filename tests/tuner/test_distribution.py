"""The sdist and the wheel made of it hold what the product needs, and the wheel runs in a fresh environment.

Nothing is fetched: hatchling is a developers' tool, and the fresh environment sees the libraries of this one.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
PACKAGES = ("search_spaces", "studies", "trainers", "tuner")


@dataclass(frozen=True)
class Built:
    """A wheel, made from an sdist, and the environment that it was installed in."""

    sdist: Path
    wheel: Path
    bin: Path

    def files(self) -> set[str]:
        """The paths inside the wheel."""
        with zipfile.ZipFile(self.wheel) as archive:
            return set(archive.namelist())

    def run(self, *words: str) -> str:
        """What a program of the environment prints, in a folder that is not the checkout's."""
        done = subprocess.run(
            [str(self.bin / words[0]), *words[1:]], cwd=self.bin, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Builds both, installs the wheel alone, and lends it this environment's libraries."""
    if importlib.util.find_spec("hatchling") is None:
        absent = "hatchling, which builds them, is not installed; `make dev` does it"
        pytest.fail(absent) if os.environ.get("CI") else pytest.skip(absent)
    folder = tmp_path_factory.mktemp("built")
    _python("hatchling", "build", "--target", "sdist", "--directory", str(folder), cwd=ROOT)
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    source = folder / sdist.name.removesuffix(".tar.gz")
    _python("hatchling", "build", "--target", "wheel", "--directory", str(folder), cwd=source)
    (wheel,) = folder.glob("*.whl")
    _python("venv", "--without-pip", str(folder / "fresh"), cwd=folder)
    python = folder / "fresh" / "bin" / "python"
    _python("pip", "--python", str(python), "install", "--no-deps", "--no-index", "--quiet", str(wheel), cwd=folder)
    (packages,) = (folder / "fresh").glob("lib/*/site-packages")
    (packages / "libraries.pth").write_text("\n".join(_libraries()))
    return Built(sdist, wheel, python.parent)


def _python(*words: str, cwd: Path) -> None:
    done = subprocess.run([sys.executable, "-m", *words], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _libraries() -> list[str]:
    """The folders of installed libraries; `.pth` files inside them, such as this checkout's, then count for nothing."""
    return [path for path in sys.path if Path(path).name == "site-packages"]


def test_the_wheel_holds_every_file_of_the_packages(built: Built) -> None:
    here = {
        path.relative_to(ROOT).as_posix() for name in PACKAGES for path in (ROOT / name).rglob("*") if path.is_file()
    }
    assert {name for name in here if "__pycache__" not in name} - built.files() == set()


def test_the_wheel_holds_what_is_no_python(built: Built) -> None:
    files = built.files()
    spaces = {path.name for path in (ROOT / "search_spaces").glob("*.yaml")}
    assert {f"search_spaces/{name}" for name in spaces} <= files
    assert "search_spaces/space-v1.json" in files
    assert any(name.startswith("studies/") and "/assets/" in name for name in files)
    assert any("/migrations/versions/" in name for name in files)


def test_the_wheel_holds_nothing_else(built: Built) -> None:
    tops = {name.partition("/")[0] for name in built.files()}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)


def test_the_sdist_holds_the_tests_and_the_pages_and_no_output(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "LICENSE", "CHANGELOG.md", "Makefile", "constraints.txt", "tests/conftest.py"} <= names
    assert not [name for name in names if name.startswith((".venv/", ".git/", "runs/"))]


def test_the_installed_product_is_the_wheels(built: Built) -> None:
    script = "import tuner, studies, trainers, search_spaces; print(tuner.__file__, studies.__file__)"
    assert built.run("python", "-c", script).count(str(built.bin.parent)) == 2


def test_the_installed_command_runs(built: Built) -> None:
    assert built.run("tuner", "--version").strip() == built.wheel.name.split("-")[1]
    assert "wd_maxnorm" in built.run("tuner", "spaces")


def test_the_installed_command_makes_a_database_and_a_report(built: Built, tmp_path: Path) -> None:
    home = ("--home", str(tmp_path))
    small = ("budget.backbones=1", "budget.heads_per_backbone=2", "budget.fresh_seeds=0", "stage1.epochs=1")
    sets = [word for one in small for word in ("--set", one)]
    built.run("tuner", "launch", "--space", "wd_maxnorm.yaml", *home, "--parallel", "1", *sets)
    assert "3/3" in built.run("tuner", "status", "wd_maxnorm", *home)
    assert "<style>" in (tmp_path / "wd_maxnorm" / "report.html").read_text()
