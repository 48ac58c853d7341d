"""What comes out of a study by command: baselines as configurations that train, the end's figures, comparisons."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean

import pytest
from typer.testing import CliRunner, Result

from search_spaces import load
from studies.errors import StudyMismatchError
from studies.export.read import ExportError, load_config
from studies.store import Store
from studies.study_data import load_study_data
from trainers.results import JobResult
from tuner.cli import app
from tuner.commands.results import check_name
from tuner.errors import UsageError
from tuner.paths import Home
from tuner.search.planner import Planner
from tuner.terminal.tables import figure_lines


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "runs")


@pytest.fixture
def store(home: Home, pretend: Callable[..., JobResult]) -> Iterator[Store]:
    """A study that has run to its end, without any training; its readings came in the order of jobs."""
    space = load("wd_maxnorm.yaml", overrides=["budget.backbones=2", "budget.heads_per_backbone=4"])
    home.root.mkdir()
    known = {"space_yaml": space.to_yaml(), "space_sha256": space.sha256, "objective": space.objective}
    with Store.create_or_open(home.storage_url, name="shown", **known) as opened:
        planner = Planner(space, opened)
        tasks = []
        while (task := planner.next_task()) is not None:
            tasks.append(task)
            planner.complete(task, pretend(task))
        opened.set_state("done")
        yield opened


def tuner(home: Home, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--home", str(home.root)])


@pytest.mark.parametrize("role", ["naive", "weight_decay", "l2_norm", "tau_norm", "logit_adjustment"])
def test_every_baseline_can_be_exported(store: Store, home: Home, role: str) -> None:
    ran = tuner(home, "export", "shown", "--baseline", role)
    assert ran.exit_code == 0, ran.exception
    path = home.study("shown") / f"{role}.yaml"
    assert ran.stdout.split() == [str(path)]
    reading = load_study_data(store).reading(role)
    assert reading is not None
    assert dict(load_config(path).config) == dict(reading.config)
    assert f"tuner train {role}.yaml" in path.read_text(encoding="utf-8")


def test_what_cannot_be_exported_is_told(store: Store, home: Home) -> None:
    unknown = tuner(home, "export", "shown", "--baseline", "ncm").exception
    assert isinstance(unknown, ExportError)
    assert "it has naive, weight_decay" in str(unknown)
    both = tuner(home, "export", "shown", "--baseline", "naive", "--trial", "1").exception
    assert isinstance(both, UsageError)
    front = tuner(home, "export", "shown", "--baseline", "naive", "--pareto", str(home.root / "front")).exception
    assert isinstance(front, UsageError)


def test_readings_are_in_the_order_of_the_space_and_fresh_seeds_by_seed(store: Store) -> None:
    data = load_study_data(store)
    assert [row.role for row in data.readings] == ["best", *data.space.baselines]
    assert [row.config["stage1.seed"] for row in data.fresh] == [1, 2, 3]


def test_the_end_says_mean_and_deviation_of_fresh_seeds_apart_from_the_chosen_run(store: Store) -> None:
    data = load_study_data(store)
    lines = figure_lines([*data.readings, *data.fresh])
    assert [line.split()[0] for line in lines[1:4]] == ["best", "mean", "deviation"]
    mean = fmean(row.metrics["test.balanced_accuracy"] or 0.0 for row in data.fresh)
    assert lines[2].startswith("  mean of seeds 1, 2, 3")
    assert f"{100 * mean:.1f} %" in lines[2]
    assert [line.split()[0] for line in lines[4:9]] == list(data.space.baselines)
    assert not any("fresh_seed" in line for line in lines)  # no baseline to be better than
    assert max(map(len, lines)) <= 80
    assert not any("seeds" in line for line in figure_lines(data.readings))


def test_best_has_the_fresh_seeds_beside_its_own_reading(store: Store, home: Home) -> None:
    found = json.loads(tuner(home, "best", "shown", "--json").stdout)
    runs = [row.metrics["test.few"] or 0.0 for row in load_study_data(store).fresh]
    assert found["fresh_seeds"]["seeds"] == [1, 2, 3]
    assert found["fresh_seeds"]["test"]["few"]["mean"] == pytest.approx(fmean(runs))
    shown = tuner(home, "best", "shown").stdout
    assert "fresh: mean ± deviation of seeds 1, 2, 3" in shown
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= 80
    assert "  fresh " in shown.splitlines()[1]


def test_objects_for_programs_say_what_stage_1_computed_in(store: Store, home: Home) -> None:
    best, status = (json.loads(tuner(home, command, "shown", "--json").stdout) for command in ("best", "status"))
    trials = json.loads(tuner(home, "trials", "shown", "--json").stdout)
    assert best["precision"] == status["best"]["precision"] == "fp32"
    assert {row["precision"] for row in trials if row["backbone"]} == {"fp32"}


def test_a_comparison_says_which_files_it_wrote(store: Store, home: Home) -> None:
    Store.create_or_open(home.storage_url, name="other", space_yaml=store.study().space_yaml, space_sha256="0",
                         objective=store.study().objective).close()  # fmt: skip
    ran = tuner(home, "report", "shown", "--compare", "other")
    assert ran.exit_code == 0, ran.exception
    written = [Path(line) for line in ran.stdout.split()]
    assert {path.suffix for path in written} == {".html", ".json", ".csv"}
    assert all(path.exists() for path in written)


def test_the_dashboard_takes_names_of_machines_and_of_studies_only(store: Store, home: Home) -> None:
    assert tuner(home, "dashboard", "--allow-host", "").exit_code == 2
    for name in ("http://gpu.lab", "gpu.lab:8080", "*"):
        ran = tuner(home, "dashboard", "--allow-host", name)
        assert isinstance(ran.exception, UsageError)
        assert "without http:// and port" in str(ran.exception)
    for name in ("cache", "artifacts", "studies.db"):
        with pytest.raises(StudyMismatchError, match="the output folder uses that name"):
            check_name(home, name)
    check_name(home, "wd_maxnorm")
