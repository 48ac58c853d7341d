"""The spaces that ship."""

from importlib import resources

import pytest

from search_spaces import load, shipped
from search_spaces.parameters import Range
from trainers.config import TrialConfig


def text_of(name: str) -> str:
    return resources.files("search_spaces").joinpath(f"{name}.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", shipped())
def test_says_first_what_it_asks(name: str) -> None:
    question, editor = text_of(name).splitlines()[:2]
    assert question.startswith("# ")
    assert question.endswith("?")
    assert shipped()[name] == question.removeprefix("# ")
    assert editor == "# yaml-language-server: $schema=space-v1.json"


@pytest.mark.parametrize("name", shipped())
def test_carries_its_own_name_and_the_trainer_takes_its_corners(name: str) -> None:
    space = load(name)
    assert space.name == name
    for corner in space.corners():
        assert TrialConfig.from_flat(corner).to_flat().items() >= corner.items()


@pytest.mark.parametrize("name", [name for name in shipped() if name not in ("parity", "losses")])
def test_rates_decays_and_radii_are_searched_in_the_logarithm(name: str) -> None:
    space = load(name)
    wanted = ["stage1.lr", "stage1.weight_decay", "stage2.lr", "stage2.weight_decay", "stage2.maxnorm_radius"]
    assert set(wanted) <= set(space.searched)
    for part, field in (dotted.split(".") for dotted in wanted):
        form = getattr(getattr(space, part), field)
        assert isinstance(form, Range)
        assert form.log


def test_wd_maxnorm_searches_five_parameters_and_serves_other_data() -> None:
    space = load("wd_maxnorm", overrides=["task.dataset=cifar10-lt", "task.data=/images", "task.model=resnet20"])
    assert list(space.searched) == [
        "stage1.lr", "stage1.weight_decay", "stage2.lr", "stage2.weight_decay", "stage2.maxnorm_radius",
    ]  # fmt: skip
    assert (space.task.dataset, space.task.data, space.task.model) == ("cifar10-lt", "/images", "resnet20")


def test_own_data_takes_the_data_as_it_is() -> None:
    space = load("own_data", overrides=["task.dataset=parquet", "task.data=/images"])
    assert space.task.imbalance_factor is None


def test_parity_is_the_released_recipe() -> None:
    space = load("parity")
    config = TrialConfig.from_flat(space.fixed)
    assert space.searched == {}
    assert (space.budget.backbones, space.budget.heads_per_backbone) == (1, 1)
    assert (config.task.dataset, config.task.selection, config.task.imbalance_factor) == ("cifar100-lt", "first_n", 100)
    assert (config.task.protocol, config.task.model) == ("paper_leak", "resnet34")
    one, two = config.stage1, config.stage2
    assert (one.loss, one.lr, one.weight_decay, one.epochs, one.batch_size) == ("ce", 0.01, 5e-3, 320, 64)
    assert one.schedule == two.schedule == "cosine_ahead"
    assert (two.method, two.loss, two.beta) == ("weight_balancing", "cb_bce_softmax", 0.9999)
    assert (two.lr, two.weight_decay, two.epochs, two.maxnorm_radius) == (0.01, 0.1, 10, 0.1)
    assert (two.radius_unit, two.projection, two.features, two.epoch_rule) == ("norm_span", "epoch", "replay", "best")


def test_only_parity_looks_at_test_data() -> None:
    assert [name for name in shipped() if load(name).task.protocol != "honest"] == ["parity"]


@pytest.mark.parametrize("name", ["wd_maxnorm", "methods", "losses", "cifar10_lt", "cifar100_lt", "own_data"])
def test_where_it_is_affordable_the_spread_over_seeds_is_measured(name: str) -> None:
    budget = load(name).budget
    assert 3 <= budget.fresh_seeds <= 0.4 * budget.backbones  # at most two fifths of the search on top
