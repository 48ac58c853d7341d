"""What one line says about another."""

import pytest

from search_spaces import SpaceError, loads

HEAD = "version: 1\nname: x\ntask: {dataset: digits-lt}\n"
RADIUS = "maxnorm_radius: {low: 0.1, high: 1, when: {%s}}"


def complaints(text: str) -> list[str]:
    with pytest.raises(SpaceError) as caught:
        loads(HEAD + text, source="s")
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "stage2: {" + RADIUS % "stage2.metod: crt" + "}",
            "s:4:53: error: stage2.maxnorm_radius.when: unknown parameter 'stage2.metod'; "
            "did you mean 'stage2.method'?",
        ),
        (
            "stage2: {" + RADIUS % "method: crt" + "}",
            "s:4:53: error: stage2.maxnorm_radius.when: unknown parameter 'method'; did you mean 'stage2.method'?",
        ),
        (
            "stage2: {" + RADIUS % "stage2.method: ctr" + "}",
            "s:4:68: error: stage2.maxnorm_radius.when.stage2.method: must be one of weight_balancing, crt, lws, none, "
            "l2_norm, tau_norm, logit_adjustment, logit_adjustment_mul, ncm, but got 'ctr'; did you mean 'crt'?",
        ),
        (
            "stage2: {method: {choices: [crt, lws]}, " + RADIUS % "stage2.method: [crt, none]" + "}",
            "s:4:105: error: stage2.maxnorm_radius.when.stage2.method: stage2.method is never 'none'; "
            "it must be one of its choices",
        ),
        (
            "stage2: {lr: {low: 1, high: 2}, " + RADIUS % "stage2.lr: 1" + "}",
            "s:4:76: error: stage2.maxnorm_radius.when: stage2.lr is a range; "
            "a condition needs choices or a fixed value",
        ),
        (
            "stage2: {" + RADIUS % "stage2.maxnorm_radius: 1" + "}",
            "s:4:53: error: stage2.maxnorm_radius.when: a parameter cannot depend on itself",
        ),
        (
            "stage1: {lr: {low: 1, high: 2, when: {stage2.method: crt}}}",
            "s:4:39: error: stage1.lr.when: stage 1 is trained before stage 2, "
            "so stage1.lr cannot depend on stage2.method",
        ),
        (
            "stage2: {" + RADIUS % "stage2.method: []" + "}",
            "s:4:68: error: stage2.maxnorm_radius.when.stage2.method: must hold at least one value",
        ),
        (
            "stage2: {" + RADIUS % "stage2.method: {a: 1}" + "}",
            "s:4:68: error: stage2.maxnorm_radius.when.stage2.method: must be a value of stage2.method, "
            "or a list of such, but got a mapping",
        ),
        (
            "stage2: {lr: {low: 1, high: 2, when: crt}}",
            "s:4:38: error: stage2.lr.when: must be a mapping such as {stage2.method: weight_balancing}",
        ),
        (
            "stage2: {tau: {choices: [1], when: {stage2.scale: 1}}, scale: {choices: [1], when: {stage2.tau: 1}}}",
            "s:4:36: error: stage2.tau.when: depends on itself: stage2.tau -> stage2.scale -> stage2.tau",
        ),
        (
            "stage2: {lr: {low: 1, high: 2}}\nsampler: {stage2: grid}",
            "s:5:19: error: sampler.stage2: grid needs steps or choices, but stage2.lr can take any value in between",
        ),
    ],
)
def test_one_mistake_is_one_line(text: str, line: str) -> None:
    assert complaints(text) == [line]


def test_told_together_with_mistakes_of_other_kinds() -> None:
    text = "stage1: {lr: -1}\nstage2: {" + RADIUS % "stage2.metod: crt" + "}\nsampler: {stage1: tep}"
    assert [line.split(":")[1] for line in complaints(text)] == ["4", "5", "6"]


def test_a_grid_over_finite_parameters_is_fine() -> None:
    text = "stage2: {epochs: {low: 1, high: 3}, tau: {low: 0, high: 1, step: 0.5}, lr: {choices: [1, 2]}}"
    assert loads(f"{HEAD}{text}\nsampler: {{stage2: grid}}").sampler.stage2 == "grid"


def test_conditions_on_fixed_values_and_on_defaults() -> None:
    space = loads(HEAD + "stage2: {" + RADIUS % "stage2.method: weight_balancing, task.dataset: digits-lt" + "}")
    assert space.active("stage2.maxnorm_radius", {})
    space = loads(HEAD + "stage2: {method: crt, " + RADIUS % "stage2.method: weight_balancing" + "}")
    assert not space.active("stage2.maxnorm_radius", {})
