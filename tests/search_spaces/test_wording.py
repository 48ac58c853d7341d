"""Every mistake at once, each with its place and a way out, in words of the file."""

import typing

import pytest
from pydantic_core import core_schema

from search_spaces import SpaceError, loads
from trainers.config import DatasetName

FIVE_MISTAKES = """\
# How many mistakes?
version: 1
name: five
task: {dataset: digit-lt, imbalance_factor: 0.5}
stage1:
  lr: {low: 1e-1, high: 1e-4, log: true}
  wieght_decay: 0.1
sampler: {stage1: tep}
"""
HEAD = "version: 1\nname: x\ntask: {dataset: digits-lt}\n"


def lines(text: str, *, overrides: typing.Sequence[str] = (), name: str | None = None) -> list[str]:
    with pytest.raises(SpaceError) as caught:
        loads(text, source="bad.yaml", overrides=overrides, name=name)
    assert str(caught.value).splitlines() == [str(problem) for problem in caught.value.problems]
    return str(caught.value).splitlines()


def test_five_mistakes_are_five_lines() -> None:
    names = ", ".join(typing.get_args(DatasetName))
    assert lines(FIVE_MISTAKES) == [
        f"bad.yaml:4:17: error: task.dataset: must be one of {names}, but got 'digit-lt'; did you mean 'digits-lt'?",
        "bad.yaml:4:45: error: task.imbalance_factor: must be at least 1, but got 0.5",
        "bad.yaml:6:7: error: stage1.lr: low (0.1) must be below high (0.0001)",
        "bad.yaml:7:3: error: stage1.wieght_decay: unknown key 'wieght_decay'; did you mean 'weight_decay'?",
        "bad.yaml:8:19: error: sampler.stage1: must be one of gp, tpe, random, qmc, grid, but got 'tep'; "
        "did you mean 'tpe'?",
    ]


@pytest.mark.parametrize(
    ("block", "line"),
    [
        ("lr: 3\n", "4:1: error: lr: unknown key 'lr'; did you mean 'stage1.lr' or 'stage2.lr'?"),
        ("qqq: 3\n", "4:1: error: qqq: unknown key 'qqq'"),
        ("stage1: 3\n", "4:9: error: stage1: must be a mapping of keys and values, but got 3"),
        ("stage1:\n", "4:1: error: stage1: must be a mapping of keys and values, but got nothing"),
        ("stage1: {lr: '0.1'}\n", "4:14: error: stage1.lr: must be a number, but got '0.1'; leave out the quotes"),
        ("stage1: {lr: [1, 2]}\n", "4:14: error: stage1.lr: must be a number, but got a list; write {choices: [...]}"),
        ("stage1: {lr: }\n", "4:10: error: stage1.lr: must be a number, but got nothing"),
        ("stage1: {lr: 0}\n", "4:14: error: stage1.lr: must be greater than 0, but got 0"),
        ("stage1: {lr: .nan}\n", "4:14: error: stage1.lr: must be finite, but got nan"),
        ("stage1: {lr: true}\n", "4:14: error: stage1.lr: must be a number, but got true"),
        ("stage1: {momentum: 1}\n", "4:20: error: stage1.momentum: must be less than 1, but got 1"),
        ("stage1: {drw: 2}\n", "4:15: error: stage1.drw: must be at most 1, but got 2"),
        ("stage1: {seed: -1}\n", "4:16: error: stage1.seed: must not be negative, but got -1"),
        ("stage1: {epochs: 2.5}\n", "4:18: error: stage1.epochs: must be a whole number, but got 2.5"),
        ("stage1: {lr: {low: -1, high: 1}}\n", "4:20: error: stage1.lr.low: must be greater than 0, but got -1"),
        ("stage1: {lr: {low: 1}}\n", "4:10: error: stage1.lr.high: is missing; a range is {low: ..., high: ...}"),
        (
            "stage1: {lr: {min: 1, high: 2}}\n",
            "4:15: error: stage1.lr.min: unknown key 'min'; did you mean 'low'?",
        ),
        (
            "stage2: {loss: {values: [ce, vs]}}\n",
            "4:17: error: stage2.loss.values: unknown key 'values'; did you mean 'choices'?",
        ),
        (
            "stage2: {method: {choices: [crt, lsw]}}\n",
            "4:34: error: stage2.method.choices: must be one of weight_balancing, crt, lws, none, l2_norm, tau_norm, "
            "logit_adjustment, logit_adjustment_mul, ncm, but got 'lsw'; did you mean 'lws'?",
        ),
        (
            "stage2: {projection: {low: 1, high: 2}}\n",
            "4:22: error: stage2.projection: must be one of step, epoch, but got a mapping; "
            "it has no order, hence no range: write one value or {choices: [...]}",
        ),
        ("stage2: {lr: {choices: 3}}\n", "4:24: error: stage2.lr.choices: must be a list, but got 3"),
        (
            "objective: test.few\n",
            "4:12: error: objective: must be one of val.balanced_accuracy, val.many, val.medium, val.few, val.top1, "
            "val.top5, val.worst_decile_recall, val.harmonic_mean, but got 'test.few'; "
            "test data is read once, at the end, and never chooses",
        ),
        ("budget: {trials: 60}\n", "4:10: error: budget.trials: unknown key 'trials'; did you mean 'backbones'?"),
        ("budget: {hours: 0}\n", "4:17: error: budget.hours: must be greater than 0, but got 0"),
        ("refine: {top: x}\n", "4:15: error: refine.top: must be a whole number, but got 'x'"),
        ("baselines: naive\n", "4:12: error: baselines: must be a list, but got 'naive'"),
        (
            "baselines: [naive, naive_]\n",
            "4:20: error: baselines: must be one of naive, weight_decay, l2_norm, tau_norm, logit_adjustment, "
            "logit_adjustment_mul, ncm, but got 'naive_'; did you mean 'naive'?",
        ),
        ("baselines: [naive, naive]\n", "4:12: error: baselines: holds 'naive' twice"),
    ],
)
def test_one_mistake_is_one_line(block: str, line: str) -> None:
    assert [found.partition("; known here")[0] for found in lines(HEAD + block)] == [f"bad.yaml:{line}"]


@pytest.mark.parametrize(
    ("head", "line"),
    [
        ("name: x\ntask: {dataset: digits-lt}\n", "1:1: error: version: is missing; write version: 1"),
        ("version: 1\ntask: {dataset: digits-lt}\n", "1:1: error: name: is missing; write the name of the study"),
        ("version: 1\nname: x\ntask: {}\n", "3:1: error: task.dataset: is missing; write the name of a data set, "),
        (
            "version: 2\nname: x\ntask: {dataset: csv}\n",
            "1:10: error: version: must be 1, the format of this release, ",
        ),
        ("version: 1\nname: ../x\ntask: {dataset: csv}\n", "2:7: error: name: must be 1 to 64 letters, digits, "),
        ("version: 1\nname: 7\ntask: {dataset: csv}\n", "2:7: error: name: must be text, but got 7; put it in quotes"),
        (
            "version: 1\nname: x\ntask: {dataset: csv, model: {choices: [a]}}\n",
            "3:29: error: task.model: must be text, but got a mapping; the task is the same for a whole study",
        ),
        (
            "version: 1\nname: x\ntask: {dataset: csv, batch_size: 3}\n",
            "3:22: error: task.batch_size: unknown key 'batch_size'; did you mean 'stage1.",
        ),
        (
            "version: 1\nname: x\ntask: {dataset: csv, pretrained: yes}\n",
            "3:34: error: task.pretrained: must be true or false, but got 'yes'; did you mean true?",
        ),
    ],
)
def test_the_head_of_a_space(head: str, line: str) -> None:
    found = lines(head)
    assert len(found) == 1
    assert found[0].startswith(f"bad.yaml:{line}"), found


@pytest.mark.parametrize("name", [".", "..", "a/b", "", "-x", "x" * 65, "a\n", "a b", "ä"])
def test_study_names_stay_in_their_folder(name: str) -> None:
    assert any("error: name: " in line for line in lines(HEAD, name=name))


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "null\n"])
def test_nothing_is_no_space(text: str) -> None:
    assert [line.partition("error: ")[2] for line in lines(text)] == ["is empty; a space begins with version: 1"]


@pytest.mark.parametrize("text", ["- a\n", "hello\n", "3\n"])
def test_a_space_is_a_mapping(text: str) -> None:
    assert lines(text)[0].startswith("bad.yaml:1:1: error: must be a mapping of keys and values, but got ")


def test_the_rules_are_named_as_pydantic_names_them() -> None:
    from search_spaces.wording import _RULES_BY_KIND

    assert set(_RULES_BY_KIND) <= set(typing.get_args(core_schema.ErrorType))
