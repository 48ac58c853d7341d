"""The card beside a model holds names and provenance of others, and no markup but its own."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from studies.export.read import ExportedConfig, ExportError, load_config
from studies.findings.spread import Spread
from tests.support.rendered import HOSTILE, JOINER, as_read, rendered
from trainers.config import TrialConfig
from trainers.files.model_file import ModelCard
from trainers.results import ClassCounts
from tuner.retrain.model_card import model_card

CONFIG = TrialConfig.from_flat({}).to_flat()


def card(names: tuple[str, ...], *, word: str, config: dict[str, Any]) -> str:
    """The card of a model of these classes, of an export that says `word` wherever an export says anything."""
    counts = tuple(range(200, 200 - len(names), -1))
    known = ModelCard(
        model=word, class_names=names, channels=3, image_size=32, mean=(0.5,) * 3, std=(0.2,) * 3, temperature=1.5,
        data_fingerprint=word, config=config, train_counts=counts, pixel_scale={"integers": (0, 4095)},
    )  # fmt: skip
    chosen = {"metric": word, "split": word, "among": word, "rule": word}
    several = {"split": word, "mean": 0.5, "deviation": 0.1, "run_of_the_search": 0.75, "seeds": [0, word]}
    provenance = {"study": word, "trial": word, "selected_by": chosen, "over_seeds": several, "created": word}
    return model_card(
        known,
        ClassCounts(correct=(1,) * len(names), total=(2,) * len(names)),
        {"test.balanced_accuracy": Spread(0.5, 0.1)},
        seeds=[0, 1],
        task=SimpleNamespace(counts=counts, train=counts, val=(), test=(), notes=(word,)),  # type: ignore[arg-type]
        exported=ExportedConfig(config=config, expect={}, provenance=provenance, places={}),
    )


@pytest.mark.parametrize("word", HOSTILE)
def test_a_hostile_export_adds_no_element(word: str) -> None:
    config = {name: word if isinstance(value, str) else value for name, value in CONFIG.items()}
    plain = rendered(card(("cat", "dog"), word="plain", config={**config, **dict.fromkeys(strings(), "plain")}))
    page = rendered(card(("cat", "dog"), word=word or "x", config={**config, **dict.fromkeys(strings(), word or "x")}))
    assert page.elements == plain.elements
    assert page.attributes == plain.attributes


def test_a_choice_by_the_mean_over_seeds_is_told_with_the_run_that_was_found() -> None:
    page = card(("cat", "dog"), word="plain", config=CONFIG)
    assert "Over seeds 0, plain it reached 50.0 ± 10.0 % on plain (mean ± deviation)" in page
    assert "the run by which the search found it had 75.0 %" in page


def strings() -> list[str]:
    return [name for name, value in CONFIG.items() if isinstance(value, str)]


def test_hostile_classes_are_rows_and_read_as_they_are() -> None:
    names = tuple(dict.fromkeys(as_read(word) or "x" for word in HOSTILE))[:40]
    page = rendered(card(names, word="plain", config=CONFIG))
    plain = rendered(card(tuple(f"c{k}" for k in range(len(names))), word="plain", config=CONFIG))
    assert page.elements == plain.elements
    assert all(name in page.text.replace(JOINER, "") for name in names if name != "a\\|b")


@pytest.mark.parametrize("block", ["selected_by", "over_seeds", "dataset", "hardware", "code", "versions", "expect"])
def test_provenance_of_another_shape_is_told_with_its_place(block: str, tmp_path: Path) -> None:
    path = tmp_path / "best.yaml"
    path.write_text(
        f"kind: tuner/config\nversion: 1\ntask: {{}}\nstage1: {{}}\nstage2: {{}}\nprovenance:\n  {block}: 3\n"
    )
    with pytest.raises(
        ExportError, match=rf"best\.yaml:7:\d+: error: provenance\.{block}: must be a mapping, but got 3"
    ):
        load_config(path)
