"""Which names mean train, validation or test, and which may be classes."""

import pytest

from trainers.data.split_words import split_of, splits_of

TRAIN = (
    "train Training TRAIN train_images images_train train2017 train-set TrainSet TRAINset trainset trn tr "
    "TrainingImages trainval train_val dataTrain train1 training.set"
)
VAL = "val VAL valid Validation validation_set validate dev val2017 ValSet images-val vld"
TEST = (
    "test TESTING tst test_set TestData held_out Held-Out holdout eval Evaluation test-dev testset test1 imagestest te"
)
NONE = (
    "ant Ant trains trainer tram latest contest valve devil testify images dataset set 0 12 seg_train PublicTest "
    "train_test train-val-test raining"
)


@pytest.mark.parametrize(("names", "split"), [(TRAIN, "train"), (VAL, "val"), (TEST, "test"), (NONE, None)])
def test_words(names: str, split: str | None) -> None:
    assert {name: split_of(name) for name in names.split()} == dict.fromkeys(names.split(), split)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("training set", "train"),
        ("Test Data", "test"),
        ("hold out", "test"),
        ("", None),
        ("test tube", None),
        ("training shoes", None),
        ("train station", None),
        ("\udcff\n", None),
    ],
)
def test_names_of_several_words(name: str, split: str | None) -> None:
    assert split_of(name) == split


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        ("seg_train seg_test seg_pred", {"seg_train": "train", "seg_test": "test"}),
        ("ChestTrain ChestVal x", {"ChestTrain": "train", "ChestVal": "val"}),
        ("seg_train other_test", {}),
        ("seg_val seg_test", {}),
        ("train test eval", {"train": "train", "test": "test", "eval": "val"}),
        ("train eval", {"train": "train", "eval": "test"}),
        ("training validation evaluation", {"training": "train", "validation": "val", "evaluation": "test"}),
        ("train Training", {"train": "train", "Training": "train"}),
    ],
)
def test_neighbours_tell_more(names: str, splits: dict[str, str]) -> None:
    assert splits_of(names.split()) == splits
