"""Figures and a note reach Optuna's dashboard."""

from __future__ import annotations

import dataclasses
import json
import re

import optuna
import optuna_dashboard
import pytest

from studies.dashboard.publish import DASHBOARD_FIGURES, in_title_order, note, publish, thinned_study
from studies.dashboard.server import server
from studies.findings.headline import headline
from studies.wording import mean_and_deviation
from tests.support.rendered import HOSTILE, JOINER, as_read, rendered
from tests.support.synthetic import Generator


class OneStudy:
    """As much of a store as `publish` asks for."""

    def __init__(self) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.study = optuna.create_study()

    def optuna_study(self) -> optuna.Study:
        return self.study


@pytest.fixture
def store():
    return OneStudy()


def saved(store):
    study = store.study
    return study._storage.get_study_system_attrs(study._study_id)


def test_small_numbered_figures_and_a_note(store):
    data = Generator().study(trials=2000, backbones=40)
    assert publish(store, data) == list(DASHBOARD_FIGURES)
    assert all(re.fullmatch(r"[a-z0-9_]+", name) for name in DASHBOARD_FIGURES)
    parts = {key: value for key, value in saved(store).items() if key.startswith("dashboard:plot_data:")}
    for name, title in DASHBOARD_FIGURES.items():
        whole = "".join(value for key, value in parts.items() if f":{name}:" in key)
        assert len(whole) < 70_000
        assert title in whole
        drawn = json.loads(whole)["layout"]
        assert (drawn["legend"]["y"], drawn["legend"]["yanchor"]) == (0, "bottom")  # far from the title
        assert not drawn.get("updatemenus")


def test_figures_come_in_the_order_of_their_titles(store, file_url, tmp_path):
    publish(store, Generator().study())
    attributes = saved(store)
    backwards = dict(reversed(attributes.items()))
    assert list(in_title_order(attributes)) == list(in_title_order(backwards)) == list(DASHBOARD_FIGURES)
    with server(file_url, port=0, artifacts=tmp_path):
        assert optuna_dashboard._app.get_plotly_graph_objects is in_title_order


def test_publishing_again_replaces(store):
    publish(store, Generator().study())
    before = len(saved(store))
    publish(store, Generator().study())
    assert len(saved(store)) == before


def test_a_study_without_results_publishes_its_note_only(store):
    empty = Generator().study(trials=0, failed=0, backbones=1, readings=False, baselines=False, epochs=False)
    assert publish(store, empty) == []
    assert "No trial" in note(empty)


def test_thinning_keeps_the_best_and_the_baselines():
    data = Generator().study(trials=500, backbones=10)
    few = thinned_study(data, trials=50)
    assert few.best == data.best
    assert few.naive == data.naive
    assert 25 <= len(few.searched) <= 51
    assert thinned_study(few, trials=500) is few


def test_the_note_is_the_headline():
    data = Generator().study()
    text = note(data)
    assert f"Trial **{data.best.number}**" in text
    assert "| naive |" in text
    assert "fresh seeds" not in text
    line = headline(Generator().study(fresh=3))
    over = mean_and_deviation(*line.fresh.of("test.balanced_accuracy"))
    assert f"| the same, fresh seeds 1, 2 and 3 | {over} over seeds | |" in note(Generator().study(fresh=3))


@pytest.mark.parametrize("word", HOSTILE)
def test_hostile_names_and_notes_are_text_in_the_note(word):
    def of(text):
        made = Generator(class_names=(text, *map(str, range(9)))).study(trials=4, backbones=2, epochs=False)
        empty = [
            dataclasses.replace(row, total=0, correct=0) if row.class_index == 0 else row
            for row in made.readings[0].classes
        ]
        best = dataclasses.replace(made.readings[0], classes=tuple(empty))
        study = dataclasses.replace(made.study, name=text, notes=(text,), objective=text)
        return rendered(note(dataclasses.replace(made, study=study, readings=(best, *made.readings[1:]))))

    page, plain = of(word or "x"), of("plain")
    assert page.elements == plain.elements
    assert page.attributes == plain.attributes
    assert page.text.replace(JOINER, "").count(as_read(word)) >= 2
