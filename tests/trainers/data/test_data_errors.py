"""Bad input: each a DataError that names the file, the class or the row, and a way out."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from trainers.config import TaskConfig
from trainers.data.task import load_task
from trainers.errors import DataError


def png(value: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (value, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def refused(match: str, dataset: str, data: Path | None, **options: object) -> None:
    with pytest.raises(DataError, match=match):
        load_task(TaskConfig(dataset=dataset, data=data and str(data), imbalance_factor=None, **options))


def table(labels: list[object], images: list[bytes | None] | None = None) -> dict[str, list[object]]:
    return {"image": images or [png(i) for i in range(len(labels))], "label": labels}


def test_missing_folder_or_none_given(tmp_path: Path) -> None:
    refused(r"nowhere: there is no such file or folder.*--data DIR", "parquet", tmp_path / "nowhere")
    refused(r"image-folder needs its images.*--data DIR", "image-folder", None)


@pytest.mark.parametrize(
    ("dataset", "match"),
    [
        ("parquet", r"there must be a train\.parquet"),
        ("image-folder", "a folder of images for each class"),
        ("npz", "exactly one npz file"),
        ("csv", r"a train\.csv or exactly one CSV"),
        ("lists", r"a list train\.txt"),
        ("imagenet-lt", r"a list ImageNet_LT_train\.txt"),
        ("cifar10-lt", r"CIFAR10 is not here.*cifar-10-batches-py"),
    ],
)
def test_empty_folder(dataset: str, match: str, tmp_path: Path) -> None:
    refused(match, dataset, tmp_path)


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        ({"image": [png()]}, r"train\.parquet: there must be a column 'label', but there are 'image'"),
        ({"what": [png()], "label": [0]}, "there must be a column 'image'"),
        ({"image": [1], "label": [0]}, "must hold encoded images"),
        ({"image": pa.array([], pa.binary()), "label": pa.array([], pa.int64())}, "no rows"),
        (table([0, 1, None]), "row 2: the label is missing, and so it is for 1 of 3 training images"),
        (table([[0], [1], [0, 1]]), "row 2: an image has one label, but this one has 2"),
        (table([[0, 1], [1, 1], [1, 0]]), "row 1: .* 1 of 3 rows have none or several"),
        (table(["ant", "bee", "ant|bee"]), "row 2: an image has one label, but 'ant|bee' joins 2"),
        (table(list(range(1, 18, 2))), "each of 9 training images has a number of its own"),
        (table([0.5, 1.0]), "labels must be whole numbers or text"),
        (table([0, -1]), "row 1: a label must be 0 or more, but got -1"),
        (table([0, 0]), "at least 2 classes"),
        (table([0, 1], [png(), None]), "row 1: the image is missing"),
        (
            table([0, 1] * 5, [png(i) for i in range(9)] + [b"not an image"]),
            r"train\.parquet, row 9: .* cannot be decoded",
        ),
        (table([0, 1] * 5, [png(i) for i in range(9)] + [png()[:45]]), "row 9: the image cannot be decoded"),
        (table([0, 1] * 5, [png(i) for i in range(9)] + [b""]), "row 9: the image cannot be decoded"),
    ],
)
def test_bad_parquet(columns: dict[str, object], match: str, tmp_path: Path) -> None:
    pq.write_table(pa.table(columns), tmp_path / "train.parquet")
    refused(match, "parquet", tmp_path)


def test_label_beyond_the_class_names(tmp_path: Path) -> None:
    named = pa.table(table([0, 1, 2])).replace_schema_metadata({"class_names": '["ant", "bee"]'})
    pq.write_table(named, tmp_path / "train.parquet")
    refused(r"row 2: a label must be in \[0, 1\] \(2 class names\), but got 2", "parquet", tmp_path)


def test_a_class_only_in_test(tmp_path: Path) -> None:
    pq.write_table(pa.table(table([0, 1])), tmp_path / "train.parquet")
    pq.write_table(pa.table(table([0, 1, 2])), tmp_path / "test.parquet")
    refused("1 of 3 classes have no training images: '2'", "parquet", tmp_path)


def test_corrupt_and_empty_parquet(tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    pq.write_table(pa.table(table([0, 1])), path)
    whole = path.read_bytes()
    for content, match in ((b"", "empty"), (whole[:-20], "not a readable parquet"), (b"PAR1" * 9, "not a readable")):
        path.write_bytes(content)
        refused(match, "parquet", tmp_path)


def test_corrupt_pages_of_a_parquet(tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    pq.write_table(pa.table(table([0, 1] * 40)), path, compression="zstd")
    content = bytearray(path.read_bytes())
    content[40:400] = bytes(360)
    path.write_bytes(content)
    refused(r"train\.parquet", "parquet", tmp_path)


def test_too_few_cifar_classes(tmp_path: Path) -> None:
    for split in ("train", "test"):
        pq.write_table(pa.table(table([0, 1, 2])), tmp_path / f"{split}.parquet")
    refused("cifar10-lt has 10 classes, but these files have 3", "cifar10-lt", tmp_path)


def test_long_tailed_cifar_without_test_file(tmp_path: Path) -> None:
    pq.write_table(pa.table(table([0, 1, 2])), tmp_path / "train_if10.parquet")
    refused(r"test\.parquet: not a readable parquet", "cifar100-lt", tmp_path)


def test_bad_folders(tmp_path: Path) -> None:
    for name, content in (("ant", png()), ("bee", b"")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(content)
    refused(r"bee/1\.png: the image cannot be decoded \(it is empty\)", "image-folder", tmp_path)
    (tmp_path / "bee" / "1.png").unlink()
    refused("1 of 2 classes have no training images: 'bee'", "image-folder", tmp_path)


def test_an_image_that_does_not_decode_is_named_by_its_path(tmp_path: Path) -> None:
    for first, name in ((0, "ant"), (100, "bee")):
        (tmp_path / name).mkdir()
        for number in range(8):
            (tmp_path / name / f"{number}.png").write_bytes(png(first + number))
    (tmp_path / "bee" / "9.jpg").write_bytes(b"GIF87a or so")
    refused(r"bee/9\.jpg: the image cannot be decoded \(no known image format\)", "image-folder", tmp_path)


def test_an_unknown_class_in_the_test_folder(tmp_path: Path) -> None:
    for place in ("train/ant", "train/bee", "test/cow"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "1.png").write_bytes(png())
    refused(r"cow.1\.png: class 'cow' has no training images", "image-folder", tmp_path)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (
            "a.png 0\nb.png 1\nc.png 0\n",
            r"2 of 3 images .*: there is no such file \(2: b\.png, c\.png\); restore",
        ),
        ("a.png\n", r"train\.txt:1: a line is `path label`"),
        ("a zero\n", r"train\.txt:1: a line is `path label`"),
        ("a.png 0\na.png --1\n", r"train\.txt:2: a line is `path label`"),
        ("a.png 0\na.png ant\n", r"train\.txt:2: a line is `path label`"),
        (f"a.png 0\na.png {'9' * 5_000}\n", r"train\.txt:2: a line is `path label`"),
        ("\n\n", "the list is empty"),
    ],
)
def test_bad_lists(text: str, match: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    (tmp_path / "train.txt").write_text(text)
    refused(match, "lists", tmp_path)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("what,label\na.png,0\n", r"a column 'path', but there are 'what', 'label'.*task\.columns\.image=NAME"),
        ("", "a column 'path', but there are none"),
        ("path,label,split\na.png,0,elsewhere\n", r"images\.csv:2: a row needs"),
        ("path,label\na.png,0\n,0\n", r"images\.csv:3: a row needs"),
        ("path,label\na.png\n", r"images\.csv: 1 of 1 rows have no label, first that of a\.png"),
        ('path,label\n"a.png,0\n', r"images\.csv: not readable as a table"),
        ("path,label\na, b.png,0\n", r"images\.csv:2: a row needs 2 values, .* this one has 3"),
        ("path,image,label,class\n", "there must be training images"),
        ("image,filename,label\na.png,a.png,0\n", "'image' and 'filename' could each hold the images"),
        ("path,label,split\na.png,0,test\n", "there must be training images"),
        ("path,label\nb.png,0\n", "1 of 1 image files are missing"),
    ],
)
def test_bad_csv(text: str, match: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    (tmp_path / "images.csv").write_text(text)
    refused(match, "csv", tmp_path)


def test_csv_in_another_encoding(tmp_path: Path) -> None:
    whole = "path,label\nä.png,0\n".encode("utf-16")
    (tmp_path / "images.csv").write_bytes(whole[:-1])
    refused(r"images\.csv: not readable as UTF-16", "csv", tmp_path)
    (tmp_path / "images.csv").write_bytes(whole[2:])
    refused(r"images\.csv: it holds NUL characters, as UTF-16 without", "csv", tmp_path)


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        ({"images": np.zeros((3, 8, 8), np.uint8)}, "there must be an array 'labels'"),
        (
            {"images": np.zeros((3, 8, 8), np.complex64), "labels": np.arange(3)},
            "must be numbers .* is complex64",
        ),
        ({"images": np.zeros((3, 8, 8, 4), np.uint8), "labels": np.arange(3)}, "1 or 3 channels"),
        ({"images": np.zeros((3, 8, 8), np.uint8), "labels": np.arange(4)}, r"labels must be \(3,\)"),
        (
            {"images": np.zeros((3, 8, 8), np.uint8), "labels": np.array([0, 1, None])},
            "labels.npy holds Python objects",
        ),
    ],
)
def test_bad_npz(arrays: dict[str, np.ndarray], match: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", **arrays)
    refused(match, "npz", tmp_path)


def test_npz_that_is_no_archive(tmp_path: Path) -> None:
    for content in (b"", b"no archive at all"):
        (tmp_path / "set.npz").write_bytes(content)
        refused("not a readable npz", "npz", tmp_path)
