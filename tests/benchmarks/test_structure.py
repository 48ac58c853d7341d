"""What the structure command counts and what it leaves out, on small trees; and that it imports nothing of them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from benchmarks.structure.__main__ import figures, main
from benchmarks.structure.source import Figure

ROOT = Path(__file__).parents[2]
LOOK_UPS = "string look-ups into results"
NAMES = "top-level names defined in more than one file"
MADE = "of them functions and classes alone"
FLAT = "Python files in the largest flat folder"
TRAINERS = "Python files in trainers/ itself"
PRIVATE = "private accesses in tests"
FUNCTIONS = "lines of functions: median / p90 / most"
FILES = "lines of files: median / p90 / most"
CIRCLES = "import circles among modules"
ARROWS = "arrows upwards between packages"
PAGE = "lines of ARCHITECTURE.md"


def measured(root: Path, files: Mapping[str, str]) -> dict[str, Figure]:
    """The figures of a tree of these files, by name."""
    for path, text in (
        {"tests/test_a.py": "", "tuner/a.py": "", "ARCHITECTURE.md": "one\ntwo\n"} | dict(files)
    ).items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return {figure.name: figure for figure in figures(root)}


@pytest.mark.parametrize(
    "line",
    [
        'result["heads"]',
        'head.get("metrics", {})',
        '"reason" in head',
        '"reason" not in head',
        'result["outcome"]["cached"]',
    ],
)
def test_a_line_that_looks_into_a_result_is_a_place(tmp_path: Path, line: str) -> None:
    found = measured(tmp_path, {"studies/a.py": f"def f(result, head):\n    return {line}\n"})[LOOK_UPS]
    assert (found.value, len(found.places)) == (1, 1)
    assert found.places[0].startswith("studies/a.py:2  ")


@pytest.mark.parametrize(
    "line",
    [
        'head["name"]', 'head["config"] = 1', "head[key]", 'row["metrics"]', 'hardware.get("device")',
        'entry.manifest["seconds"]', 'exported.provenance.get("dataset", {})["fingerprint"]', '"reason" == head',
    ],
)  # fmt: skip
def test_other_keys_and_other_holders_are_no_places(tmp_path: Path, line: str) -> None:
    assert measured(tmp_path, {"tuner/a.py": f"def f(head):\n    {line}\n"})[LOOK_UPS].value == 0


def test_a_variable_goes_by_what_it_was_made_from(tmp_path: Path) -> None:
    text = 'def f(e):\n    known = e.provenance.get("dataset")\n    return known["fingerprint"]\n'
    assert measured(tmp_path, {"tuner/a.py": text})[LOOK_UPS].value == 0


def test_the_codec_the_printers_and_the_trainers_may_look(tmp_path: Path) -> None:
    look = 'def f(head):\n    return head["metrics"]\n'
    files = {
        "tuner/execution/messages.py": look,
        "trainers/job.py": look,
        "tuner/views.py": look.replace("def f", "def best_table"),
    }
    assert measured(tmp_path, files)[LOOK_UPS].value == 0


def test_a_name_with_two_homes_is_counted_once(tmp_path: Path) -> None:
    one = "LIMIT = 1\nclass Task: ...\ndef start(): ...\nif LIMIT:\n    OTHER: int = 2\n"
    files = {"tuner/a.py": one, "studies/b.py": one, "trainers/c.py": "def start(): ...\ndef alone(): ...\n"}
    found = measured(tmp_path, files)
    assert (found[NAMES].value, found[MADE].value) == (4, 2)
    assert found[NAMES].places[-1] == "start  tuner/a.py, studies/b.py, trainers/c.py"


def test_names_that_files_must_share_are_not_counted(tmp_path: Path) -> None:
    shared = (
        "__all__ = []\nfrom x import y\nT = TypeVar('T')\nlogger = logging.getLogger(__name__)\ndef main(): ...\n"
        "def f():\n    inner = 1\n"
    )
    step = "revision = '1'\ndef upgrade(): ...\n"
    files = {"tuner/a.py": shared, "studies/b.py": shared.replace("def f", "def g")}
    files |= {f"studies/sql/migrations/versions/v{n}.py": step for n in (1, 2)}
    assert measured(tmp_path, files)[NAMES].value == 0


def test_the_benchmarks_names_are_not_counted(tmp_path: Path) -> None:
    assert measured(tmp_path, {"tuner/a.py": "A = 1\n", "benchmarks/a.py": "A = 1\n"})[NAMES].value == 0


def test_folders_are_counted_flat(tmp_path: Path) -> None:
    files = {f"{folder}/{n}.py": "" for folder in ("studies", "studies/figures", "trainers/data") for n in "abc"}
    found = measured(tmp_path, files | {"studies/d.py": "", "trainers/a.py": "", "studies/x.yaml": ""})
    assert (found[FLAT].value, found[TRAINERS].value) == (4, 1)
    assert found[FLAT].places[0] == "studies  4"


@pytest.mark.parametrize(
    "line",
    [
        "thing._hidden", "from tuner.a import _hidden", 'monkeypatch.setattr(thing, "_hidden", 1)',
        'monkeypatch.setattr("tuner.a._hidden", 1)', 'getattr(thing, "_hidden")', "Live().other._hidden.x",
        "thing._kept",
    ],
)  # fmt: skip
def test_a_test_that_reaches_for_a_private_name_is_counted(tmp_path: Path, line: str) -> None:
    product = "def _hidden(): ...\nclass Live:\n    def f(self):\n        self._kept = 1\n"
    assert measured(tmp_path, {"tuner/a.py": product, "tests/test_a.py": f"{line}\n"})[PRIVATE].value == 1


@pytest.mark.parametrize(
    "line",
    [
        "thing.__dict__", "thing._replace()", "self._hidden", "thing._nobody", "import os\nos._hidden",
        "study._study_id",
        "from other import _hidden", 'import os\nmonkeypatch.setattr(os, "_hidden", 1)', "_hidden()", '"_hidden"',
    ],
)  # fmt: skip
def test_what_is_not_ours_or_not_private_is_not_counted(tmp_path: Path, line: str) -> None:
    product = "def _hidden(): ...\n_replace = _study_id = 1\n"
    assert measured(tmp_path, {"tuner/a.py": product, "tests/test_a.py": f"{line}\n"})[PRIVATE].value == 0


def test_lengths_are_median_nine_tenths_and_most(tmp_path: Path) -> None:
    lengths = range(2, 12)  # ten functions
    text = "".join(f"@cache\ndef f{n}():\n" + "    x\n" * (n - 1) for n in lengths)
    found = measured(tmp_path, {"tuner/a.py": text, "studies/empty.py": "", "studies/b.py": "1\n2\n"})
    assert found[FUNCTIONS].value == (6, 10, 11)
    assert found[FUNCTIONS].places[0] == "tuner/a.py:65  f11  11"
    assert found[FILES].value == (2, 75, 75)


def test_modules_that_import_one_another_are_a_circle(tmp_path: Path) -> None:
    files = {
        "tuner/__init__.py": "",
        "tuner/a.py": "from tuner import b\n",
        "tuner/b.py": "import tuner.c\n",
        "tuner/c.py": "try:\n    from .a import f\nexcept ImportError: ...\n",
        "tuner/d.py": "from tuner.a import f\n",
    }
    found = measured(tmp_path, files)[CIRCLES]
    assert found.places == ("tuner.a -> tuner.b -> tuner.c",)


@pytest.mark.parametrize(
    "late", ["def f():\n    from tuner import b\n", "if TYPE_CHECKING:\n    from tuner import b\n"]
)
def test_an_import_that_comes_later_closes_no_circle(tmp_path: Path, late: str) -> None:
    assert measured(tmp_path, {"tuner/a.py": late, "tuner/b.py": "from tuner import a\n"})[CIRCLES].value == 0


@pytest.mark.parametrize(
    ("path", "line", "upwards"),
    [
        ("studies/a.py", "import tuner.a", 1),
        ("trainers/a.py", "def f():\n    from studies import store", 1),
        ("search_spaces/a.py", "from trainers.job import run", 1),
        ("search_spaces/a.py", "from trainers.config import TrialConfig", 0),
        ("search_spaces/a.py", "from trainers.configured import x", 1),
        ("studies/a.py", "from trainers.results import JobResult", 0),
        ("studies/a.py", "import search_spaces, json", 0),
        ("tuner/a.py", "import trainers.job, studies", 0),
        ("trainers/a.py", "from trainers import b", 0),
    ],
)
def test_an_arrow_runs_upwards_or_does_not(tmp_path: Path, path: str, line: str, upwards: int) -> None:
    assert measured(tmp_path, {path: f"{line}\n"})[ARROWS].value == upwards


def test_the_page_is_counted_and_must_be_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert measured(tmp_path, {})[PAGE].value == 2
    (tmp_path / "ARCHITECTURE.md").unlink()
    assert main([str(tmp_path)]) == 2
    assert "ARCHITECTURE.md" in capsys.readouterr().err


def test_a_folder_that_is_no_checkout_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert "ROOT is a checkout of this project" in capsys.readouterr().err


def test_the_command_measures_this_checkout_and_imports_nothing_of_it() -> None:
    script = (
        "import sys, benchmarks.structure.__main__ as command\n"
        "assert command.main(['--json']) == 0\n"
        "print([name for name in ('tuner', 'studies', 'trainers', 'search_spaces') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    found, _, loaded = done.stdout.rpartition("}\n")
    assert loaded.strip() == "[]"
    of_today = {name: one["value"] for name, one in json.loads(found + "}").items()}
    assert (of_today[CIRCLES], of_today[ARROWS]) == (0, 0)


def test_the_list_shows_the_places(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    measured(tmp_path, {"tuner/a.py": 'def f(head):\n    return head["metrics"]\n'})
    assert main([str(tmp_path), "--list"]) == 0
    assert "    tuner/a.py:2  head['metrics']\n" in capsys.readouterr().out
