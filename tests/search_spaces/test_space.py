"""What a space says about itself."""

from pathlib import Path

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution

from search_spaces import Space, load, loads, shipped
from trainers.config import TrialConfig

TEXT = """\
version: 1
name: x
task: {dataset: digits-lt, imbalance_factor: 50}
stage2:
  maxnorm_radius: {low: 0.1, high: 1, log: true, when: {stage2.projection: step}}
  projection: {choices: [step, epoch], when: {stage2.method: weight_balancing}}
  method: {choices: [weight_balancing, crt]}
  epochs: 5
stage1:
  lr: {low: 0, high: 0.3, step: 0.1}
budget: {backbones: 3, heads_per_backbone: 4}
refine: {top: 2, heads: 5}
baselines: [naive]
""".replace("low: 0,", "low: 0.1,")


@pytest.fixture
def space() -> Space:
    return loads(TEXT)


def test_fixed_is_what_was_written_in_the_trainers_types(space: Space) -> None:
    assert space.fixed == {"task.dataset": "digits-lt", "task.imbalance_factor": 50.0, "stage2.epochs": 5}
    assert isinstance(space.fixed["task.imbalance_factor"], float)


def test_searched_parameters_follow_those_that_they_depend_on(space: Space) -> None:
    assert space.searched == {
        "stage1.lr": FloatDistribution(0.1, 0.3, step=0.1),
        "stage2.method": CategoricalDistribution(["weight_balancing", "crt"]),
        "stage2.projection": CategoricalDistribution(["step", "epoch"]),
        "stage2.maxnorm_radius": FloatDistribution(0.1, 1, log=True),
    }
    assert list(space.searched) == ["stage1.lr", "stage2.method", "stage2.projection", "stage2.maxnorm_radius"]
    assert list(space.stage("stage1")) == ["stage1.lr"]
    assert list(space.stage("stage2")) == ["stage2.method", "stage2.projection", "stage2.maxnorm_radius"]


def test_conditions_pass_from_parent_to_child(space: Space) -> None:
    assert space.conditions == {
        "stage2.projection": {"stage2.method": ("weight_balancing",)},
        "stage2.maxnorm_radius": {"stage2.projection": ("step",)},
    }
    assert space.active("stage2.maxnorm_radius", {"stage2.method": "weight_balancing", "stage2.projection": "step"})
    assert not space.active(
        "stage2.maxnorm_radius", {"stage2.method": "weight_balancing", "stage2.projection": "epoch"}
    )
    assert not space.active("stage2.maxnorm_radius", {"stage2.method": "crt", "stage2.projection": "step"})
    assert not space.active("stage2.maxnorm_radius", {})
    assert space.active("stage1.lr", {})
    assert space.active("stage2.epochs", {})


def test_corners_are_whole_configurations(space: Space) -> None:
    corners = space.corners()
    assert {corner["stage1.lr"] for corner in corners} == {0.1, 0.3}
    assert {corner["stage2.method"] for corner in corners} == {"weight_balancing", "crt"}
    for corner in corners:
        assert corner.items() >= space.fixed.items()
        assert ("stage2.projection" in corner) == (corner["stage2.method"] == "weight_balancing")
        TrialConfig.from_flat(corner)


def test_nothing_searched_has_one_corner() -> None:
    parity = load("parity")
    assert parity.searched == {}
    assert parity.corners() == [parity.fixed]


def test_trials_counts_search_refinement_and_the_naive_baseline(space: Space) -> None:
    assert space.trials == 3 * 4 + 2 * 5 + 1
    assert loads(TEXT, overrides=["refine=null", "baselines=[tau_norm, ncm]"]).trials == 3 * 4
    assert loads(TEXT, overrides=["budget.backbones=1"]).trials == 1 * 4 + 1 * 5 + 1


def test_edges_are_found_on_the_scale_that_is_drawn_from(space: Space) -> None:
    assert space.edge({"stage2.maxnorm_radius": 0.105, "stage1.lr": 0.2}) == {"stage2.maxnorm_radius": "low"}
    assert space.edge({"stage2.maxnorm_radius": 0.14, "stage1.lr": 0.3}) == {"stage1.lr": "high"}
    assert space.edge({"stage2.method": "crt", "stage2.epochs": 5}) == {}


@pytest.mark.parametrize("text", [TEXT, *(load(name).to_yaml() for name in shipped())])
def test_canonical_text_reads_back_to_an_equal_space(text: str) -> None:
    space = loads(text)
    again = loads(space.to_yaml())
    assert again == space
    assert again.to_yaml() == space.to_yaml()
    assert (again.fixed, again.searched, again.conditions) == (space.fixed, space.searched, space.conditions)
    assert again.sha256 == space.sha256


def test_the_hash_is_of_what_changes_results(space: Space) -> None:
    same = ["budget.backbones=99", "refine=null", "budget.hours=1", "stage1.lr.low=0.10"]
    other = ["task.imbalance_factor=51", "stage1.lr.high=0.4", "objective=val.few", "sampler.seed=1", "baselines=[]"]
    assert {loads(TEXT, overrides=[override], name="other").sha256 for override in same} == {space.sha256}
    assert space.sha256 not in {loads(TEXT, overrides=[override]).sha256 for override in other}
    assert len({loads(TEXT, overrides=[override]).sha256 for override in other}) == len(other)


def test_the_order_of_the_file_does_not_matter(space: Space) -> None:
    head, stage2, stage1 = TEXT.partition("stage2:")[0], *TEXT.partition("stage2:")[2].split("stage1:")
    lines = stage2.strip("\n").split("\n")
    stage1, rest = stage1.split("budget:")
    turned = f"{head}budget:{rest}stage1:{stage1}stage2:\n" + "\n".join(reversed(lines))
    assert loads(turned) == space
    assert loads(turned).sha256 == space.sha256
    assert list(loads(turned).searched) == list(space.searched)


def test_spaces_cannot_be_changed(space: Space) -> None:
    with pytest.raises(ValueError, match="frozen"):
        space.name = "y"


@pytest.mark.parametrize(
    "path", ["x", "a b", "no", "null", "1e5", "1", "~", "a: b", "a #b", "ä\u2028\ufeff", 'q"\\', "", "😀", "-"]
)
def test_any_path_survives_the_canonical_text(path: str) -> None:
    space = Space.model_validate({"version": 1, "name": "x", "task": {"dataset": "csv", "data": path}})
    assert loads(space.to_yaml()).task.data == path
    assert loads(space.to_yaml()) == space


def test_floats_are_exact() -> None:
    space = loads(TEXT, overrides=[f"stage1.weight_decay={0.1 + 0.2!r}", "stage2.lr=1e-320"])
    assert loads(space.to_yaml()).stage1.weight_decay == 0.1 + 0.2
    assert loads(space.to_yaml()).stage2.lr == 1e-320


def test_a_file_is_read_as_it_stands(tmp_path: Path, space: Space) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(TEXT, encoding="utf-8")
    assert load(file) == space


@pytest.mark.parametrize(
    ("heads", "rounds", "expected"), [(8, 2, (4, 4)), (7, 3, (3, 2, 2)), (1, 2, (1,)), (5, 1, (5,))]
)
def test_rounds_share_the_heads(heads: int, rounds: int, expected: tuple[int, ...]) -> None:
    asked = [f"budget.heads_per_backbone={heads}", f"budget.rounds={rounds}"]
    assert load("wd_maxnorm", overrides=asked).heads_by_round() == expected


def test_a_budget_asks_for_no_more_than_there_is() -> None:
    text = """
version: 1
name: small
task: {dataset: digits-lt}
stage1: {lr: {choices: [0.01, 0.1]}, epochs: {low: 10, high: 30, step: 10}}
stage2: {weight_decay: {low: 0.0, high: 0.3, step: 0.1}}
budget: {backbones: 20, heads_per_backbone: 3, rounds: 2}
refine: {top: 9, heads: 8}
baselines: []
"""
    space = loads(text)
    assert (space.points("stage1"), space.points("stage2")) == (6, 4)
    assert (space.backbones, space.heads_per_backbone, space.heads_to_refine) == (6, 3, 1)
    assert space.trials == 6 * 3 + 6 * 1
    fixed = loads(text, overrides=["stage2.weight_decay=0.1", "stage1.lr.choices=[0.1]", "stage1.epochs=10"])
    assert (fixed.backbones, fixed.heads_per_backbone, fixed.trials) == (1, 1, 1)
    assert loads(text, overrides=["stage1.lr={low: 0.1, high: 0.2}"]).points("stage1") == float("inf")
