"""A study that grows: its old trials stay and are learned from, and whatever else changed is refused."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
from bottle import Bottle
from optuna.distributions import CategoricalDistribution

from search_spaces import Space, loads
from studies.dashboard.publish import publish
from studies.dashboard.server import dashboard_app
from studies.errors import StudyMismatchError
from studies.export.write import export_config
from studies.figures.importances import importances_info
from studies.figures.slices import slices_info
from studies.findings.cautions import cautions
from studies.report.write import write_report
from studies.sql.database import Database
from studies.sql.renaming import rename_study
from studies.store import Store
from studies.study_data import StudyData, load_study_data
from tests.support.pretend import job_result
from tuner.launch import growth_notes
from tuner.search.planner import Planner

TEXT = """version: 1
name: small
task: {dataset: digits-lt}
stage1: {lr: 0.05, weight_decay: {low: 1e-3, high: 1e-2, log: true}}
stage2: {loss: {choices: [cb_ce, vs]}, weight_decay: {low: 1e-3, high: 1e-1, log: true}}
budget: {backbones: 6, heads_per_backbone: 4, rounds: 2}
baselines: [naive, weight_decay]
"""
WIDER = (
    "stage1.weight_decay.high=5e-2",
    "stage1.lr={low: 0.01, high: 0.1, log: true}",
    "stage2.loss.choices=[cb_ce, vs, ldam]",
)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'studies.db'}"


@pytest.fixture
def opened(url: str) -> Iterator[Callable[..., Planner]]:
    """Opens the study with its space changed like this, as a driver does."""
    stores: list[Store] = []

    def open_(*overrides: str, grow: bool = True, **other: Any) -> Planner:
        known = stores[-1].study().space_yaml if stores else TEXT
        space = loads(known, overrides=overrides)
        stores.append(create(url, space, grow=grow, **other))
        return Planner(space, stores[-1])

    yield open_
    for store in stores:
        store.close()


def create(url: str, space: Space, **other: Any) -> Store:
    return Store.create_or_open(
        url, name=space.name, space_yaml=space.to_yaml(), space_sha256=space.sha256, objective=space.objective, **other
    )


def go_on(planner: Planner, jobs: int = 1000) -> None:
    """Runs so many jobs or readings, or all there are."""
    while jobs > 0 and (task := planner.next_task()) is not None:
        planner.complete(task, job_result(task.configs, read_test=task.kind == "reading"))
        jobs -= 1


def told(trials: Sequence[Any]) -> list[Any]:
    return [(row.number, row.state, dict(row.params), row.value, row.space) for row in trials]


@pytest.fixture
def grown(opened: Callable[..., Planner]) -> StudyData:
    """A study whose search was over, test read, before its space grew in three ways."""
    go_on(opened())
    planner = opened(*WIDER, "budget.backbones=14")
    go_on(planner)
    return load_study_data(planner.store)


# -- the search ---------------------------------------------------------------------------------------------------


def test_old_trials_stay_and_new_ones_come_from_the_whole_of_the_wider_space(opened: Callable[..., Planner]) -> None:
    first = opened("sampler.stage1=random")
    go_on(first)
    before = first.store.trials()
    planner = opened(*WIDER, "budget.backbones=14")
    go_on(planner)
    after = planner.store.trials()
    assert told(after)[: len(before)] == told(before)
    new = after[len(before) :]
    assert {row.space for row in new} == {2}
    assert max(row.config["stage1.weight_decay"] for row in new) > 1e-2
    assert len({row.config["stage1.lr"] for row in new}) > 4
    assert {row.config["stage2.loss"] for row in new} == {"cb_ce", "vs", "ldam"}
    assert [row.space for row in before] == [1] * len(before)


def test_a_study_that_is_killed_in_between_goes_on_like_one_that_is_not(url: str, tmp_path: Path) -> None:
    endings = []
    for name, stops in (("whole", (1000,)), ("killed", (0, 3, 1, 1000))):
        space = loads(TEXT, overrides=[f"name={name}"])
        with create(url, space) as store:
            go_on(Planner(space, store), 5)
        wider = loads(space.to_yaml(), overrides=WIDER)
        for jobs in stops:  # the first stop is between the change of the space and its first trial
            with create(url, wider, grow=True) as store:
                planner = Planner(wider, store)
                go_on(planner, jobs)
                planner.next_task()  # a job that is under way when the driver dies
                assert loads(store.study().space_yaml) == wider
                assert len(store.spaces()) == 2
        with Store.open(url, name) as store:
            endings.append(told(store.trials()))
    assert endings[0] == endings[1]


def test_an_interrupted_job_of_the_narrower_space_is_adopted(opened: Callable[..., Planner]) -> None:
    first = opened()
    go_on(first, 2)
    left = first.next_task()
    assert left is not None
    planner = opened(*WIDER)
    adopted = planner.next_task()
    assert adopted is not None
    assert adopted.job is not None
    assert adopted.job.numbers == left.job.numbers  # type: ignore[union-attr]
    planner.complete(adopted, job_result(adopted.configs))
    go_on(planner)
    assert planner.tally.running == 0
    assert {row.space for row in planner.store.trials() if row.number in adopted.job.numbers} == {1}


def test_points_that_were_added_are_tried_next(opened: Callable[..., Planner]) -> None:
    first = opened("start=[{stage1.weight_decay: 2e-3}]")
    go_on(first, 4)
    there = len({row.backbone_index for row in first.store.trials()})
    planner = opened("start=[{stage1.weight_decay: 2e-3}, {stage1.weight_decay: 7e-3, stage2.loss: vs}]")
    go_on(planner)
    rows = planner.store.trials()
    assert {row.config["stage1.weight_decay"] for row in rows if row.backbone_index == there} == {7e-3}
    assert next(row.config["stage2.loss"] for row in rows if row.backbone_index == there) == "vs"
    assert sum(row.config["stage1.weight_decay"] == 7e-3 for row in rows) == 4  # and once


def test_a_study_without_room_says_so(opened: Callable[..., Planner]) -> None:
    go_on(opened())
    assert list(growth_notes(opened())) == []
    first, second = growth_notes(opened("stage1.weight_decay.high=5e-2"))
    assert "stage1.weight_decay: 0.001 to 0.01, logarithmic -> 0.001 to 0.05, logarithmic" in first
    assert "trials from 25 on" in first
    assert "leaves no room" in second
    assert "tuner resume small --set budget.backbones=NUMBER" in second
    planner = opened("budget.backbones=7")  # later
    assert len(list(growth_notes(planner))) == 1
    go_on(planner)
    assert list(growth_notes(planner)) == []


# -- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("stage1.weight_decay.high=5e-3", "stage1.weight_decay ends at 0.01 in the study, and high cannot fall to"),
        ("task.imbalance_factor=10", "task.imbalance_factor is 50 in the study, not 10"),
        ("objective=val.few", "objective is val.balanced_accuracy in the study, not val.few"),
        ("sampler.stage1=tpe", "sampler.stage1 is gp in the study, not tpe"),
        ("baselines=[]", "baselines is naive, weight_decay in the study, not an empty list"),
    ],
)  # fmt: skip
def test_what_does_not_grow_is_refused_with_a_way_out(
    override: str, words: str, opened: Callable[..., Planner]
) -> None:
    store = opened().store
    before = store.study()
    with pytest.raises(StudyMismatchError) as caught:
        opened("stage1.lr={low: 0.01, high: 0.1}", override)
    assert words in str(caught.value)
    assert "--name" in str(caught.value)
    assert store.study() == before
    assert len(store.spaces()) == 1


def test_a_launch_must_ask_for_it_and_cannot_take_it_back(opened: Callable[..., Planner], url: str) -> None:
    opened()
    with pytest.raises(StudyMismatchError, match=r"narrower space \(stage1.lr: .*; stage1.weight_decay: .*--grow"):
        opened(*WIDER, grow=False)
    opened(*WIDER)
    with pytest.raises(StudyMismatchError, match=r"wider space, and cannot shrink: stage1.lr is .*tuner resume small"):
        create(url, loads(TEXT), grow=True)
    with pytest.raises(StudyMismatchError, match="searches another space"):
        create(url, loads(TEXT, overrides=[*WIDER[:2], "stage2.loss.choices=[ldam, vs, cb_ce]"]))


def test_other_data_changes_nothing(opened: Callable[..., Planner]) -> None:
    planner = opened()
    go_on(planner, 1)
    with pytest.raises(StudyMismatchError, match="made on other images"):
        opened(*WIDER, data_fingerprint="other")
    assert len(planner.store.spaces()) == 1


# -- the history --------------------------------------------------------------------------------------------------


def test_the_history_says_since_which_trial_and_by_whom(opened: Callable[..., Planner]) -> None:
    go_on(opened(), 3)
    numbers = len(opened().store.trials())
    store = opened(WIDER[0]).store
    first, second = opened("budget.backbones=9").store.spaces()  # a larger budget is the same space
    assert (first.number, first.first_trial, first.driver, first.grew) == (1, 0, None, ())
    assert loads(first.space_yaml) == loads(TEXT)
    assert (second.number, second.first_trial) == (2, numbers)
    assert second.driver is not None
    assert "pid=" in second.driver
    assert second.space_sha256 == store.study().space_sha256
    third = opened(WIDER[2]).store.spaces()[2]
    assert (third.number, third.first_trial) == (3, numbers)


def test_it_goes_with_a_renamed_study_and_with_a_deleted_one(opened: Callable[..., Planner], url: str) -> None:
    store = opened(WIDER[0]) and opened(WIDER[1]).store
    spaces = store.spaces()
    assert len(spaces) == 2
    rename_study(store.database, store._study_id, "renamed")
    with Store.open(url, "renamed") as renamed:
        assert renamed.spaces() == spaces
        renamed.optuna_study()._storage.delete_study(renamed._study_id)
    with create(url, loads(TEXT)) as again:  # SQLite gives it the same id
        assert len(again.spaces()) == 1


# -- what is said of it -------------------------------------------------------------------------------------------


PLOTS = ("slice", "parallel_coordinate", "contour", "rank", "optimization_history", "param_importances")


FEW = pytest.mark.filterwarnings("ignore:Some regimes for parameter")  # the naive baseline alone has no parameters


@FEW
def test_optunas_plots_draw_differing_ranges_and_choices(grown: StudyData, opened: Callable[..., Planner]) -> None:
    store = opened().store
    study = store.optuna_study()
    kinds = {trial.distributions.get("stage2.loss") for trial in study.trials} - {None}
    assert kinds == {CategoricalDistribution(("cb_ce", "vs")), CategoricalDistribution(("cb_ce", "vs", "ldam"))}
    for name in PLOTS:
        drawn = getattr(optuna.visualization, f"plot_{name}")(study)
        assert drawn.data, name
    assert publish(store, grown)


@FEW
@pytest.mark.usefixtures("grown")
def test_optunas_dashboard_shows_the_widest_space(url: str, tmp_path: Path) -> None:
    with closing(Database(url, looking=True)) as database:
        app = dashboard_app(database, artifacts=tmp_path / "artifacts", check_name=str)
        detail = get(app, "/api/studies/1")
        wide = {one["name"]: one["distribution"] for one in detail["union_search_space"]}
        weight_decay = wide["stage1.weight_decay"]
        assert (weight_decay["low"], weight_decay["high"]) == (1e-3, 5e-2)
        assert {one["value"] for one in wide["stage2.loss"]["choices"]} == {"cb_ce", "vs", "ldam"}
        importances = get(app, "/api/studies/1/param_importances")["param_importances"][0]
        assert "stage2.weight_decay" in {one["name"] for one in importances}


def get(app: Bottle, path: str) -> Any:
    """What the dashboard's page gets."""
    status: list[str] = []
    environ = {
        "REQUEST_METHOD": "GET", "PATH_INFO": path, "HTTP_HOST": "localhost", "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(), "SERVER_NAME": "", "SERVER_PORT": "80", "wsgi.url_scheme": "http",
        "HTTP_ACCEPT_ENCODING": "",
    }  # fmt: skip
    body = b"".join(app(environ, lambda code, headers, *_: status.append(code)))
    assert status == ["200 OK"], body
    return json.loads(body)


def test_our_figures_place_old_trials_in_the_widest_space(grown: StudyData) -> None:
    info = slices_info(grown)
    slices = {one.name: one for one in info.slices}  # type: ignore[union-attr]
    assert (slices["stage1.weight_decay"].low, slices["stage1.weight_decay"].high) == (1e-3, 5e-2)
    assert len(slices["stage1.lr"].numbers) == len(grown.searched)  # fixed for the first ones
    assert "stage1.lr" in importances_info(grown).names  # type: ignore[union-attr]


def test_report_and_export_say_which_space_a_trial_was_drawn_from(grown: StudyData, tmp_path: Path) -> None:
    write_report(grown, tmp_path / "report.html")
    page, report = (tmp_path / "report.html").read_text(), json.loads((tmp_path / "report.json").read_text())
    assert "The spaces of the study" in page
    assert "pid=" not in json.dumps(report)
    table = report["tables"]["spaces"]
    assert [row[:3] for row in table["rows"]] == [[1, 0, 25], [2, 25, 32]]
    assert "stage1.lr: 0.05 -> 0.01 to 0.1, logarithmic" in table["rows"][1][4]
    trials = report["tables"]["trials"]
    assert {row[trials["columns"].index("space")] for row in trials["rows"]} == {1, 2}
    assert "(the middle of its range then)" not in report["naive"]  # stage1.lr was fixed then
    best, old = grown.best, grown.trials[1]
    assert best is not None
    for number, row in ((None, best), (old.number, old)):
        origin = export_config(grown, number=number)["provenance"]["drawn_from"]
        assert (origin["space"], origin["of"]) == (row.space, 2)
        assert origin["sha256"] == grown.spaces[row.space - 1].space_sha256
    assert export_config(grown, baseline="naive")["provenance"]["drawn_from"]["space"] == 1


def test_nothing_is_said_of_a_study_that_did_not_grow(opened: Callable[..., Planner], tmp_path: Path) -> None:
    planner = opened()
    go_on(planner)
    data = load_study_data(planner.store)
    write_report(data, tmp_path / "report.html")
    report = json.loads((tmp_path / "report.json").read_text())
    assert "spaces" not in report["tables"]
    assert "space" not in report["tables"]["trials"]["columns"]
    assert "drawn_from" not in export_config(data)["provenance"]
    assert not any("went on after test" in line for line in cautions(data))


@pytest.mark.parametrize(
    ("overrides", "cause"), [((), "a larger budget: 4 trials"), (WIDER, "a wider space: 4 trials")]
)
def test_a_search_that_goes_on_after_test_was_read_is_a_caution(
    overrides: Sequence[str], cause: str, opened: Callable[..., Planner]
) -> None:
    go_on(opened())
    planner = opened(*overrides, "budget.backbones=7")
    go_on(planner)
    data = load_study_data(planner.store)
    assert any(f"The search went on after test data was read, with {cause} came later" in one for one in cautions(data))
    roles = [(row.role, json.dumps(dict(row.config))) for row in data.readings]
    assert len(roles) == len(set(roles)), "each chosen configuration once"
    assert data.reading("best") is not None


def test_a_reading_is_due_again_only_for_another_choice(grown: StudyData) -> None:
    read = [row.number for row in grown.readings if row.role == "best"]
    assert len(read) == len(set(read))
    assert grown.best is not None
    assert read[-1] == grown.best.number
    assert dataclasses.replace(grown, readings=()).reading("best") is None
