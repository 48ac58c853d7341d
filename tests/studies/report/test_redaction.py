"""Pages that are passed on say nothing of whose machine it was; an export says what a run needs, and no more."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import optuna
import pytest

from search_spaces import loads
from studies.dashboard.publish import publish
from studies.export.data_path import located, portable
from studies.export.read import load_config
from studies.export.write import dump_config, export_config
from studies.report.comparison import write_comparison
from studies.report.redaction import name_only, redacted_study, redacted_tree, without_folders
from studies.report.write import write_report
from tests.support.synthetic import Generator

WHERE = "/tmp/q9 z/secret-user/sets/birds"
FORBIDDEN = ("secret-user", "q9 z", "/sets", "/home/")


@pytest.fixture(scope="module")
def data():
    """A study whose data, failures and notes lead into somebody's folders."""
    made = Generator(dataset="cifar10-lt", data=json.dumps(WHERE)).study(trials=24, backbones=4, failed=3, fresh=2)
    assert made.best.config["task.data"] == WHERE
    other = f"/mnt/secret-user/sets/birds2: other data; {WHERE}/cat/1.png: cannot be decoded"
    trials = [
        dataclasses.replace(row, reason=f"{WHERE}/cat/1.png: cannot be decoded" if row.state == "FAIL" else None)
        for row in made.trials
    ]
    moved = {**trials[-4].config, "task.data": "~/secret-user/birds"}  # went on elsewhere
    trials[-4] = dataclasses.replace(trials[-4], config=moved)
    best = made.trials.index(made.best)
    trials[best] = dataclasses.replace(trials[best], notes=(other,))
    study = dataclasses.replace(made.study, notes=(other, "database sqlite:////home/secret-user/runs/studies.db"))
    return dataclasses.replace(made, study=study, trials=tuple(trials))


def test_no_page_names_a_folder(data, tmp_path):
    plain = Generator(name="plain").study(trials=24, backbones=4)
    study = optuna.create_study()
    publish(type("Store", (), {"optuna_study": lambda self: study})(), data)
    kept = json.dumps(study._storage.get_study_system_attrs(study._study_id), ensure_ascii=False)
    pages = [*write_report(data, tmp_path / "r.html"), *write_comparison([data, plain], tmp_path / "c.html")]
    texts = {path.name: path.read_text(encoding="utf-8") for path in pages} | {"the dashboard": kept}
    assert len(texts) > 20
    for name, text in texts.items():
        assert [word for word in FORBIDDEN if word in text] == [], name
    for name in ("r.html", "r.json", "configuration.csv", "failures.csv"):
        assert "birds" in texts[name], name


def test_results_and_space_are_the_same_without_folders(data):
    clean = redacted_study(data)
    assert clean.best.number == data.best.number
    assert clean.space.sha256 == data.space.sha256
    assert clean.space.task.data == "…/birds"
    assert loads(clean.study.space_yaml).to_yaml() == clean.study.space_yaml
    assert redacted_study(clean) == clean
    plain = Generator().study(trials=6, backbones=2)
    assert redacted_study(plain) == plain


def test_a_space_of_another_release_loses_its_folders_too(data):
    study = dataclasses.replace(data.study, space_yaml=f"version: 7\ntask:\n  data: {WHERE}\n")
    clean = redacted_study(dataclasses.replace(data, study=study))
    assert clean.study.space_yaml == "version: 7\ntask:\n  data: …/birds\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/a/b/c.png: broken", "…/c.png: broken"),
        ("cannot read '/a/b/c.png'", "cannot read '…/c.png'"),
        ("(~/a/b)", "(…/b)"),
        ("data=/a/b", "data=…/b"),
        ("many/medium/few and 3/4", "many/medium/few and 3/4"),
        ("train/cat/1.png", "train/cat/1.png"),
        ("https://example.org/a/b", "https://example.org/a/b"),
        ("sqlite:////home/u/studies.db", "sqlite:///…/studies.db"),
    ],
)
def test_absolute_paths_are_cut_to_their_names(text, shown):
    assert without_folders(text) == shown


def test_names_of_paths():
    assert [name_only(path) for path in ("/a/b/c", "~/c", "../../b/c", "b/c", "c", "/c")] == [
        "…/c", "…/c", "…/c", "b/c", "c", "…/c",
    ]  # fmt: skip
    tree = {"config": {"task.data": "/a/b"}, "notes": ["/a/b/c.png"], "n": 3, "none": None}
    assert redacted_tree(tree) == {"config": {"task.data": "…/b"}, "notes": ["…/c.png"], "n": 3, "none": None}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Somebody's project with data beside runs, and a home."""
    home = tmp_path / "home" / "secret-user"
    for folder in (
        home / "project" / "data",
        home / "project" / "runs" / "s",
        home / "sets",
        tmp_path / "disk" / "sets",
    ):
        folder.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home / "project")
    return home / "project"


@pytest.mark.parametrize(
    ("data", "folder", "written"),
    [
        ("{project}/data", "runs/s", "../../data"),
        ("data", "runs/s", "../../data"),
        ("{project}/data", ".", "data"),
        ("{project}/data", "data", "."),
        ("{home}/sets", "runs/s", "~/sets"),  # three folders up is another project
        ("{home}/sets", "{home}/project", "../sets"),
        ("{home}/sets", "{tmp}/disk", "~/sets"),
        ("~/sets", "{tmp}/disk", "~/sets"),
        ("{tmp}/disk/sets", "{tmp}/disk/a/b", "../../sets"),
        ("{tmp}/disk/sets", "{home}", "{tmp}/disk/sets"),
        ("{tmp}/disk/sets", "runs/s", "{tmp}/disk/sets"),
        ("gone", "runs/s", "gone"),
        ("{tmp}/gone", "runs/s", "{tmp}/gone"),
    ],
)
def test_an_export_says_where_data_lie_so_that_it_runs_again(project, tmp_path, data, folder, written):
    known = {"project": project, "home": project.parent, "tmp": tmp_path}
    data, written, there = data.format(**known), written.format(**known), Path(folder.format(**known))
    there.mkdir(parents=True, exist_ok=True)
    assert portable(data, folder=there) == written
    found = Path(located(written, folder=there)).expanduser()
    assert not Path(data).expanduser().exists() or found.samefile(Path(data).expanduser())


def test_over_a_link_the_path_stays_one_that_leads_there(project, tmp_path):
    runs = tmp_path / "disk" / "runs"
    (runs / "s").mkdir(parents=True)
    (project / "linked").symlink_to(runs)
    assert portable(str(project / "data"), folder=project / "linked" / "s") == "~/project/data"


def test_a_project_may_move_and_old_exports_are_read_as_before(project, tmp_path):
    made = Generator(dataset="cifar10-lt", data=json.dumps(str(project / "data"))).study(trials=4, backbones=2)
    folder = project / "runs" / "s"
    text = dump_config(export_config(made, folder=folder))
    (folder / "best.yaml").write_text(text)
    assert "secret-user" not in text
    moved = tmp_path / "moved"
    project.rename(moved)
    os.chdir(tmp_path)
    found = load_config(moved / "runs" / "s" / "best.yaml").config["task.data"]
    assert Path(found).samefile(moved / "data")
    for old in ("here", str(moved / "data"), "~/sets", "nowhere"):  # of the current folder, absolute, of the home, gone
        (tmp_path / "here").mkdir(exist_ok=True)
        path = moved / "old.yaml"
        path.write_text(text.replace('data: "../../data"', f"data: {json.dumps(old)}"))
        assert load_config(path).config["task.data"] == old


@pytest.mark.parametrize("name", ["a\nkind: x", "a b; rm -r .", "\u2028x", "$(x)"])
def test_a_name_in_a_comment_stays_in_it(name):
    made = Generator().study(trials=4, backbones=2, readings=False)
    config = export_config(made)
    config["provenance"]["study"] = name
    text = dump_config(config, file=name)
    lines = text.splitlines()
    assert [line for line in lines if line.startswith("kind:")] == ["kind: tuner/config"]
    assert len([line for line in lines if line.startswith("# Run it again: tuner train '")]) == 1
