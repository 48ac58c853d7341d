"""--set."""

import pytest

from search_spaces import Space, SpaceError, loads
from search_spaces.parameters import Choices, Range

TEXT = """\
version: 1
name: x
task: {dataset: digits-lt}
stage1: {lr: {low: 1e-3, high: 1e-1, log: true}}
"""


def overridden(*overrides: str) -> Space:
    return loads(TEXT, overrides=overrides)


def test_values_are_yaml() -> None:
    space = overridden(
        "task.imbalance_factor=null",
        "task.download=true",
        "stage1.lr=1e-2",
        "stage1.weight_decay={low: 1e-4, high: 1e-2, log: true}",
        "stage2.method={choices: [crt, lws]}",
        "budget.backbones=3",
        "baselines=[naive]",
    )
    assert space.task.imbalance_factor is None
    assert space.task.download is True
    assert space.stage1.lr == 0.01
    assert isinstance(space.stage1.weight_decay, Range)
    assert isinstance(space.stage2.method, Choices)
    assert space.budget.backbones == 3
    assert space.baselines == ("naive",)


def test_the_inside_of_a_range_can_be_set() -> None:
    lr = overridden("stage1.lr.low=1e-2").stage1.lr
    assert isinstance(lr, Range)
    assert (lr.low, lr.high, lr.log) == (0.01, 0.1, True)


def test_the_last_one_counts() -> None:
    assert overridden("stage1.epochs=3", "stage1.epochs=4").stage1.epochs == 4


@pytest.mark.parametrize("path", ["/data/my set: 2 #1", "123", "no", "a=b", "[x", "C:\\data", "~/x", "ä/ö"])
def test_a_path_is_taken_as_it_stands(path: str) -> None:
    assert overridden(f"task.data={path}").task.data == path


def test_a_path_can_be_taken_away() -> None:
    assert overridden("task.data=/x", "task.data=null").task.data is None


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("stage1.lr=-1", "--set stage1.lr: error: must be greater than 0, but got -1"),
        ("stage1.lr={low: 2, high: 1}", "--set stage1.lr: error: low (2.0) must be below high (1.0)"),
        (
            "stage1.lr={low: 1, hgih: 2}",
            "--set stage1.lr: error: stage1.lr.hgih: unknown key 'hgih'; did you mean 'high'?",
        ),
        ("stage1.wd=1", "--set stage1.wd: error: unknown key 'wd'; did you mean 'weight_decay'?"),
        ("lr=1", "--set lr: error: unknown key 'lr'; did you mean 'stage1.lr' or 'stage2.lr'?"),
        ("stage1.lr=", "--set stage1.lr: error: must be a number, but got nothing"),
        ("stage1.lr=[1", "--set stage1.lr: error: is not valid YAML: while parsing a flow sequence: expected "),
        ("stage1.lr=*a", "--set stage1.lr: error: aliases (*a) are not allowed; write the value"),
        ("stage1.lr=!!int 3", "--set stage1.lr: error: tags (!!int) are not allowed; write the plain value"),
        ("stage1.lr={low: 1, low: 2}", "--set stage1.lr: error: stage1.lr.low: stands twice; the first is before it"),
        ("stage1.lr", "--set stage1.lr: error: must be KEY=VALUE, such as stage1.lr=0.01"),
        ("=3", "--set =3: error: must be KEY=VALUE, such as stage1.lr=0.01"),
        ("a\x1b[0m=3", "--set a\\x1b[0m=3: error: must be KEY=VALUE, such as stage1.lr=0.01"),
        ("task.data=a\x00b", "--set task.data: error: is not valid YAML: holds the control character U+0000"),
        (".".join("a" * 5000) + "=1", "--set a.a.a.a."),
    ],
)
def test_mistakes_name_the_option(override: str, line: str) -> None:
    with pytest.raises(SpaceError) as caught:
        overridden(override)
    assert str(caught.value.problems[0]).startswith(line)


def test_mistakes_of_the_file_come_first() -> None:
    with pytest.raises(SpaceError) as caught:
        loads(TEXT + "sampler: {seed: -1}\n", source="s", overrides=["stage1.lr=-1"])
    assert [problem.file for problem in caught.value.problems] == ["s", "--set stage1.lr"]


def test_an_override_mends_the_line_that_it_replaces() -> None:
    assert loads(TEXT + "objective: val.fwe\n", overrides=["objective=val.few"]).objective == "val.few"
