from __future__ import annotations

import pytest
import torch

from trainers.errors import DataError
from trainers.measures.metrics import (
    classified_right,
    evaluate_logits,
    group_accuracies,
    measure,
    worst_decile_recall,
)
from trainers.results import ClassCounts

SHOTS = {"many": 100, "few": 20}


def test_groups_go_by_training_counts_and_100_and_20_are_medium() -> None:
    groups = group_accuracies([101, 100, 20, 19], [5, 4, 2, 1], [10, 10, 10, 10], 100, 20)
    assert groups == pytest.approx({"many": 0.5, "medium": 0.3, "few": 0.1, "all": 0.3})


def test_an_empty_group_is_none_and_classes_without_test_images_count_nowhere() -> None:
    groups = group_accuracies([500, 200, 50], [3, 0, 1], [4, 0, 4], 100, 20)
    assert groups == {"many": 0.75, "medium": 0.25, "few": None, "all": 0.5}
    assert set(group_accuracies([500], [0], [0], 100, 20).values()) == {None}


def test_thresholds_move_the_groups() -> None:
    assert group_accuracies([1500, 500, 15], [1, 1, 1], [2, 2, 2], 1000, 200) == {
        "many": 0.5, "medium": 0.5, "few": 0.5, "all": 0.5,
    }  # fmt: skip


def test_groups_of_unequal_lengths_are_an_error() -> None:
    with pytest.raises(DataError, match="3, 2 and 3"):
        group_accuracies([1, 2, 3], [1, 2], [1, 2, 3], 100, 20)


def test_evaluation_of_known_logits() -> None:
    labels = torch.tensor([0, 0, 0, 1, 2, 2])
    predicted = torch.tensor([0, 0, 1, 1, 2, 0])
    logits = 50.0 * torch.nn.functional.one_hot(predicted, 7).float()
    metrics, counts = evaluate_logits(logits, labels, [200, 50, 5, 4, 3, 2, 1], prefix="test", **SHOTS)
    assert counts == ClassCounts(correct=(2, 1, 1, 0, 0, 0, 0), total=(3, 1, 2, 0, 0, 0, 0))
    assert metrics["test.top1"] == pytest.approx(4 / 6)
    assert metrics["test.balanced_accuracy"] == pytest.approx((2 / 3 + 1 + 1 / 2) / 3)
    assert (metrics["test.many"], metrics["test.medium"], metrics["test.few"]) == pytest.approx((2 / 3, 1, 1 / 2))
    assert metrics["test.harmonic_mean"] == pytest.approx(3 / (3 / 2 + 1 + 2))
    assert metrics["test.worst_decile_recall"] == pytest.approx(1 / 2)
    assert metrics["test.ece"] == pytest.approx(1 / 3, abs=1e-6)  # sure of everything, right for two thirds
    assert metrics["test.confidence"] == pytest.approx(1)


def test_a_dead_group_makes_the_harmonic_mean_zero() -> None:
    metrics, _ = evaluate_logits(torch.eye(2)[[0, 0]], torch.tensor([0, 1]), [200, 5], **SHOTS)
    assert metrics["val.harmonic_mean"] == 0
    assert metrics["val.medium"] is None


def test_top5_needs_more_than_five_classes() -> None:
    labels = torch.arange(6)
    logits = torch.arange(6.0).expand(6, 6)
    assert evaluate_logits(logits, labels, [9] * 6, **SHOTS)[0]["val.top5"] == pytest.approx(5 / 6)
    assert evaluate_logits(logits[:5, :5], labels[:5], [9] * 5, **SHOTS)[0]["val.top5"] is None


def test_worst_decile_is_a_tenth_of_the_classes_with_images() -> None:
    correct = (*range(20), 0)
    assert worst_decile_recall(ClassCounts(correct=correct, total=(20,) * 20 + (0,))) == pytest.approx(0.5 / 20)


@pytest.mark.parametrize(("labels", "text"), [([0, 2], "0..1, but go from 0 to 2"), ([], "without images")])
def test_impossible_labels_are_an_error(labels: list[int], text: str) -> None:
    with pytest.raises(DataError, match=text):
        evaluate_logits(torch.zeros(len(labels), 2), torch.tensor(labels, dtype=torch.long), [5, 5], **SHOTS)


def test_a_tie_goes_to_the_first_class_as_in_argmax() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randint(0, 3, (4, 5, 200), generator=generator).float()  # many ties
    labels = torch.randint(0, 5, (200,), generator=generator)
    assert torch.equal(classified_right(logits, labels), logits.argmax(1) == labels)
    smooth = torch.randn(4, 5, 200, generator=generator)
    assert torch.equal(classified_right(smooth, labels), smooth.argmax(1) == labels)


def test_many_heads_are_measured_as_each_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 7, 50, generator=generator) * torch.tensor([0.01, 1, 30]).view(3, 1, 1)
    labels, counts = torch.randint(0, 7, (50,), generator=generator), [200, 150, 90, 50, 30, 10, 5]
    temperatures = torch.tensor([0.01, 0.9, 12.0], dtype=torch.float64)
    together = measure(logits, labels, counts, many=100, few=20, prefix="val", temperatures=temperatures)
    for head, temperature, (metrics, integers) in zip(logits, temperatures.tolist(), together, strict=True):
        alone, counted = evaluate_logits(head.T, labels, counts, temperature=temperature, **SHOTS)
        assert metrics == pytest.approx(alone)
        assert integers == counted
