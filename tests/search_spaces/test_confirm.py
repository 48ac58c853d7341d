"""`confirm` counts in the trials, may change when a study goes on, and is checked as the rest is."""

from __future__ import annotations

import pytest

from search_spaces import SpaceError, load, loads


def test_runs_count_and_the_meaning_stays() -> None:
    plain = load("wd_maxnorm")
    space = load("wd_maxnorm", overrides=["confirm={top: 20, seeds: 4}"])
    assert (plain.runs_to_confirm, space.runs_to_confirm) == (0, 8 * 3)  # one configuration a backbone
    assert space.trials == plain.trials + 24
    assert space.sha256 == plain.sha256
    assert loads(space.to_yaml()) == space
    assert "confirm" not in plain.to_yaml()  # as before the block existed
    assert load("wd_maxnorm", overrides=["confirm.top=2"]).runs_to_confirm == 2 * 2
    assert load("wd_maxnorm", overrides=["confirm.top=2", "confirm=null"]) == plain


def test_a_mean_needs_one_objective() -> None:
    several = ["confirm={top: 2, seeds: 2}", "objective=[val.balanced_accuracy, val.few]"]
    with pytest.raises(SpaceError, match="compares means of one objective"):
        load("wd_maxnorm", overrides=several)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("confirm.seeds=1", "must be 2 or more, the search's own run among them, but got 1"),
        ("confirm.top=0", "must be greater than 0, but got 0"),
        ("confirm.seeds=2.5", "must be a whole number, but got 2.5"),
        ("confirm=3", "must be a mapping of keys and values, but got 3"),
        ("confirm.tops=3", "unknown key 'tops'; did you mean 'top'?"),
    ],
)
def test_what_is_wrong_is_told(wrong: str, told: str) -> None:
    with pytest.raises(SpaceError) as caught:
        load("wd_maxnorm", overrides=[wrong])
    assert told in str(caught.value)
