"""Cuts by content: no copy and no group is on both sides, and data without copies are cut as ever."""

from __future__ import annotations

import hashlib
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainers.config import TaskConfig
from trainers.data.blocks import Blocks, IntArray, make_blocks
from trainers.data.holdout import holdout_counts, holdout_notes, stratified_holdout
from trainers.errors import ConfigError, DataError
from trainers.long_tail import cut_pool

CLASSES = 4
QUICK = settings(max_examples=60, deadline=None)


@st.composite
def pools(draw: st.DrawFn, *, grouped: bool | None = None) -> tuple[IntArray, list[bytes], list[int] | None]:
    """Labels, contents of which some are equal, and perhaps groups; each class has an image."""
    labels = [*range(CLASSES), *draw(st.lists(st.sampled_from([0, 0, 0, 1, 1, 2, 3]), max_size=60))]
    contents = draw(st.lists(st.integers(0, 60), min_size=len(labels), max_size=len(labels)))
    groups = draw(st.lists(st.integers(0, 25), min_size=len(labels), max_size=len(labels)))
    with_groups = draw(st.booleans()) if grouped is None else grouped
    return np.array(labels), [digest(one) for one in contents], groups if with_groups else None


def digest(value: object) -> bytes:
    return hashlib.sha256(str(value).encode()).digest()


def held_out(labels: IntArray, keys: list[bytes], groups: list[int] | None, seed: int = 0) -> tuple[IntArray, Blocks]:
    blocks = make_blocks(labels, keys, groups)
    return stratified_holdout(labels, CLASSES, limit=None, seed=seed, keys=keys, blocks=blocks), blocks


@QUICK
@given(pools())
def test_no_copy_and_no_group_straddles(pool: tuple[IntArray, list[bytes], list[int] | None]) -> None:
    labels, keys, groups = pool
    held = set(held_out(labels, keys, groups)[0].tolist())
    for values in (keys, groups or []):
        sides = defaultdict(set)
        for row, value in enumerate(values):
            sides[value].add(row in held)
        assert all(len(found) == 1 for found in sides.values())


@QUICK
@given(pools())
def test_an_image_under_two_labels_stays_in_training(pool: tuple[IntArray, list[bytes], list[int] | None]) -> None:
    labels, keys, groups = pool
    known = defaultdict(set)
    for label, key in zip(labels.tolist(), keys, strict=True):
        known[key].add(label)
    held, _ = held_out(labels, keys, groups)
    assert all(len(known[keys[row]]) == 1 for row in held)


@QUICK
@given(pools())
def test_every_class_keeps_half_of_its_images_and_more_without_groups(
    pool: tuple[IntArray, list[bytes], list[int] | None],
) -> None:
    labels, keys, groups = pool
    held, _ = held_out(labels, keys, groups)
    sizes, taken = (np.bincount(part, minlength=CLASSES) for part in (labels, labels[held]))
    most = holdout_counts(sizes) if groups is None else [n // 2 for n in sizes]
    assert (taken <= most).all()
    assert (taken < sizes).all()


@QUICK
@given(pools(), st.randoms(use_true_random=False))
def test_order_and_names_of_groups_do_not_matter(pool, random) -> None:
    labels, keys, groups = pool
    first, _ = held_out(labels, keys, groups)
    order = list(range(len(labels)))
    random.shuffle(order)
    renamed = None if groups is None else [digest(("name", groups[row])) for row in order]
    second, _ = held_out(labels[order], [keys[row] for row in order], renamed)
    assert {(keys[row], labels[row]) for row in first} == {(keys[order[row]], labels[order[row]]) for row in second}
    assert len(first) == len(second)


@QUICK
@given(st.lists(st.sampled_from([0, 0, 0, 1, 1, 2, 3]), min_size=1, max_size=80), st.integers(0, 3), st.booleans())
def test_without_copies_blocks_change_nothing(found: list[int], seed: int, grouped: bool) -> None:
    labels, keys = np.array(found), [digest(row) for row in range(len(found))]
    plain = stratified_holdout(labels, CLASSES, limit=None, seed=seed, keys=keys)
    alone = list(range(len(found))) if grouped else None
    assert np.array_equal(held_out(labels, keys, alone, seed)[0], plain)


@QUICK
@given(pools(grouped=False), st.sampled_from(["honest", "iclr24"]), st.sampled_from(["seed0", "first_n"]))
def test_no_copy_straddles_a_long_tailed_cut(pool, protocol: str, selection: str) -> None:
    labels, keys, _ = pool
    labels = np.concatenate([labels, np.repeat(np.arange(CLASSES), 12)])
    keys = [*keys, *map(digest, range(100, 100 + 12 * CLASSES))]
    task = TaskConfig(imbalance_factor=2.0, val_per_class=3, max_count=9, protocol=protocol, selection=selection)
    blocks = make_blocks(labels, keys, None)
    cut = cut_pool(labels, task, class_names=list("abcd"), keys=keys, blocks=blocks)
    assert not {keys[row] for row in cut.train} & {keys[row] for row in cut.val}
    assert not blocks.fixed[cut.val].any()
    assert np.bincount(labels[cut.val], minlength=CLASSES).tolist() == [3] * CLASSES
    assert np.bincount(labels[cut.train], minlength=CLASSES).min() > 0


def test_data_without_copies_are_cut_as_before() -> None:
    """The figures are those of the code before it knew of copies."""
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(5), 100))
    keys = [digest(row) for row in range(500)]
    blocks = make_blocks(labels, keys, None)

    def short(*parts: IntArray) -> str:
        return hashlib.sha256(b"".join(part.astype(np.int64).tobytes() + b"|" for part in parts)).hexdigest()[:16]

    natural: dict[str, object] = {"imbalance_factor": None}
    tailed: dict[str, object] = {"imbalance_factor": 20.0}
    for options, wanted in (
        (natural, "e3196bcf28dcbb83"),
        ({**natural, "max_count": 60}, "e00564e3529cfd54"),
        ({**tailed, "val_per_class": 10}, "11dc541d7518686f"),
        ({**tailed, "val_per_class": 10, "protocol": "iclr24"}, "c2eeddb2b89e56fa"),
        ({**tailed, "profile": "step", "selection": "first_n"}, "c4d21f6658099cb1"),
        ({**tailed, "protocol": "paper_leak"}, "3b039c7f64c7caa7"),
    ):
        cut = cut_pool(labels, TaskConfig(**options), class_names=list("abcde"), keys=keys, blocks=blocks)
        assert short(cut.train, cut.val) == wanted
    held = stratified_holdout(labels, 5, limit=None, seed=7, keys=keys, blocks=blocks)
    assert short(held) == "08a266d8d249cf23"


def grouped(*sizes: list[int]) -> tuple[IntArray, Blocks, list[bytes]]:
    """Classes of groups of these sizes."""
    labels = np.repeat(np.arange(len(sizes)), [sum(each) for each in sizes])
    names = [(k, g) for k, each in enumerate(sizes) for g, n in enumerate(each) for _ in range(n)]
    keys = [digest(row) for row in range(len(labels))]
    return labels, make_blocks(labels, keys, names), keys


def test_groups_say_how_far_each_class_is_from_its_holdout() -> None:
    labels, blocks, keys = grouped([1] * 30, [6] * 5, [5, 5], [8], [9, 1])
    held = stratified_holdout(labels, 5, limit=None, seed=0, keys=keys, blocks=blocks)
    assert np.bincount(labels[held], minlength=5).tolist() == [6, 6, 5, 0, 1]
    (note,) = holdout_notes("test", labels, held, limit=None, blocks=blocks, names=list("abcde"))
    assert note.startswith("test: groups (task.group) stay together, so it has of each class, of the images wanted: ")
    for said in ("a 6 of 6", "b 6 of 6", "c 5 of 2", "e 1 of 2"):
        assert said in note
    assert "d 0 of 1 (one group only: its images stay in training)" in note


def test_groups_too_large_to_halve_a_class_stay_and_are_named() -> None:
    labels, blocks, keys = grouped([1] * 10, [3, 3])
    both = make_blocks(labels, keys, [0] * 12 + [1] * 3 + [2])  # one group has nearly all of two classes
    held = stratified_holdout(labels, 2, limit=None, seed=0, keys=keys, blocks=both)
    assert np.bincount(labels[held], minlength=2).tolist() == [0, 1]
    (note,) = holdout_notes("test", labels, held, limit=None, blocks=both, names=["ant", "bee"])
    assert "ant 0 of 2 (one group only" in note
    assert blocks.grouped


def test_a_pool_in_one_group_or_under_two_labels_is_refused_in_words() -> None:
    labels, natural = np.repeat(np.arange(2), 8), TaskConfig(imbalance_factor=None)
    keys = [digest(row) for row in range(16)]
    for blocks, match in (
        (make_blocks(labels, keys, [0] * 16), "in more than one group, but there is none"),
        (make_blocks(labels, keys[:8] * 2, None), r"under one label \(16 of 16 are under two\)"),
        (make_blocks(labels, [keys[0]] * 8 + [keys[1]] * 8, None), "not all of them copies of one"),
    ):
        with pytest.raises(DataError, match=match):
            cut_pool(labels, natural, class_names=["ant", "bee"], keys=keys, blocks=blocks)
    tailed, blocks = TaskConfig(imbalance_factor=2.0, val_per_class=1), make_blocks(labels, keys, keys)
    with pytest.raises(ConfigError, match=r"task\.group: .*set task\.imbalance_factor=none"):
        cut_pool(labels, tailed, class_names=["ant", "bee"], keys=keys, blocks=blocks)


def test_a_subset_shrinks_until_enough_images_without_copies_are_left() -> None:
    labels = np.zeros(30, dtype=np.int64)
    labels[20:] = 1
    contents = [row % 15 for row in range(20)] + list(range(50, 60))  # five of class 0 are there twice
    blocks = make_blocks(labels, contents, None)
    task = TaskConfig(imbalance_factor=2.0, val_per_class=4, selection="first_n")
    cut = cut_pool(labels, task, class_names=["ant", "bee"], blocks=blocks)
    assert np.bincount(labels[cut.train]).tolist() == [11, 6]
    assert cut.train[:11].tolist() == list(range(11))
    assert any("training counts lowered to leave validation images: ant 20 -> 11" in note for note in cut.notes)
    with pytest.raises(DataError, match=r"'bee'.*\(10 of its 10 images are different"):
        cut_pool(labels, TaskConfig(imbalance_factor=2.0, val_per_class=20), class_names=["ant", "bee"], blocks=blocks)
