"""Every result says that the mean over seeds chose, and what the one run of the search had."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from search_spaces import load
from studies.dashboard.publish import note, thinned_study
from studies.export.read import load_config
from studies.export.write import dump_config, export_config
from studies.figures.timeline import timeline_info
from studies.findings.cautions import cautions
from studies.findings.headline import headline
from studies.report.comparison import headlines_table
from studies.store import Store
from studies.study_data import StudyData, load_study_data
from studies.wording import mean_and_deviation, per_cent
from tests.support.pretend import job_result, pretend_accuracy
from tuner.cli import app
from tuner.paths import Home
from tuner.search.planner import Planner
from tuner.terminal.time_left import Running
from tuner.terminal.watch import glance


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "runs")


@pytest.fixture
def store(home: Home) -> Iterator[Store]:
    """A study whose luckiest run is not its best configuration, run to its end without training."""
    wanted = ["budget.backbones=4", "budget.heads_per_backbone=4", "budget.fresh_seeds=0", "confirm={top: 3, seeds: 3}"]
    space = load("wd_maxnorm.yaml", overrides=wanted)
    home.root.mkdir()
    known = {"space_yaml": space.to_yaml(), "space_sha256": space.sha256, "objective": space.objective}
    with Store.create_or_open(home.storage_url, name="sure", **known) as opened:
        planner = Planner(space, opened)
        while (task := planner.next_task()) is not None:
            found = job_result(task.configs, read_test=task.kind == "reading", accuracy=_accuracy)
            planner.complete(task, found)
        opened.set_state("done")
        yield opened


def _accuracy(config: dict[str, float]) -> float:
    value, seed = pretend_accuracy(config), config["stage1.seed"]
    return value if seed == 0 else 0.9 - value + 0.01 * seed


def tuner(home: Home, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--home", str(home.root)])


def figures(data: StudyData) -> tuple[str, str]:
    """Mean and deviation of the chosen configuration, and its run in the search, in words."""
    best = data.best_confirmed
    assert best is not None
    assert best.trial.value is not None
    highest = max(row.value or 0.0 for row in data.searched)
    assert best.trial.value < highest
    return mean_and_deviation(*best.value), per_cent(best.trial.value)


def test_best_and_status(store: Store, home: Home) -> None:
    data = load_study_data(store)
    mean, single = figures(data)
    found = json.loads(tuner(home, "best", "sure", "--json").stdout)
    assert data.best is not None
    assert data.best_confirmed is not None
    assert found["number"] == data.best.number
    assert found["value"] == data.best.value
    assert found["over_seeds"]["mean"] == data.best_confirmed.value.mean
    assert found["over_seeds"]["seeds"] == [0, 1, 2]
    assert found["fresh_seeds"]["seeds"] == [1, 2]
    shown = tuner(home, "best", "sure").stdout
    assert f"{mean} over seeds 0, 1, 2" in shown
    assert f"{single} in the one run of the search" in shown
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= 80
    assert json.loads(tuner(home, "status", "sure", "--json").stdout)["best"]["over_seeds"] == found["over_seeds"]
    assert f"{per_cent(data.best_confirmed.value.mean)} #{data.best.number}" in tuner(home, "status", "sure").stdout
    assert glance(store).few == data.best_confirmed.mean("val.few")


def test_report_and_its_tables(store: Store, home: Home) -> None:
    data = load_study_data(store)
    mean, single = figures(data)
    path = Path(tuner(home, "report", "sure").stdout.split()[0])
    words = re.sub(r"<[^>]+>", "", path.read_text(encoding="utf-8").partition("</header>")[0]).replace("\xa0", " ")
    assert f"chosen on validation by its mean over seeds 0, 1 and 2: val.balanced_accuracy {mean}" in words
    assert "the highest of 3 configurations" in words
    assert f"of the search had {single}" in words
    assert "which had a part in the choice among 3 configurations, on validation alone" in words
    assert "which no choice was made by" not in words
    with (path.parent / "report_tables" / "confirmed.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["trial"]) for row in rows][:1] == [data.best.number if data.best else None]
    assert [row["runs"] for row in rows] == ["3"] * 3
    with (path.parent / "report_tables" / "trials.csv").open() as file:
        runs = [row for row in csv.DictReader(file) if row["role"] == "confirm"]
    assert sorted(row["stage1.seed"] for row in runs) == ["1", "1", "1", "2", "2", "2"]
    assert cautions(data)[:1] == cautions(dataclasses.replace(data, fresh=()))[:1]  # none about the confirmation


def test_export_dashboard_and_comparison(store: Store, home: Home) -> None:
    data = load_study_data(store)
    mean, single = figures(data)
    path = home.root / "best.yaml"
    path.write_text(dump_config(export_config(data)))
    origin = load_config(path).provenance
    assert data.best is not None
    assert data.best_confirmed is not None
    assert origin["selected_by"]["among"] == 3
    assert "highest mean" in origin["selected_by"]["rule"]
    assert origin["over_seeds"]["mean"] == data.best_confirmed.value.mean
    assert origin["over_seeds"]["run_of_the_search"] == data.best.value
    assert origin["expect"]["seeds"] == [1, 2]
    assert f"by its mean over seeds 0, 1 and 2: val.balanced_accuracy **{mean}**" in note(data)
    assert f"Its run in the search had {single}" in note(data)
    few = thinned_study(data, trials=1)
    assert few.best == data.best  # the others of the choice are kept
    rows = {row[0]: row[1] for row in headlines_table([headline(data)]).rows}
    assert rows["mean over seeds on validation"] == data.best_confirmed.value.mean


def test_runs_are_no_backbones_of_the_search_and_no_settings_that_vary(store: Store) -> None:
    data = load_study_data(store)
    assert headline(data).backbones == 4
    assert not [name for name in data.varying if name.endswith("seed")]
    assert {row.role for row in data.complete} == {"search", "naive"}
    info = timeline_info(data)
    assert [bar.kind for bar in info.jobs].count("other seeds") == 6  # type: ignore[union-attr]


def test_a_mean_over_fewer_runs_is_a_caution(store: Store) -> None:
    data = load_study_data(store)
    assert data.best_confirmed is not None
    lost = {data.best_confirmed.runs[1].number, *(one.runs[2].number for one in data.confirmed[:1])}
    rows = [dataclasses.replace(r, state="FAIL", value=None) if r.number in lost else r for r in data.trials]
    told = " ".join(cautions(dataclasses.replace(data, trials=tuple(rows))))
    assert "over fewer than 3 runs" in told or "the mean of 2 runs; 3 were planned, and 1 failed" in told
    none = [row for row in data.trials if row.role != "confirm"]
    unconfirmed = dataclasses.replace(data, trials=tuple(none))
    assert "chosen by its one run, which is lucky" in " ".join(cautions(unconfirmed))
    assert unconfirmed.best == max(data.searched, key=lambda row: (row.value or 0.0, -row.number))


def test_jobs_have_names(home: Home) -> None:
    space = load("wd_maxnorm.yaml", overrides=["budget.backbones=1", "budget.fresh_seeds=3", "confirm.seeds=2"])
    home.root.mkdir()
    known = {"space_yaml": space.to_yaml(), "space_sha256": space.sha256, "objective": space.objective}
    with Store.create_or_open(home.storage_url, name="named", **known) as opened:
        planner = Planner(space, opened)
        running, told = Running(planner), []
        before = sum(planner.work_left)
        while (task := planner.next_task()) is not None:
            running.started("job", task)
            told += [(row.what, row.reading) for row in running.rows]
            found = job_result(task.configs, read_test=task.kind == "reading", accuracy=_accuracy)
            planner.complete(task, found)
            running.ended("job", task, found)
        assert ("confirm backbone 0, seed 1", False) in told
        assert ("test of seed 1", True) in told  # its backbone is there
        assert [what for what, reading in told if what.startswith("fresh")] == ["fresh seed 2", "fresh seed 3"]
        assert sum(planner.work_left) == 0 < before
