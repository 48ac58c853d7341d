"""A space may follow another one if it holds all of it; what else changed is refused by name."""

from __future__ import annotations

import pytest

from search_spaces import Growth, compare, loads

TEXT = """version: 1
name: x
task: {dataset: digits-lt, imbalance_factor: 50}
stage1:
  lr: {low: 0.01, high: 1, log: true}
  batch_size: {low: 16, high: 64, step: 16}
  momentum: 0.9
stage2:
  loss: {choices: [cb_ce, vs]}
  method: {choices: [weight_balancing, crt]}
  maxnorm_radius: {low: 0.1, high: 3, when: {stage2.method: weight_balancing}}
start: [{stage1.lr: 0.1}]
"""


def compared(*overrides: str, text: str = TEXT) -> Growth:
    return compare(loads(text), loads(text, overrides=overrides))


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("stage1.lr.high=2", "stage1.lr: 0.01 to 1, logarithmic -> 0.01 to 2, logarithmic"),
        ("stage1.lr.low=0.001", "stage1.lr: 0.01 to 1, logarithmic -> 0.001 to 1, logarithmic"),
        ("stage1.lr.high=1.0000001", "stage1.lr: 0.01 to 1, logarithmic -> 0.01 to 1, logarithmic"),
        ("stage1.batch_size.high=128", "stage1.batch_size: 16 to 64, step 16 -> 16 to 128, step 16"),
        ("stage1.batch_size={low: 8, high: 64, step: 8}", "stage1.batch_size: 16 to 64, step 16 -> 8 to 64, step 8"),
        ("stage1.batch_size={low: 16, high: 64}", "stage1.batch_size: 16 to 64, step 16 -> 16 to 64"),
        ("stage2.loss.choices=[ldam, vs, cb_ce]", "stage2.loss: one of cb_ce, vs -> one of ldam, vs, cb_ce"),
        ("stage1.momentum={low: 0.5, high: 0.95}", "stage1.momentum: 0.9 -> 0.5 to 0.95"),
        ("stage1.momentum={choices: [0.9, 0.95]}", "stage1.momentum: 0.9 -> one of 0.9, 0.95"),
        ("stage1.weight_decay={low: 0, high: 0.1}", "stage1.weight_decay: 0.005 -> 0 to 0.1"),  # the default
        ("start=[{stage1.lr: 0.1}, {}, {stage1.lr: 0.2, stage2.loss: vs}]",
         "start: 1 point -> 3 points, with an empty point; stage1.lr 0.2, stage2.loss vs"),
        ("stage2.momentum={choices: [0.9, 0.8], when: {stage2.method: crt}}",
         "stage2.momentum: 0.9 -> one of 0.9, 0.8, when stage2.method is crt"),
    ],
)  # fmt: skip
def test_what_grew_is_said_with_its_values_before_and_after(override: str, told: str) -> None:
    found = compared(override)
    assert found.refused == ()
    assert [str(change) for change in found.grew] == [told]
    assert found.allowed


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("stage1.lr.low=0.02", "stage1.lr begins at 0.01 in the study, and low cannot rise to 0.02"),
        ("stage1.lr.high=0.5", "stage1.lr ends at 1 in the study, and high cannot fall to 0.5"),
        ("stage1.lr.log=false", "stage1.lr is logarithmic in the study, and log cannot be switched"),
        ("stage1.lr=0.1", "stage1.lr is searched in the study (0.01 to 1, logarithmic), and cannot be fixed at 0.1"),
        ("stage1.lr={choices: [0.01, 0.1, 1]}", "stage1.lr is a range in the study, and cannot become choices"),
        ("stage1.batch_size={low: 16, high: 64, step: 24}",
         "stage1.batch_size would leave out values of the study with step 24 from 16"),
        ("stage1.batch_size={low: 8, high: 72, step: 16}",
         "stage1.batch_size would leave out values of the study with step 16 from 8"),
        ("stage1.lr={low: 0.01, high: 1, step: 0.01}", "stage1.lr is logarithmic"),
        ("stage1.momentum=0.8", "stage1.momentum is 0.9 in the study, and cannot become 0.8"),
        ("stage1.momentum={low: 0.1, high: 0.8}",
         "stage1.momentum is 0.9 in the study, and the new range must hold that value"),
        ("stage1.momentum={low: 0.1, high: 0.95, step: 0.85}", "and the new range must hold that value"),
        ("stage1.momentum={choices: [0.8]}", "and the new choices must hold that value"),
        ("stage2.momentum={choices: [0.9, 0.8], when: {stage2.method: crt}}",
         "stage2.momentum is 0.8 in the study, which its new condition (when) would leave out"),
        ("stage2.lr={low: 1, high: 2, when: {stage2.method: crt}}", "stage2.lr is 0.01 in the study, and the new"),
        ("stage2.loss.choices=[vs, ldam]", "stage2.loss has the choice cb_ce in the study, which must stay"),
        ("stage2.maxnorm_radius.when={stage2.method: [weight_balancing, crt]}",
         "stage2.maxnorm_radius exists under another condition (when) than in the study"),
        ("start=[]", "start must keep the study's points first; add points after them"),
        ("start=[{stage1.lr: 0.2}, {stage1.lr: 0.1}]", "start must keep"),
        ("task.imbalance_factor=100", "task.imbalance_factor is 50 in the study, not 100"),
        ("task.val_per_class=7", "task.val_per_class is "),
        ("objective=val.few", "objective is val.balanced_accuracy in the study, not val.few"),
        ("sampler.stage1=tpe", "sampler.stage1 is gp in the study, not tpe"),
        ("sampler.seed=1", "sampler.seed is 0 in the study, not 1"),
        ("baselines=[naive]", "not naive"),
    ],
)  # fmt: skip
def test_what_would_leave_something_out_is_refused_by_name(override: str, reason: str) -> None:
    more = "stage1.epochs={low: 20, high: 60}"  # beside what is refused
    found = compared(more, override, text=TEXT.replace("  method:", "  momentum: 0.8\n  method:"))
    assert [reason in text for text in found.refused] == [True], found.refused
    assert not found.allowed


def test_name_budget_and_refinement_do_not_count() -> None:
    found = compared("name=y", "budget.backbones=99", "task.data=elsewhere")
    assert found == Growth((), ())
    assert not found.allowed


def test_other_words_for_the_same_space_are_no_growth() -> None:
    assert compared("stage2.loss.choices=[vs, cb_ce]", "stage1.epochs=40", "task.val_per_class=20") == Growth((), ())


def test_a_new_choice_may_come_with_what_it_needs() -> None:
    text = TEXT.replace("method: {choices: [weight_balancing, crt]}", "method: weight_balancing")
    method = "stage2.method={choices: [weight_balancing, lws]}"
    found = compared(method, "stage2.tau={low: 0.5, high: 2, when: {stage2.method: lws}}", text=text)
    assert [change.name for change in found.grew] == ["stage2.method", "stage2.tau"]
    also = "stage2.maxnorm_radius.when={stage2.method: [weight_balancing, lws]}"
    told = "stage2.maxnorm_radius: 0.1 to 3, when stage2.method is weight_balancing -> 0.1 to 3, when stage2.method is "
    found = compared(method, also, text=text)
    assert found.allowed
    assert [str(change) for change in found.grew][1] == f"{told}weight_balancing or lws"
