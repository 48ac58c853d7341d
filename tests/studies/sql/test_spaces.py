"""The spaces of a study in each kind of database: one transaction, kept with the study, gone with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import optuna
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from search_spaces import load
from studies.errors import StudyMismatchError
from studies.records import HeadRequest
from studies.store import Store

WIDER = ("stage1.weight_decay.high=0.5",)


def known(*overrides: str) -> dict[str, str]:
    space = load("wd_maxnorm", name="tail", overrides=overrides)
    return {"space_yaml": space.to_yaml(), "space_sha256": space.sha256, "objective": space.objective}


def test_it_grows_from_its_next_trial_on(url: str, new_store: Callable[..., Store], record: Callable[..., Any]) -> None:
    store = new_store(url, **known())
    record(store, heads=3)
    with pytest.raises(StudyMismatchError, match="--grow"):
        new_store(url, **known(*WIDER))
    assert store.study().space_yaml == known()["space_yaml"]
    for _ in range(2):  # once, however often it is given
        grown = new_store(url, **known(*WIDER), grow=True)
    first, second = grown.spaces()
    assert (first.space_yaml, first.first_trial, first.since) == (known()["space_yaml"], 0, store.study().created)
    assert (second.space_sha256, second.first_trial) == (known(*WIDER)["space_sha256"], 3)
    assert store.study().space_sha256 == second.space_sha256
    record(grown)
    assert [row.space for row in grown.trials()] == [1, 1, 1, 2, 2]


def test_a_point_that_waited_while_it_grew_is_drawn_from_the_space_of_its_proposal(
    url: str, new_store: Callable[..., Store], ask: Callable[..., HeadRequest]
) -> None:
    def record(at: Store, *heads: HeadRequest) -> tuple[int, ...]:
        return at.record_job("search", backbone_index=0, round=0, heads=heads).numbers

    store = new_store(url, **known())
    for place in range(3):
        assert store.enqueue({"stage1.lr": 0.01 * (place + 1)}) == place
    assert record(store, replace(ask(0), enqueued=1), ask(1)) == (1, 3)
    grown = new_store(url, **known(*WIDER), grow=True)
    assert record(grown, replace(ask(2), enqueued=0)) == (0,)
    assert record(grown, ask(3), replace(ask(4), enqueued=2)) == (4, 2)
    assert {row.number: row.space for row in grown.trials()} == {0: 2, 1: 1, 2: 2, 3: 1, 4: 2}


def test_a_study_that_optuna_deletes_leaves_none(url: str, new_store: Callable[..., Store]) -> None:
    new_store(url, **known()).close()
    store = new_store(url, **known(*WIDER), grow=True)
    optuna.delete_study(study_name="tail", storage=store.database.storage)
    with create_engine(url, poolclass=NullPool).connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM tuner_spaces")).scalar_one() == 0


def test_what_this_release_cannot_read_is_refused_as_another_space(url: str, new_store: Callable[..., Store]) -> None:
    new_store(url)
    with pytest.raises(StudyMismatchError, match="searches another space; a study keeps its space"):
        new_store(url, **known(), grow=True)
