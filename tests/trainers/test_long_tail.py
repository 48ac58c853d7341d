from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.config import TaskConfig
from trainers.data.holdout import holdout_counts, stratified_holdout
from trainers.errors import ConfigError, DataError
from trainers.long_tail import cut_pool, draw_order, long_tail_counts, set_aside

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def names(count: int) -> list[str]:
    return [f"class{k}" for k in range(count)]


def balanced(classes: int, each: int) -> np.ndarray:
    return np.random.default_rng(0).permutation(np.repeat(np.arange(classes), each))


@pytest.mark.parametrize(
    ("factor", "cifar100", "cifar10"),
    [(10, 19573, 20431), (20, 15907, 17023), (50, 12608, 13996), (100, 10847, 12406), (200, 9502, 11203)],
)
def test_totals_of_cifar_lt(factor: int, cifar100: int, cifar10: int) -> None:
    assert sum(long_tail_counts(100, 500, factor)) == cifar100
    assert sum(long_tail_counts(10, 5000, factor)) == cifar10


@pytest.mark.parametrize(
    ("factor", "cifar100", "cifar10"), [(100, 10457, 12360), (50, 12152, 13945), (10, 18840, 20354)]
)
def test_totals_of_iclr24(factor: int, cifar100: int, cifar10: int) -> None:
    assert sum(long_tail_counts(100, 480, factor, rounding="nearest")) == cifar100
    assert sum(long_tail_counts(10, 4980, factor, rounding="nearest")) == cifar10


@pytest.mark.parametrize(("factor", "total"), [(100, 25_250), (10, 27_500)])
def test_step_profile_cuts_the_last_half(factor: int, total: int) -> None:
    for classes, largest in ((10, 5000), (100, 500)):
        counts = long_tail_counts(classes, largest, factor, "step")
        assert sum(counts) == total
        assert counts == [largest] * (classes // 2) + [largest // factor] * (classes // 2)


@given(st.integers(2, 60), st.integers(1, 900), st.floats(1, 300), st.sampled_from(["exp", "step"]))
def test_counts_fall_from_the_largest_class(classes: int, largest: int, factor: float, profile: str) -> None:
    if largest < factor:
        with pytest.raises(ConfigError, match="no class is empty"):
            long_tail_counts(classes, largest, factor, profile)
        return
    counts = long_tail_counts(classes, largest, factor, profile)
    assert len(counts) == classes
    assert counts[0] == largest
    assert counts == sorted(counts, reverse=True)


def test_seed0_is_the_draw_of_ldam_drw() -> None:
    labels = balanced(4, 30)
    np.random.seed(0)  # noqa: NPY002 - the published code, as it is
    expected = []
    for k in range(4):
        indices = np.where(labels == k)[0]
        np.random.shuffle(indices)  # noqa: NPY002
        expected.append(indices)
    drawn = draw_order(labels, 4, selection="seed0")
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(drawn, expected, strict=True))


def test_first_n_is_file_order() -> None:
    labels = balanced(3, 10)
    assert all(
        np.array_equal(order, np.where(labels == k)[0])
        for k, order in enumerate(draw_order(labels, 3, selection="first_n"))
    )


def test_a_ranked_pool_keeps_its_order_and_refuses_first_n() -> None:
    labels, rank = np.array([1, 0, 0, 1]), np.array([1, 5, 2, 0])
    assert [order.tolist() for order in draw_order(labels, 2, rank=rank)] == [[2, 1], [3, 0]]
    with pytest.raises(ConfigError, match="first_n"):
        draw_order(labels, 2, selection="first_n", rank=rank)


def test_seed0_reproduces_the_published_subset_of_cifar100() -> None:
    ranked, whole = (SHARED / p for p in ("cifar100_lt_lossless/train_if10.parquet", "cifar100_jpeg/train.parquet"))
    if not ranked.is_file() or not whole.is_file():
        pytest.skip("the CIFAR-100 files are not beside this checkout")
    published = pq.read_table(ranked, columns=["label", "index", "rank"]).to_pandas()
    labels = pq.read_table(whole, columns=["label"])["label"].to_numpy()
    drawn = draw_order(labels, 100, selection="seed0")
    for k, group in published.groupby("label"):
        assert np.array_equal(drawn[k][group["rank"]], group["index"])


def test_leftover_validation_never_touches_the_published_subset() -> None:
    labels = balanced(5, 100)
    task = TaskConfig(imbalance_factor=20.0, val_per_class=10)
    cut = cut_pool(labels, task, class_names=names(5))
    counts = np.bincount(labels[cut.train])
    assert counts.tolist() == [90, *long_tail_counts(5, 100, 20)[1:]]
    assert np.bincount(labels[cut.val]).tolist() == [10] * 5
    assert not set(cut.train) & set(cut.val)
    assert any("class0 100 -> 90" in note for note in cut.notes)
    subset = {i for order, n in zip(draw_order(labels, 5), counts, strict=True) for i in order[:n]}
    assert set(cut.train) == subset


def test_iclr24_reserves_first_and_rounds() -> None:
    labels = balanced(5, 100)
    cut = cut_pool(labels, TaskConfig(imbalance_factor=20.0, val_per_class=10, protocol="iclr24"), class_names=names(5))
    assert np.bincount(labels[cut.train]).tolist() == long_tail_counts(5, 90, 20, rounding="nearest")
    assert set(cut.val) == {i for order in draw_order(labels, 5) for i in order[:10]}
    assert not set(cut.train) & set(cut.val)


def test_paper_leak_and_an_own_validation_split_cut_nothing() -> None:
    labels = balanced(5, 100)
    for options in ({"own_val": True}, {}):
        task = TaskConfig(imbalance_factor=20.0, protocol="honest" if options else "paper_leak")
        cut = cut_pool(labels, task, class_names=names(5), **options)
        assert len(cut.val) == 0
        assert np.bincount(labels[cut.train]).tolist() == long_tail_counts(5, 100, 20)


def test_max_count_caps_the_largest_class() -> None:
    labels = balanced(5, 100)
    for factor, expected in ((20.0, long_tail_counts(5, 60, 20)), (None, [60] * 5)):
        task = TaskConfig(imbalance_factor=factor, max_count=60)
        assert (
            np.bincount(labels[cut_pool(labels, task, class_names=names(5), own_val=True).train]).tolist() == expected
        )


@given(st.lists(st.integers(0, 200), min_size=1), st.integers(1, 30))
def test_the_natural_holdout_spares_the_tail(sizes: list[int], limit: int) -> None:
    for n, held in zip(sizes, holdout_counts(sizes, limit=limit), strict=True):
        assert held == (0 if n < 4 else min(limit, max(1, n // 5)))


def test_the_natural_holdout_depends_on_content_not_on_order() -> None:
    labels = balanced(4, 25)
    keys = [f"{i:03d}".encode() for i in np.random.default_rng(1).permutation(100)]
    shuffle = np.random.default_rng(2).permutation(100)
    first = stratified_holdout(labels, 4, limit=3, seed=0, keys=keys)
    second = stratified_holdout(labels[shuffle], 4, limit=3, seed=0, keys=[keys[i] for i in shuffle])
    assert {keys[i] for i in first} == {keys[shuffle[i]] for i in second}
    other = stratified_holdout(labels, 4, limit=3, seed=1, keys=keys)
    assert set(first) != set(other)


def test_natural_data_are_cut_into_two_disjoint_parts() -> None:
    labels = np.repeat(np.arange(4), [50, 9, 4, 3])
    cut = cut_pool(labels, TaskConfig(imbalance_factor=None, val_per_class=7), class_names=names(4))
    assert np.bincount(labels[cut.val], minlength=4).tolist() == [7, 1, 1, 0]
    assert sorted([*cut.train, *cut.val]) == list(range(66))


def test_set_aside_parts_are_balanced_disjoint_and_whole() -> None:
    labels = balanced(3, 20)
    test, val, rest = set_aside(labels, 3, per_class=(5, 4), seed=0)
    assert np.bincount(labels[test]).tolist() == [5] * 3
    assert np.bincount(labels[val]).tolist() == [4] * 3
    assert sorted([*test, *val, *rest]) == list(range(60))


def test_what_cannot_be_cut_says_why() -> None:
    labels = np.repeat(np.arange(3), [50, 6, 5])
    with pytest.raises(
        DataError, match=r"'class1': has 6 images, but the long-tailed subset wants 15.*imbalance_factor"
    ):
        cut_pool(labels, TaskConfig(imbalance_factor=10.0), class_names=names(3))
    with pytest.raises(DataError, match="at least 4 training images"):
        cut_pool(np.array([0, 0, 1, 1]), TaskConfig(imbalance_factor=None), class_names=names(2))
    with pytest.raises(DataError, match=r"lower task\.val_per_class"):
        cut_pool(balanced(3, 20), TaskConfig(imbalance_factor=2.0, val_per_class=20), class_names=names(3))
    with pytest.raises(ConfigError, match="val_per_class"):
        cut_pool(labels, TaskConfig(val_per_class=0), class_names=names(3))
    with pytest.raises(ConfigError, match="iclr24"):
        cut_pool(labels, TaskConfig(imbalance_factor=None, protocol="iclr24"), class_names=names(3))
