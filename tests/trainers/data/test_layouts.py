"""Folders as people have them: which images are of which class and split, what is refused, and what is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.file_ledger import counts_by_class, unexplained
from trainers.config import LayoutName, TaskConfig
from trainers.data.folders import read_folders
from trainers.data.pool import Source
from trainers.errors import DataError

SPLITS = {"train": {"ant": 2, "bee": 2}, "test": {"ant": 1, "bee": 1}}


def lay(root: Path, spec: str) -> Path:
    """Makes files from words such as `train/ant:2` (two images), `ant/x.heic`, `empty/`."""
    for word in spec.split():
        place, _, count = word.partition(":")
        path = root / place
        (path.parent if not count and not place.endswith("/") else path).mkdir(parents=True, exist_ok=True)
        if not count and not place.endswith("/"):
            path.write_bytes(b"x")
        for number in range(int(count or 0)):
            (path / f"{number}.png").write_bytes(b"x")
    return root


def read(root: Path, layout: LayoutName = "auto") -> Source:
    """Reads a folder and holds it against the files on disk."""
    source = read_folders(TaskConfig(dataset="image-folder", data=str(root), imbalance_factor=None, layout=layout))
    assert unexplained(root, source) == "", source.notes
    return source


@pytest.mark.parametrize(
    "names",
    [
        "train test", "Training Testing", "TRAIN TEST", "train_images test_images", "images_train images_test",
        "train2017 test2017", "train-set test-set", "trn tst", "seg_train seg_test", "TrainSet TestSet",
        "train held_out", "data/train data/test", "archive/data/Train archive/data/Test", "images/train images/test",
        "train/images test/images", "seg_train/seg_train seg_test/seg_test", "train eval",
    ],
)  # fmt: skip
def test_split_folders_of_any_name_and_nesting(names: str, tmp_path: Path) -> None:
    train, test = names.split()
    lay(tmp_path, f"{train}/ant:2 {train}/bee:2 {test}/ant:1 {test}/bee:1 __MACOSX/{train}:3")
    assert counts_by_class(read(tmp_path)) == SPLITS


@pytest.mark.parametrize("word", ["val", "Validation", "valid", "dev", "VAL"])
def test_validation_of_any_name(word: str, tmp_path: Path) -> None:
    lay(tmp_path, f"train/ant:2 train/bee:2 {word}/ant:1 {word}/bee:1 test/ant:1 test/bee:1")
    assert counts_by_class(read(tmp_path)) == {**SPLITS, "val": {"ant": 1, "bee": 1}}


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ("ant:2 bee:1", {"train": {"ant": 2, "bee": 1}}),
        ("PetImages/ant:2 PetImages/bee:1 readme/a.txt", {"train": {"ant": 2, "bee": 1}}),
        ("a/b/ant:2 a/b/bee:1 a/x.png", {"train": {"ant": 2, "bee": 1}}),
        ("images/train/ant:2 images/train/bee:2 labels/train/0.txt", {"train": SPLITS["train"]}),
        ("ant/train:2 ant/test:1 bee/train:2 bee/test:1", SPLITS),
        ("ant/Training:2 ant/Testing:1 bee/TRAIN:2 bee/test_set:1", SPLITS),
        ("ant:2 bee:2 test/ant:1 test/bee:1", SPLITS),
        ("images/ant:2 images/bee:2 test/ant:1 test/bee:1", SPLITS),
        ("ant/p1:1 ant/p2:1 bee:2", {"train": {"ant": 2, "bee": 2}}),
        ("vehicle/car:1 vehicle/train:1 fish:2", {"train": {"vehicle": 2, "fish": 2}}),
        ("apple:1 train:1 wolf:1", {"train": {"apple": 1, "train": 1, "wolf": 1}}),
        ("train/apple:1 train/train:1 train/wolf:1", {"train": {"apple": 1, "train": 1, "wolf": 1}}),
        ("valid:2 invalid:3", {"train": {"valid": 2, "invalid": 3}}),
        ("test_tube:2 training_shoes:3", {"train": {"test_tube": 2, "training_shoes": 3}}),
        ("train/ant:2 train/bee:2 test/ant:1 test/bee:1 extra:5 extra/a/b:2 notes.md", SPLITS),
        ("train/ant:2 train/bee:2 test:4", {"train": SPLITS["train"]}),
        ("train/ant:2 train/bee:2 test/unknown:4", {"train": SPLITS["train"]}),
        ("train/ant:2 train/bee:2 test/test:4 val/", {"train": SPLITS["train"]}),
        ("train/ant:2 train/bee:2 test/ant:1 test/bee:1 train/0.png train/labels.csv dev.parquet", SPLITS),
    ],
)
def test_read_as(spec: str, found: dict[str, dict[str, int]], tmp_path: Path) -> None:
    assert counts_by_class(read(lay(tmp_path, spec))) == found


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("train/ant:2 train/bee:2 ant:1 bee:1", "two ways.*task.layout=splits.*train/.*task.layout=classes.*set one"),
        ("train/ant:2 train/bee:2 cow:1 dog:1", r"two ways.*the classes are ant/, bee/ in train/, without cow/, dog/"),
        ("ant:2 bee:2 test:3", "two ways.*the splits are test/, and the classes in training ant/, bee/"),
        ("ant/train:2 ant/test:1 bee:2", "two ways.*train/ in ant/ are splits of that class"),
        (
            "train/train/ant:1 train/train/bee:1 train/test/ant:2 train/test/bee:1 val/ant:1",
            "two ways.*--data .*train if",
        ),
        ("a/train/ant:1 a/train/bee:1 a/test/ant:1 b/train/ant:1 b/train/cow:1", "data set of its own.*--data .*a,"),
        ("ant:2 ant/test:1 bee:2 bee/test:1", "two ways.*test/ in ant/ are splits of that class"),
        ("ant/train:2 ant/test:1 bee/train:2 bee/test:1 cow/", "1 of 3 classes have no training images: 'cow'"),
        ("ant/train:2 ant/test:1 bee/train:2 bee/test:1 cow/1.heic", "cow: there must be images in it"),
        ("train/ant:2 Train/ant:2", "a split has one folder, but Train/, train/ both mean train"),
        ("train:3 test:2", "a folder for each class, but there are 3 images and none.*task.layout=classes"),
        ("val/ant:1 val/bee:1 test/ant:1 test/bee:1", "training images, but there is only test/, val/"),
        ("train/images:3 test/images:2", "a folder for each class, but there are 3 images and none"),
        ("0.png 1.png", "holds 2 images directly; sort"),
        ("ant:2 bee/", "at least|1 of 2 classes have no training images: 'bee'"),
        ("ant:2 bee:2 cow/1.heic cow/2.heic", r"cow: there must be images in it, but 2 files.*\.heic 2"),
        ("train/ant:2 train/bee:2 test/ant/1.avif", r"test: there must be images in it"),
        ("ant/1.heic", r"no image file in it \(.*\.heic 1"),
        ("train/ant:2 train/bee:2 test/Ant:1 test/bee:1", "class 'Ant' has no training images"),
    ],
)
def test_refused_with_the_way_out(spec: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"(?s){words}"):
        read(lay(tmp_path, spec))


@pytest.mark.parametrize(
    ("spec", "layout", "found"),
    [
        ("train/ant:2 train/bee:2 ant:1 bee:1", "splits", {"train": SPLITS["train"]}),
        ("train/ant:2 train/bee:2 ant:1 bee:1", "classes", {"train": {"train": 4, "ant": 1, "bee": 1}}),
        ("ant:2 bee:2 test:3", "splits", {"train": SPLITS["train"]}),
        ("ant:2 bee:2 test:3", "classes", {"train": {"ant": 2, "bee": 2, "test": 3}}),
        ("ant/train:2 ant/test:1 ant/x:4 bee:2", "splits", {"train": SPLITS["train"], "test": {"ant": 1}}),
        ("ant:2 ant/test:1 bee:2 bee/test:1", "splits", SPLITS),
        ("ant:2 ant/test:1 bee:2 bee/test:1", "classes", {"train": {"ant": 3, "bee": 3}}),
        ("ant/train:2 ant/test:1 ant/Train:1 bee:2", "splits", {"train": {"ant": 3, "bee": 2}, "test": {"ant": 1}}),
        ("ant/train:2 ant/test:1 bee:2", "classes", {"train": {"ant": 3, "bee": 2}}),
        ("train:3 test:2", "classes", {"train": {"train": 3, "test": 2}}),
        ("train/ant:2 Train/ant:2", "classes", {"train": {"train": 2, "Train": 2}}),
        ("train/ant:2 train/bee:2", "classes", {"train": {"ant": 2, "bee": 2}}),
    ],
)
def test_the_switch_decides(spec: str, layout: LayoutName, found: dict[str, dict[str, int]], tmp_path: Path) -> None:
    assert counts_by_class(read(lay(tmp_path, spec), layout)) == found


@pytest.mark.parametrize(
    ("spec", "note"),
    [
        ("Training/ant:2 Training/bee:2 Testing/ant:1", "read as splits: test is Testing/, train is Training/"),
        ("ant:2 bee:1 ant/a.heic ant/b.HEIC bee/c.txt",
         "not used: 3 files in class folders, of no format that is read (.heic 2, .txt 1), first ant/a.heic; "
         "save images as PNG"),
        ("ant:2 bee:1 dev.parquet a/b.csv", "not used: 2 files outside the class folders (.csv 1, .parquet 1), first "
         "dev.parquet"),
        ("ant:2 bee:1 x.png y.jpg",
         "not used: 2 images directly in the folder itself, in no class folder, first x.png"),
        ("train/ant:2 train/bee:1 test:4", "not used: 4 images in test/, no class folders in it, so no test split"),
        ("train/ant:2 train/bee:1 extra:4 extra/a.txt",
         "not used: 5 files (4 images) in extra/, neither training, validation nor test images"),
        ("ant/a:2 ant/b:1 bee:1", "images in folders within a class folder (ant/a/, ant/b/) count to the class"),
        ("train/ant:2 train/bee:1 test/", "test/ holds no image, so it is no test split"),
        ("ant:2 bee:2 test/ant:1 test/bee:1", "train is ant/, bee/, beside test/"),
        ("apple:1 train:1 wolf:1", "read as a class, as it holds no class folders: train/"),
        ("ant/train:2 ant/test:1 bee/train:2", "the splits are folders in the class folders: train 4, test 1 images"),
    ],
)  # fmt: skip
def test_said(spec: str, note: str, tmp_path: Path) -> None:
    assert note in read(lay(tmp_path, spec)).notes


def test_well_formed_data_gets_no_note(tmp_path: Path) -> None:
    spec = "train/ant:2 train/bee:2 validation/ant:1 validation/bee:1 test/ant:1 test/bee:1 .DS_Store"
    assert read(lay(tmp_path / "a", spec)).notes == ()
    assert read(lay(tmp_path / "b", "ant:2 bee:1 ant/Thumbs.db")).notes == ()


def test_classes_txt_in_the_inner_folder(tmp_path: Path) -> None:
    lay(tmp_path, "data/ant:2 data/bee:1")
    (tmp_path / "data" / "classes.txt").write_text("bee\nant\n")
    assert read(tmp_path).class_names == ("bee", "ant")


def test_links(tmp_path: Path) -> None:
    root, outside = lay(tmp_path / "set", "ant:2 bee:1"), lay(tmp_path / "outside", "more:3 sub/deep:1")
    (root / "bee" / "more").symlink_to(outside)
    (root / "cow").symlink_to(outside)
    (root / "bee" / "loop").symlink_to(root)
    (root / "bee" / "up").symlink_to(tmp_path)
    (root / "bee" / "twice").symlink_to("../ant")
    (root / "bee" / "gone.png").symlink_to("nowhere.png")
    (root / "bee" / "self.png").symlink_to("self.png")
    (root / "bee" / "linked.png").symlink_to("0.png")
    source = read(root)
    assert counts_by_class(source) == {"train": {"ant": 2, "bee": 2, "cow": 4}}
    assert [note for note in source.notes if "link" in note] == [
        "not used: 2 links to nothing (.png 2), first bee/gone.png; fetch what is missing",
        "not used: 4 links to a folder that is read already, or that holds this one (no suffix 4), first bee/loop",
    ]


def test_names_that_no_terminal_shows(tmp_path: Path) -> None:
    lay(tmp_path, "ant:2 bee:2")
    (tmp_path / "bee" / "a\n\udcff\x1b[1m.tga").write_bytes(b"x")
    assert read(tmp_path).notes[0].endswith(r"(.tga 1), first bee/a\n\udcff\x1b[1m.tga; save images as PNG")


def test_numbers_in_the_lines_of_classes_txt_are_no_part_of_the_names(tmp_path: Path) -> None:
    lay(tmp_path, "001.x:2 002.y:1")
    (tmp_path / "classes.txt").write_text("1 002.y\n2 001.x\n")
    source = read_folders(TaskConfig(dataset="image-folder", data=str(tmp_path), imbalance_factor=None))
    assert source.class_names == ("002.y", "001.x")


def test_classes_txt_may_name_folders_that_are_numbers(tmp_path: Path) -> None:
    lay(tmp_path, "train/0:2 train/1:1 train/10:1 test/10:2")
    (tmp_path / "classes.txt").write_text("0 ant\n1 bee\n10 cow\n")
    source = read_folders(TaskConfig(dataset="image-folder", data=str(tmp_path), imbalance_factor=None))
    assert counts_by_class(source) == {"train": {"ant": 2, "bee": 1, "cow": 1}, "test": {"cow": 2}}


@pytest.mark.parametrize("spec", ["fold0/ant:1 fold0/bee:1 fold1/ant:2 fold1/bee:1", "part_1/ant:1 part_2/bee:1"])
def test_numbered_parts_may_be_classes_or_hold_them(spec: str, tmp_path: Path) -> None:
    lay(tmp_path, spec)
    with pytest.raises(DataError, match=r"numbered parts .* task\.layout=classes"):
        read(tmp_path)
    assert len(read(tmp_path, "classes").class_names) == 2


def test_folders_of_equal_names_in_all_classes_are_told(tmp_path: Path) -> None:
    lay(tmp_path, "color/ant:1 color/bee:2 grey/ant:1 grey/bee:2")
    assert any("color/, grey/ all hold ant/, bee/; if those are the classes" in note for note in read(tmp_path).notes)


def test_a_classes_txt_of_other_names_is_called_wrong_and_not_the_folders(tmp_path: Path) -> None:
    lay(tmp_path, "ant:2 bee:1")
    (tmp_path / "classes.txt").write_text("dog\ncat\n")
    with pytest.raises(DataError, match=r"classes.txt: it must name every class folder, but 'ant' \(2 of 2\)"):
        read(tmp_path)


def test_a_test_class_in_other_capitals_is_told(tmp_path: Path) -> None:
    lay(tmp_path, "train/ant:2 train/bee:1 test/Ant:1")
    with pytest.raises(DataError, match="call it 'ant', or leave it out"):
        read(tmp_path)
