"""Stage 1: its schedule, its losses, and that nothing but the seed decides."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from trainers.config import Stage1Config, TaskConfig
from trainers.data.task import Task, load_task
from trainers.errors import DivergedError
from trainers.schedule import learning_rate
from trainers.stage1.loop import Stage1State, criteria, stage1_head, start, train
from trainers.weight_balance import row_norms

CPU = torch.device("cpu")
SHORT = Stage1Config(epochs=3, lr=0.05, precision="fp32")


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task(TaskConfig())


def trained(task: Task, config: Stage1Config, *, keep_best: bool = False) -> Stage1State:
    state = start(task, config, model="cnn-small", pretrained=False, device=CPU)
    for _ in train(state, task, config, device=CPU, keep_best=keep_best):
        pass
    return state


def test_the_same_seed_gives_the_same_weights_bitwise(task: Task) -> None:
    first, second = (trained(task, SHORT).model.state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = trained(task, replace(SHORT, seed=1)).model.state_dict()
    assert not torch.equal(first["classifier.weight"], other["classifier.weight"])


def test_training_leaves_the_global_random_state_alone(task: Task) -> None:
    before = torch.random.get_rng_state()
    trained(task, SHORT)
    assert torch.equal(before, torch.random.get_rng_state())


def test_dropout_draws_from_the_seed_alone(task: Task) -> None:
    found = []
    for earlier in (1, 2):
        torch.manual_seed(earlier)  # what other jobs of the process left
        state = start(task, SHORT, model="cnn-small", pretrained=False, device=CPU)
        state.model.trunk = torch.nn.Sequential(state.model.trunk, torch.nn.Dropout(0.5))
        for _ in train(state, task, SHORT, device=CPU):
            torch.rand(earlier)  # and between two epochs
        found.append(state.model.state_dict())
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_cosine_starts_at_the_base_rate_and_cosine_ahead_ends_at_zero() -> None:
    plain = Stage1Config(epochs=10, lr=0.4)
    ahead = replace(plain, schedule="cosine_ahead")
    assert learning_rate(plain, 0) == pytest.approx(0.4)
    assert learning_rate(ahead, 9) == pytest.approx(0.0)
    assert [learning_rate(ahead, e) for e in range(9)] == pytest.approx([learning_rate(plain, e + 1) for e in range(9)])


def test_weight_decay_shortens_every_parameter_batch_norm_included(task: Task) -> None:
    free, decayed = (trained(task, replace(SHORT, weight_decay=wd)).model for wd in (0.0, 0.3))
    for (name, a), (_, b) in zip(free.named_parameters(), decayed.named_parameters(), strict=True):
        if a.dim() > 1 or name.endswith("weight"):
            assert b.norm() < a.norm(), name


def test_a_diverging_run_says_where_and_what_to_do(task: Task) -> None:
    with pytest.raises(DivergedError, match=r"stage 1: the loss is .* after epoch \d; lower stage1\.lr"):
        trained(task, replace(SHORT, lr=1e8, epochs=8))


def test_validation_is_measured_at_the_last_epoch(task: Task) -> None:
    state = trained(task, SHORT)
    assert [row.epoch for row in state.history] == [1, 2, 3]
    assert 0 <= (state.history[-1].metrics["val.balanced_accuracy"] or 0) <= 1
    assert {"loss", "lr", "norm.cv", "norm.slope", "seconds"} <= set(state.history[0].metrics)
    norms = row_norms(state.model.classifier.weight.detach())
    assert state.history[-1].norms == pytest.approx(norms.tolist())


def test_keep_best_ends_with_the_best_epoch(task: Task) -> None:
    state = trained(task, replace(SHORT, epochs=6), keep_best=True)
    values = [row.metrics["val.balanced_accuracy"] or 0.0 for row in state.history]
    assert state.best is not None
    assert state.best[0] == max(values)
    assert torch.equal(state.model.classifier.weight, state.best[1]["classifier.weight"])


def test_a_simplex_etf_classifier_stays_as_it_is(task: Task) -> None:
    weight = trained(task, replace(SHORT, classifier="etf", feature_regularization=0.01)).model.classifier.weight
    gram = weight.detach() @ weight.detach().T
    wanted = torch.full((10, 10), -1 / 9).fill_diagonal_(1.0)
    assert torch.allclose(gram, wanted, atol=1e-5)


def test_ldam_learns_cosines_and_leaves_unit_rows(task: Task) -> None:
    config = replace(SHORT, loss="ldam", scale=10.0)
    head = stage1_head(trained(task, config).model, config)
    assert torch.allclose(head.weight.norm(dim=1), torch.ones(10), atol=1e-5)
    assert not head.bias.any()


def test_deferred_reweighting_changes_the_loss_at_its_epoch(task: Task) -> None:
    before, after = criteria(replace(SHORT, drw=0.5), task.counts)
    assert before.weights.unique().numel() == 1
    assert after.weights[-1] > after.weights[0]
    same, again = criteria(SHORT, task.counts)
    assert same is again


@pytest.mark.parametrize("loss", ["logit_adjusted", "cb_ce", "cb_bce_softmax", "cb_focal", "cb_sigmoid", "vs"])
def test_every_loss_trains(task: Task, loss: str) -> None:
    history = trained(task, replace(SHORT, loss=loss, epochs=4)).history  # type: ignore[arg-type]
    assert (history[-1].metrics["loss"] or 0) < (history[0].metrics["loss"] or 0)
