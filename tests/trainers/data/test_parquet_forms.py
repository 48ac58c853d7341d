"""Parquet and npz as published: Hugging Face's folders, types and features, Keras' and MedMNIST's arrays."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.trainers.data.test_tables import counts, read, told
from trainers.errors import DataError

LABELS = [0, 0, 0, 1, 1, 2]


def png(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (value, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


IMAGES = [png(i) for i in range(len(LABELS))]


def write(path: Path, labels: object = LABELS, images: object = IMAGES, *, names: tuple[str, ...] = ("image", "label"),
          features: dict[str, object] | None = None) -> None:  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_arrays([pa.array(images), pa.array(labels)], names=list(names))
    meta = {"huggingface": json.dumps({"info": {"features": features}})} if features else None
    pq.write_table(table.replace_schema_metadata(meta), path)


@pytest.mark.parametrize(
    ("names", "splits", "note"),
    [
        (["default/train/0000.parquet", "default/test/0000.parquet"], 2, "are read from the folder default"),
        (["default/partial-train/0000.parquet"], 1, "only a part of the images"),
        (["data/train-00000-of-00002-0123456789abcdef.parquet", "data/train-00001-of-00002-fedcba9876543210.parquet"],
         1, ""),
        (["Training.parquet", "TEST.parquet"], 2, ""),
        (["train.parquet", "validation.parquet", "dev.parquet", "x.parquet"], 2, "not used: dev.parquet, x.parquet"),
        (["train.parquet", "b/train.parquet"], 1, "not used: b/train.parquet"),
        (["train/part-0.parquet", "train/part-1.parquet", "test/part-0.parquet"], 2, ""),
    ],
)  # fmt: skip
def test_the_files_of_a_split(names: list[str], splits: int, note: str, tmp_path: Path) -> None:
    for name in names:
        write(tmp_path / name)
    source = read("parquet", tmp_path)
    assert 1 + (source.test is not None) + (source.val is not None) == splits
    shards = sum("rain" in name and ("-0000" in name or "part-" in name) for name in names) or 1
    assert len(source.train) == shards * len(LABELS)
    told(source, *([note] if note else []))


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (
            ["a/train.parquet", "b/train/0000.parquet"],
            r"there are 2 data sets in it \(a, b\); choose one with --data .*/a",
        ),
        (["x/y.parquet", "z.parquet"], r"there is only x/y\.parquet, z\.parquet; name it so, or give the file"),
        (["Training.parquet", "TRAIN.parquet"], r"TRAIN, Training could each be train; leave one"),
    ],
)
def test_files_that_could_mean_two_things_are_named(names: list[str], match: str, tmp_path: Path) -> None:
    for name in names:
        write(tmp_path / name)
    with pytest.raises(DataError, match=match):
        read("parquet", tmp_path)


LABEL_FORMS: list[tuple[pa.Array, tuple[str, ...], str]] = [
    (pa.array(LABELS, pa.float32()), ("0", "1", "2"), "labels such as 0.0 are read as whole numbers"),
    (pa.array([False] * 4 + [True] * 2), ("false", "true"), ""),
    (pa.array([b"ant"] * 3 + [b"bee"] * 3), ("ant", "bee"), ""),
    (pa.array(["ant"] * 3 + ["bee"] * 3).cast(pa.string_view()), ("ant", "bee"), ""),
    (pa.array(["ant"] * 3 + ["bee"] * 3).dictionary_encode(), ("ant", "bee"), ""),
    (pa.array(["10", "10", "9", "9", "9", "9"]), ("10", "9"), ""),
    (pa.array(["1.0", "1.0", "0.0", "0.0", "2.0", "2.0"]), ("0", "1", "2"), "labels such as 1.0"),
    (pa.array([[k] for k in LABELS]), ("0", "1", "2"), ""),
    (pa.array([[int(k == j) for j in range(3)] for k in LABELS]), ("0", "1", "2"), "(one-hot)"),
    (pa.array([k + 1 for k in LABELS], pa.uint8()), ("1", "2", "3"), "labels run from 1 to 3"),
    (
        pa.array(["Ant"] * 3 + ["ant"] * 3),
        ("Ant", "ant"),
        "nearly the same name count as different ones: 'Ant' and 'ant'",
    ),
]


@pytest.mark.parametrize(("labels", "names", "note"), LABEL_FORMS)
def test_labels_of_every_type(labels: pa.Array, names: tuple[str, ...], note: str, tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", labels)
    source = read("parquet", tmp_path)
    assert source.class_names == names
    told(source, *([note] if note else []))
    assert bool(note) == bool(source.notes)


IMAGE_FORMS: list[pa.Array] = [
    pa.array(IMAGES, pa.large_binary()),
    pa.array(IMAGES, pa.binary_view()),
    pa.array(IMAGES).dictionary_encode(),
    pa.array([{"bytes": data, "path": f"{i}.png"} for i, data in enumerate(IMAGES)]),
    pa.array([(None, f"{i}.png") for i in range(6)], pa.struct({"bytes": pa.binary(), "path": pa.string()})),
    pa.array([f"files/{i}.png" for i in range(6)]).cast(pa.string_view()),
]  # fmt: skip


@pytest.mark.parametrize("images", IMAGE_FORMS)
def test_images_of_every_type(images: pa.Array, tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", LABELS, images)
    for i, data in enumerate(IMAGES):
        (tmp_path / "files").mkdir(exist_ok=True)
        (tmp_path / "files" / f"{i}.png").write_bytes(data)
    source = read("parquet", tmp_path)
    write(tmp_path / "plain" / "train.parquet")
    assert source.train.images.digests(range(6)) == read("parquet", tmp_path / "plain").train.images.digests(range(6))


def test_columns_are_found_by_features_by_known_names_and_by_being_told(tmp_path: Path) -> None:
    features = {"scan": {"_type": "Image"}, "finding": {"_type": "ClassLabel", "names": ["ant", "bee", "cow", "dog"]}}
    write(tmp_path / "a" / "train.parquet", names=("scan", "finding"), features=features)
    source = read("parquet", tmp_path / "a")
    assert source.class_names == ("ant", "bee", "cow")
    told(source, "column 'scan' holds the images, 'finding' the labels", "1 of 4 class names have no images")
    write(tmp_path / "b" / "train.parquet", names=("Image", "class"))
    told(read("parquet", tmp_path / "b"), "column 'Image' holds the images, 'class' the labels")
    write(tmp_path / "c" / "train.parquet", names=("one", "two"))
    with pytest.raises(DataError, match=r"a column 'image', but there are 'one', 'two'; .*task\.columns\.image=NAME"):
        read("parquet", tmp_path / "c")
    assert counts(read("parquet", tmp_path / "c", columns={"image": "one", "label": "two"})) == [3, 2, 1]


@pytest.mark.parametrize("hidden", [pa.array([-1] * 6), pa.nulls(6), pa.nulls(6, pa.int64())])
def test_a_test_with_hidden_labels_is_none(hidden: pa.Array, tmp_path: Path) -> None:
    write(tmp_path / "train.parquet")
    write(tmp_path / "test.parquet", hidden)
    source = read("parquet", tmp_path)
    assert source.test is None
    told(source, "test: the labels of its 6 images are", "test images are set aside from training as without it")


def test_single_labels_of_minus_one_are_refused_with_their_count_and_classes_of_minus_one_and_one_are_read(
    tmp_path: Path,
) -> None:
    write(tmp_path / "train.parquet")
    write(tmp_path / "test.parquet", [0, 1, 2, -1, -1, 0])
    with pytest.raises(DataError, match=r"row 3: the label is -1, and so it is for 2 of 6 test images"):
        read("parquet", tmp_path)
    for split in ("train", "test"):
        write(tmp_path / f"{split}.parquet", [-1, -1, -1, 1, 1, 1])
    source = read("parquet", tmp_path)
    assert (source.class_names, source.test is None) == (("-1", "1"), False)


def test_class_names_keep_test_classes_in_view(tmp_path: Path) -> None:
    features = {"label": {"_type": "ClassLabel", "names": ["ant", "bee", "cow", "dog"]}}
    write(tmp_path / "train.parquet", features=features)
    write(tmp_path / "test.parquet", [0, 1, 2, 3, 3, 3], features=features)
    with pytest.raises(DataError, match="1 of 4 classes have no training images: 'dog'"):
        read("parquet", tmp_path)


def grey(n: int = 6, *shape: int) -> np.ndarray:
    return np.zeros((n, *(shape or (8, 8))), np.uint8)


@pytest.mark.parametrize(
    ("arrays", "names", "note"),
    [
        ({"x_train": grey(), "y_train": LABELS, "x_test": grey(), "y_test": LABELS}, ("0", "1", "2"), "x_test, y_"),
        ({"X_train": grey(), "y_train": LABELS, "other": [1]}, ("0", "1", "2"), "not used: other"),
        ({"data": grey(), "target": LABELS, "target_names": np.array([b"a", b"b", b"c"])}, ("a", "b", "c"), "data, "),
        ({"images": grey(), "labels": np.eye(3)[LABELS]}, ("0", "1", "2"), "(one-hot)"),
        ({"images": grey(), "labels": np.array(LABELS, float)}, ("0", "1", "2"), "labels such as 0.0"),
        ({"images": grey(), "labels": np.array([b"ant"] * 3 + [b"bee"] * 3)}, ("ant", "bee"), ""),
        ({"train_images": grey(), "train_labels": LABELS, "test_images": grey()}, ("0", "1", "2"), "test: the "),
        ({"images": grey().astype(np.int64) + 200, "labels": LABELS}, ("0", "1", "2"), ""),
    ],
)  # fmt: skip
def test_arrays_under_customary_names(
    arrays: dict[str, np.ndarray], names: tuple[str, ...], note: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "set.npz", **arrays)
    source = read("npz", tmp_path)
    assert source.class_names == names
    told(source, *([note] if note else []))


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        ({"images": grey(6, 9, 9, 9), "labels": LABELS}, r"as of 3-D volumes, which are not trained"),
        ({"images": grey(6, 9, 9, 9, 1), "labels": LABELS}, r"as of 3-D volumes"),
        ({"images": grey(6, 64), "labels": LABELS}, "as of flattened images; reshape"),
        ({"images": grey(), "labels": np.ones((6, 3), int)}, "6 of 6 rows have none or several .*multi-label"),
        ({"images": grey().astype("U"), "labels": LABELS}, "must be numbers .* is <U"),
        ({"x_train": grey(), "X_train": grey(), "y_train": LABELS}, "x_train and X_train could each hold"),
        ({"arr_0": grey(), "arr_1": LABELS}, r"an array 'images', but there are arr_0, arr_1; .*columns\.image=NAME"),
    ],
)  # fmt: skip
def test_arrays_that_are_none_are_refused_in_words(arrays: dict[str, np.ndarray], match: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", **arrays)
    with pytest.raises(DataError, match=match):
        read("npz", tmp_path)


def test_arrays_can_be_told(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", arr_0=grey(), arr_1=LABELS)
    assert counts(read("npz", tmp_path, columns={"image": "arr_0", "label": "arr_1"})) == [3, 2, 1]
