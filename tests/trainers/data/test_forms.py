"""The form of a path is recognised by what lies there; what is ambiguous or of no form is told, with the way out."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from trainers.data.forms import forms, recognised
from trainers.data.sniffing import kind_of
from trainers.errors import DataError


def image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4)).save(path)


def classes(root: Path, *names: str) -> None:
    for name in names or ("ant", "bee"):
        image(root / name / "0.png")


def parquet(path: Path, *, names: int = 2) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    told = {b"class_names": json.dumps([str(k) for k in range(names)]).encode()}
    pq.write_table(pa.table({"image": [b""], "label": [0]}).replace_schema_metadata(told), path)


def text(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def several(*makers: Callable[[Path], object]) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        for maker in makers:
            maker(root)

    return make


RECOGNISED: dict[str, tuple[str, Callable[[Path], object]]] = {
    "classes": ("image-folder", classes),
    "classes in splits": ("image-folder", lambda o: [classes(o / split) for split in ("train", "test")]),
    "classes in splits of another spelling": ("image-folder", lambda o: classes(o / "Training")),
    "classes in a folder of the archive's name": ("image-folder", lambda o: classes(o / "birds-main")),
    "classes with sub-folders": ("image-folder", lambda o: classes(o / "x", "a/left", "b/right")),
    "classes in splits in a folder of their own": (
        "image-folder", lambda o: [classes(o / "a" / "b" / split) for split in ("Train", "Test")]
    ),
    "classes of images far below": ("image-folder", lambda o: classes(o, "ant/a/b/c/d", "bee/a/b/c/d")),
    "classes beside a readme": ("image-folder", several(classes, lambda o: text(o / "README.txt", "Birds, 2 sorts"))),
    "classes beside their names": ("image-folder", several(classes, lambda o: text(o / "classes.txt", "ant", "bee"))),
    "parquet": ("parquet", lambda o: parquet(o / "train.parquet")),
    "parquet in folders": ("parquet", lambda o: parquet(o / "default" / "train" / "0000.parquet")),
    "cifar-100 cut": ("cifar100-lt", lambda o: parquet(o / "train_if10.parquet", names=100)),
    "torchvision's": ("cifar10-lt", lambda o: (o / "cifar-10-batches-py").mkdir(parents=True)),
    "npz": ("npz", lambda o: o.mkdir() or np.savez(o / "a.npz", images=np.zeros(1))),
    "table": ("csv", lambda o: text(o / "labels.csv", "path,label", "im/0.png,0")),
    "table with semicolons": ("csv", lambda o: text(o / "labels.csv", "Path;Label", "im/0.png;0")),
    "table of images in parts": (
        "csv",
        several(lambda o: classes(o, "images_part_1", "images_part_2"), lambda o: text(o / "m.csv", "id,dx", "0,nv")),
    ),
    "list": ("lists", lambda o: text(o / "train.txt", "im/0.png 0", "im/b 1.png 1")),
    "list with commas": ("lists", lambda o: text(o / "train.txt", "im/0.png,0", "im/b 1.png,1")),
    "list of images in class folders": (
        "lists",
        several(lambda o: classes(o / "images"), lambda o: text(o / "train.txt", "images/ant/0.png 0")),
    ),
    "list with labels by name": ("lists", lambda o: text(o / "train.txt", "im/0.png ant", "im/1.png bee")),
    "community's list": ("imagenet-lt", lambda o: text(o / "ImageNet_LT_train.txt", "n01440764/a.JPEG 0")),
}  # fmt: skip


@pytest.mark.parametrize("case", RECOGNISED)
def test_a_folder_has_one_form(case: str, tmp_path: Path) -> None:
    wanted, make = RECOGNISED[case]
    make(tmp_path / "data")
    found = recognised(tmp_path / "data")
    assert found.dataset == wanted
    assert found.seen


def test_a_file_is_known_by_its_content_and_not_by_its_name(tmp_path: Path) -> None:
    parquet(tmp_path / "train.parquet")
    for name in ("birds", "birds.csv", "birds.npz"):
        (tmp_path / "train.parquet").rename(tmp_path / name).rename(tmp_path / "train.parquet")
        (tmp_path / name).write_bytes((tmp_path / "train.parquet").read_bytes())
        assert recognised(tmp_path / name).dataset == "parquet"
    text(tmp_path / "train.txt", "path,label", "a.png,0")
    assert recognised(tmp_path / "train.txt").dataset == "csv"


def test_what_the_classes_were_found_in_is_told(tmp_path: Path) -> None:
    classes(tmp_path / "birds" / "train")
    classes(tmp_path / "birds" / "test")
    found = recognised(tmp_path / "birds")
    assert (found.seen, found.place) == ("2 folders with images in train/, and test/", tmp_path / "birds")
    found = recognised(tmp_path)
    assert (found.dataset, found.place) == ("image-folder", tmp_path / "birds")


AMBIGUOUS: dict[str, tuple[set[str], Callable[[Path], object]]] = {
    "classes and a table": (
        {"csv", "image-folder"}, several(classes, lambda o: text(o / "a.csv", "path,label", "ant/0.png,0"))
    ),
    "classes and a list": (
        {"lists", "image-folder"}, several(classes, lambda o: text(o / "train.txt", "ant/0.png 0"))
    ),
    "classes and parquet": ({"parquet", "image-folder"}, several(classes, lambda o: parquet(o / "train.parquet"))),
    "a table and npz": (
        {"csv", "npz"},
        several(lambda o: text(o / "a.csv", "path,label", "x,0"), lambda o: np.savez(o / "a.npz", images=np.zeros(1))),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_an_ambiguous_folder_is_refused_with_all_readings(case: str, tmp_path: Path) -> None:
    wanted, make = AMBIGUOUS[case]
    make(tmp_path / "data")
    assert {form.dataset for form in forms(tmp_path / "data")} == wanted
    with pytest.raises(DataError) as caught:
        recognised(tmp_path / "data")
    assert all(f"--dataset {dataset}" in str(caught.value) for dataset in wanted)


def test_images_in_several_folders_without_classes_are_not_called_one_folder(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        image(tmp_path / split / "0.png")
    with pytest.raises(DataError, match="there must be a folder for each class"):
        recognised(tmp_path)


def zipped(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "x")


NOTHING: dict[str, tuple[str, Callable[[Path], object]]] = {
    "an empty folder": ("holds no file", lambda o: o.mkdir()),
    "images without classes": ("2 images lie in it", lambda o: [image(o / name) for name in ("a.png", "b.png")]),
    "one folder of images": ("lie in one folder \\(all/\\)", lambda o: image(o / "all" / "a.png")),
    "an archive": ("unpack it", lambda o: zipped(o / "birds.zip")),
    "one array": ("numpy.savez", lambda o: o.mkdir() or np.save(o / "x.npy", np.zeros(2))),
    "a pointer": ("git lfs pull", lambda o: text(o / "train.parquet", "version https://git-lfs.github.com/spec/v1")),
    "a text": ("no table and no list", lambda o: text(o / "notes.txt", "birds are nice")),
    "something else": ("no known form \\(.h5\\)", lambda o: o.mkdir() or (o / "x.h5").write_bytes(b"\x89HDF\r\n\0")),
    "junk alone": ("holds no file", lambda o: text(o / "@eaDir" / "x.txt", "path,label", "a,0")),
}  # fmt: skip


@pytest.mark.parametrize("case", NOTHING)
def test_of_a_folder_without_data_is_told_what_is_there_and_what_is_read(case: str, tmp_path: Path) -> None:
    told, make = NOTHING[case]
    make(tmp_path / "data")
    with pytest.raises(DataError, match=told) as caught:
        recognised(tmp_path / "data")
    assert "what is read: " in str(caught.value)


def test_a_single_file_that_is_no_data_set_is_told(tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    with pytest.raises(DataError, match="an image; give the folder"):
        recognised(tmp_path / "a.png")
    text(tmp_path / "train.txt", "a.png 0")
    with pytest.raises(DataError, match=f"give {tmp_path}"):
        recognised(tmp_path / "train.txt")
    (tmp_path / "nothing").touch()
    with pytest.raises(DataError, match="0 bytes"):
        recognised(tmp_path / "nothing")


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_images_are_known_by_their_bytes(form: str, tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (4, 4)).save(stream, form)
    (tmp_path / "x").write_bytes(stream.getvalue())
    assert kind_of(tmp_path / "x") == "image"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_a_table_is_known_in_any_encoding(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes("path;label\nmöwe.png;Möwe\n".encode(encoding))
    assert kind_of(tmp_path / "x") == "table"
