"""CSV tables and lists as people have them: read as they are and told, or refused with the way out."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainers.config import TaskConfig, TrialConfig
from trainers.data.forms import recognised
from trainers.data.pool import Source
from trainers.data.task import load_task, reader
from trainers.errors import ConfigError, DataError

ROWS = [(f"im/{k}_{i}.png", k) for k, n in enumerate((4, 3, 2)) for i in range(n)]


def images(folder: Path, names: Iterable[str]) -> None:
    """Files that are there; readers of lists do not decode them."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"pixels")


def read(dataset: str, folder: Path, **settings: object) -> Source:
    told = {f"task.{name}": value for name, value in settings.items()}
    config = TrialConfig.from_flat({"task.dataset": dataset, "task.data": str(folder), **told})
    return reader(config.task.dataset)(config.task)


def counts(source: Source) -> list[int]:
    return [source.train.labels.tolist().count(k) for k in range(len(source.class_names))]


def missing(source: Source) -> list[str]:
    """Training images whose file is not found; whoever decodes them lists them all."""
    names = [source.train.images.name(index) for index in range(len(source.train))]
    return [name for name in names if not Path(name).exists()]


def lines(rows: Iterable[tuple[object, object]], sign: str = ",") -> str:
    return "".join(f"{name}{sign}{label}\n" for name, label in rows)


def told(source: Source, *words: str) -> None:
    for word in words:
        assert any(word in note for note in source.notes), (word, source.notes)


@pytest.mark.parametrize(
    ("content", "note"),
    [
        (b"\xef\xbb\xbf" + lines(ROWS, " ").replace("\n", "\r\n").encode(), ""),
        (lines(ROWS, " ").encode("utf-16"), ""),
        (lines(ROWS, "\t").encode(), ""),
        (lines(ROWS).encode(), ""),
        (lines(ROWS, " ; ").encode(), ""),
        (lines([(f'"{name}"', k) for name, k in ROWS], " ").encode(), ""),
        (lines([(name, f"{k}.0") for name, k in ROWS], " ").encode(), "labels such as 0.0 are read as whole numbers"),
        (lines([(f"/{name}", k) for name, k in ROWS], " ").encode(), "9 names of images have a leading slash"),
        (lines([(f"./{name}", k) for name, k in ROWS], " ").encode(), ""),
        (lines([(name.replace("/", "\\"), k) for name, k in ROWS], " ").encode(), "9 names of images have a leading"),
        (
            lines([(f"C:\\bob\\{name}".replace("/", "\\"), k) for name, k in ROWS], " ").encode(),
            "lead to 'bob', which is not here",
        ),
        (lines([(name.upper(), k) for name, k in ROWS], " ").encode(), "9 names of images differ from their files in"),
        (lines([(name, k + 1) for name, k in ROWS], " ").encode(), "labels run from 1 to 3; they are counted from 0"),
        (lines([(name, 2 * k + 3) for name, k in ROWS], " ").encode(), "labels have gaps (3, 5, 7)"),
    ],
)  # fmt: skip
def test_a_list_is_read_as_it_was_saved(content: bytes, note: str, tmp_path: Path) -> None:
    images(tmp_path, [name for name, _ in ROWS])
    (tmp_path / "train.txt").write_bytes(content)
    source = read("lists", tmp_path)
    assert counts(source) == [4, 3, 2]
    told(source, *([note] if note else []))
    assert bool(note) == bool(source.notes)


def test_a_list_in_windows_text_and_one_with_the_names_of_this_disk(tmp_path: Path) -> None:
    images(tmp_path, ["ä.png", "b.png"])
    (tmp_path / "train.txt").write_bytes("ä.png 0\nb.png 1\n".encode("cp1252"))
    told(read("lists", tmp_path), "train.txt is not UTF-8; it was read as Windows text (cp1252)")
    images(tmp_path, [b"\xe4.png".decode(errors="surrogateescape")])
    source = read("lists", tmp_path)
    assert source.notes == ("not used: 1 image that no row names (./ 1), first ä.png",)
    assert source.train.images.name(0).endswith("\udce4.png")


def test_labels_of_a_list_by_name_and_the_names_of_classes_txt(tmp_path: Path) -> None:
    images(tmp_path, ["a b.png", "c.jpeg", "d.png"])
    (tmp_path / "train.txt").write_text("a b.png black cat\nc.jpeg dog\nd.png dog\n")
    assert read("lists", tmp_path).class_names == ("black cat", "dog")
    (tmp_path / "classes.txt").write_bytes(b"\xef\xbb\xbfdog\r\nhorse\r\nblack cat\r\n")
    source = read("lists", tmp_path)
    assert source.class_names == ("dog", "black cat")
    told(source, "1 of 3 class names have no images and are left out: horse")


@pytest.mark.parametrize(
    ("classes", "labels", "names"),
    [
        ("ant\nbee\ncow\n", (0, 1, 2), ("ant", "bee", "cow")),
        ("ant\nbee\ncow\n", (1, 2, 3), ("ant", "bee", "cow")),
        ("ant\nbee\ncow\ndog\n", (0, 1, 3), ("ant", "bee", "dog")),
        ("3 ant\n5 bee\n9 cow\n", (3, 5, 9), ("ant", "bee", "cow")),
        ("ant 0\nbee 1\ncow 2\n", (0, 1, 2), ("ant", "bee", "cow")),
        ("2 euro\n1 euro\n5 cent\n", (0, 1, 2), ("2 euro", "1 euro", "5 cent")),
    ],
)
def test_class_names_by_place_from_0_or_1_and_by_number(
    classes: str, labels: tuple[int, ...], names: tuple[str, ...], tmp_path: Path
) -> None:
    images(tmp_path, [name for name, _ in ROWS])
    (tmp_path / "train.txt").write_text(lines([(name, labels[k]) for name, k in ROWS], " "))
    (tmp_path / "classes.txt").write_text(classes)
    source = read("lists", tmp_path)
    assert (source.class_names, counts(source)) == (names, [4, 3, 2])


def test_lists_of_other_names_and_what_is_not_used(tmp_path: Path) -> None:
    images(tmp_path, [name for name, _ in ROWS])
    for name in ("Training", "dev", "val", "README"):
        (tmp_path / f"{name}.txt").write_text(lines(ROWS, " "))
    source = read("lists", tmp_path)
    assert source.val is not None
    told(source, "not used: dev.txt")
    assert counts(read("lists", tmp_path / "Training.txt")) == [4, 3, 2]
    (tmp_path / "train_list.txt").write_text(lines(ROWS, " "))
    with pytest.raises(DataError, match=r"Training\.txt, train_list\.txt could each be the train list"):
        read("lists", tmp_path)


@pytest.mark.parametrize(
    ("text", "note"),
    [
        (lines(ROWS), "train.csv has no header; column 1 is read as path, column 2 as label"),
        ("Path,Label\n" + lines(ROWS), "column 'Path' holds the images, 'Label' the labels"),
        ("path;label\n" + lines(ROWS, ";"), "semicolons separate columns"),
        ("sep=;\npath;label\n" + lines(ROWS, ";"), "semicolons separate columns"),
        ("path\tlabel\n" + lines(ROWS, "\t"), "tabs separate columns"),
        (' "path" , "label" \n' + lines([(f'"{name}"', f" {k} ") for name, k in ROWS]), ""),
        ("label,path\n" + lines([(k, name) for name, k in ROWS]), ""),
        ("path,label\n" + lines([(name, f"{k}.0") for name, k in ROWS]), "labels such as 0.0 are read as whole"),
        ("path,label\n\n" + lines([*ROWS, ROWS[0], ROWS[0]]), "2 rows repeat an image with the same label"),
        ("path,label,class\n" + lines([(name, f"{k},x") for name, k in ROWS]), "'class' may hold labels, too"),
        ("path,label,Set\n" + lines([(name, f"{k},Training") for name, k in ROWS]), "column 'Set' says the split"),
        ("path,label,set\n" + lines([(name, f"{k},7") for name, k in ROWS]), ""),
        (
            "image,ant,bee,cow\n" + lines([(name, ",".join(str(float(k == j)) for j in range(3))) for name, k in ROWS]),
            "the columns ant, bee, cow are the classes (one-hot)",
        ),
    ],
)  # fmt: skip
def test_a_table_is_read_as_it_was_saved(text: str, note: str, tmp_path: Path) -> None:
    images(tmp_path, [name for name, _ in ROWS])
    (tmp_path / "train.csv").write_text(text)
    source = read("csv", tmp_path)
    assert counts(source) == [4, 3, 2]
    told(source, *([note] if note else []))
    assert bool(note) == bool(source.notes)


def ham(folder: Path, header: str = "lesion_id,image_id,dx") -> None:
    """Names without a suffix, of images in two folders."""
    images(folder, [f"part_{1 + i % 2}/ISIC_{k}{i}.jpg" for k in range(2) for i in range(4)])
    rows = [f"HAM_{i},ISIC_{k}{i},{('nv', 'df')[k]}" for k in range(2) for i in range(4)]
    (folder / "meta.csv").write_text("\n".join([header, *rows]))


def test_images_in_two_folders_under_names_without_a_suffix(tmp_path: Path) -> None:
    ham(tmp_path)
    found = read("csv", tmp_path)
    assert (found.class_names, counts(found)) == (("df", "nv"), [4, 4])
    told(
        found,
        "8 names of images have no suffix; their files have .jpg",
        "8 images were found by name in part_1, part_2",
    )
    same = read(
        "csv", tmp_path, columns={"image": "image_id", "label": "dx"}, image_root=["part_1", "part_2"], suffix="jpg"
    )
    assert [same.train.images.name(i) for i in range(8)] == [found.train.images.name(i) for i in range(8)]
    (tmp_path / "part_2" / "ISIC_00.jpg").write_bytes(b"another")
    with pytest.raises(
        DataError, match=r"a name means several files, first 'ISIC_00': .*part_1.* and .*part_2.*image_root"
    ):
        read("csv", tmp_path)


@pytest.mark.parametrize(
    ("header", "settings", "match"),
    [
        ("a,b,dx", {}, r"a column 'path', but there are 'a', 'b', 'dx'; .*--set task\.columns\.image=NAME"),
        ("image_id,filename,dx", {}, "'image_id' and 'filename' could each hold the images"),
        ("lesion_id,image_id,x", {}, r"a column 'label', but .*--set task\.columns\.label=NAME"),
        (
            "lesion_id,image_id,dx",
            {"columns": {"image": "imageid"}},
            "one column 'imageid', .* did you mean 'image_id'",
        ),
        ("lesion_id,image_id,dx", {"image_root": "part_3"}, r"no such folder of images; task\.image_root \('part_3'\)"),
        ("lesion_id,image_id,dx", {"image_root": "empty"}, "8 of 8 image files are missing or empty"),
    ],
)
def test_a_table_that_could_mean_two_things_is_refused(
    header: str, settings: dict[str, object], match: str, tmp_path: Path
) -> None:
    ham(tmp_path, header)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=match):
        read("csv", tmp_path, **settings)


def test_names_in_the_folder_of_their_own_split_count_and_never_those_of_another(tmp_path: Path) -> None:
    images(tmp_path, [f"{split}/{i}.png" for split in ("train", "test") for i in range(4)])
    for split in ("train", "test"):
        (tmp_path / f"{split}.csv").write_text("id_code,diagnosis\n" + lines([(i, i % 2) for i in range(4)]))
    source = read("csv", tmp_path)
    assert source.test is not None
    assert "/train/" in source.train.images.name(0)
    assert "/test/" in source.test.images.name(0)
    (tmp_path / "train" / "0.png").unlink()
    assert missing(read("csv", tmp_path)) == [str(tmp_path / "0")]


def test_a_test_without_labels_is_none_and_other_tables_are_named(tmp_path: Path) -> None:
    images(tmp_path, [name for name, _ in ROWS])
    (tmp_path / "train.csv").write_text("id_code,diagnosis\n" + lines(ROWS))
    (tmp_path / "test.csv").write_text("id_code\n0005cfc8\n")
    (tmp_path / "sample_submission.csv").write_text("id_code,diagnosis\n0005cfc8,0\n")
    source = read("csv", tmp_path)
    assert source.test is None
    told(source, "not used: sample_submission.csv", "test: the labels of its 1 images are missing", "test.csv: column")


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        ([*ROWS, ("im/0_0.png", 1)], r"1 images have two labels, first .*im/0_0\.png: 0 and 1"),
        ([*ROWS[:-1], (ROWS[-1][0], "")], r"1 of 9 rows have no label, first that of im/2_1\.png"),
        ([*ROWS[:-1], (ROWS[-1][0], "nan")], "1 of 9 rows have no label"),
        (
            [(name, f"{k}{'|' * (k == 2)}{'0' * (k == 2)}") for name, k in ROWS] + [("im/0_0.PNG", 2)],
            "multi-label|missing",
        ),
    ],
)
def test_rows_that_contradict_or_lack_a_label_are_refused(
    rows: list[tuple[str, object]], match: str, tmp_path: Path
) -> None:
    images(tmp_path, [name for name, _ in ROWS])
    (tmp_path / "train.csv").write_text("path,label\n" + lines(rows))
    with pytest.raises(DataError, match=match):
        read("csv", tmp_path)


def test_one_hot_rows_with_several_ones_are_refused_and_the_columns_can_be_told(tmp_path: Path) -> None:
    images(tmp_path, ["a.png", "b.png"])
    (tmp_path / "t.csv").write_text("image,ant,bee,male\na,1,0,1\nb,0,1,1\n")
    with pytest.raises(DataError, match=r"t\.csv:2: .*ant, bee, male.* 2 of 2 rows .*multi-label.*label=A,B,C"):
        read("csv", tmp_path / "t.csv")
    assert read("csv", tmp_path / "t.csv", columns={"label": "ant,bee"}).class_names == ("ant", "bee")


def test_missing_images_are_looked_for_above_the_list(tmp_path: Path) -> None:
    images(tmp_path, [name for name, _ in ROWS])
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "train.txt").write_text(lines(ROWS, " "))
    with pytest.raises(DataError, match=rf"9 of 9 .*task\.image_root=DIR \(from {tmp_path} they would be found\)"):
        read("lists", tmp_path / "lists")
    assert counts(read("lists", tmp_path / "lists", image_root="..")) == [4, 3, 2]


def test_what_a_name_says_of_its_folder_is_kept(tmp_path: Path) -> None:
    """A name is never found in another folder than the one it gives, if others lead to files as they stand."""
    images(tmp_path, ["x/a.png", "y/b.png", "old/y/c.png"])
    (tmp_path / "train.txt").write_text("x/a.png 0\ny/b.png 1\ny/c.png 1\n")
    assert missing(read("lists", tmp_path)) == [str(tmp_path / "y" / "c.png")]


def test_tables_below_or_of_unknown_names_are_named(tmp_path: Path) -> None:
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "a.csv").write_text("path,label\n")
    with pytest.raises(DataError, match=r"but there are 0 \(meta holds some: give that folder\)"):
        read("csv", tmp_path)
    for name in ("b.csv", "c.csv"):
        (tmp_path / name).write_text("path,label\n")
    with pytest.raises(DataError, match=r"but there are 2: b\.csv, c\.csv; give the file"):
        read("csv", tmp_path)


def test_rows_say_the_split_of_one_table_and_names_those_of_several(tmp_path: Path) -> None:
    images(tmp_path, [name for name, _ in ROWS])
    rows = [(name, f"{k},{'dev' if name.endswith('0.png') else 'train'}") for name, k in ROWS]
    (tmp_path / "train.csv").write_text("path,label,split\n" + lines(rows))
    alone = read("csv", tmp_path)
    assert alone.val is not None
    assert (len(alone.train), len(alone.val)) == (6, 3)
    (tmp_path / "test.csv").write_text("path,label\n" + lines(ROWS))
    told(read("csv", tmp_path), "train.csv: column 'split' is not used; the file's name says the split")


def test_a_setting_that_is_not_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ant").mkdir()
    for dataset, name, value in (("lists", "columns", (("image", "x"),)), ("image-folder", "suffix", ".png")):
        config = TaskConfig(**{"dataset": dataset, "data": str(tmp_path), "imbalance_factor": None, name: value})
        with pytest.raises(ConfigError, match=f"task.{name}: {dataset} does not read it, only csv, .*leave it out"):
            load_task(config)


@pytest.mark.parametrize("dataset", ["csv", "lists", "parquet"])
def test_images_that_no_row_names_are_counted(dataset: str, tmp_path: Path) -> None:
    images(tmp_path, [name for name, _ in ROWS] + ["im/x.png", "im/y.png", "test/z.png", "@eaDir/thumb.png"])
    if dataset == "parquet":
        pq.write_table(
            pa.table({"image": [n for n, _ in ROWS], "label": [k for _, k in ROWS]}), tmp_path / "train.parquet"
        )
    else:
        (tmp_path / "train.csv").write_text("path,label\n" + lines(ROWS))
        (tmp_path / "train.txt").write_text(lines(ROWS, " "))
    told(read(dataset, tmp_path), "not used: 3 images that no row names (im/ 2, test/ 1), first im/x.png")


def test_beside_one_file_only_the_folders_of_its_images_are_looked_through(tmp_path: Path) -> None:
    images(tmp_path, [name for name, _ in ROWS] + ["im/x.png", "test/z.png"])
    (tmp_path / "a.csv").write_text("path,label\n" + lines(ROWS))
    told(read("csv", tmp_path / "a.csv"), "not used: 1 image that no row names (im/ 1), first im/x.png")


def test_a_linked_folder_of_named_images_is_no_folder_of_others(tmp_path: Path) -> None:
    images(tmp_path / "store", [name.removeprefix("im/") for name, _ in ROWS])
    (tmp_path / "im").symlink_to("store")
    (tmp_path / "train.csv").write_text("path,label\n" + lines(ROWS))
    assert not [note for note in read("csv", tmp_path).notes if "no row names" in note]


def test_a_column_that_says_splits_in_some_rows_alone_is_refused(tmp_path: Path) -> None:
    images(tmp_path, [name for name, _ in ROWS])
    rows = [f"{name},{k},{'Training' if at % 3 else 'PublicTest'}\n" for at, (name, k) in enumerate(ROWS)]
    (tmp_path / "a.csv").write_text("path,label,Usage\n" + "".join(rows))
    with pytest.raises(DataError, match="column 'Usage' says splits in some rows, but 'PublicTest' in others"):
        read("csv", tmp_path)


@pytest.mark.parametrize("column", ["is_training", "is_test", "fold", "Train"])
def test_a_column_that_may_say_the_split_is_told(column: str, tmp_path: Path) -> None:
    images(tmp_path, [name for name, _ in ROWS])
    rows = [f"{name},{k},{at % 3}\n" for at, (name, k) in enumerate(ROWS)]
    (tmp_path / "a.csv").write_text(f"path,label,{column}\n" + "".join(rows))
    told(read("csv", tmp_path), f"{column!r} may say the split, but is not read")


def test_a_table_of_pixels_is_refused_in_few_words(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("label," + ",".join(f"pixel{at}" for at in range(784)) + "\n0" + ",0" * 784)
    with pytest.raises(DataError, match=r"'pixel10' and 773 more\), which are not read; save arrays"):
        read("csv", tmp_path)


@pytest.mark.parametrize("folders", ["train valid", "Task3_Training_Truth Task3_Validation_Truth"])
def test_tables_in_the_folders_of_splits(folders: str, tmp_path: Path) -> None:
    for split, folder in zip(("train", "valid"), folders.split(), strict=True):
        rows = [(f"{k}_{i}.png", *(int(k == j) for j in range(3))) for k in range(3) for i in range(2)]
        images(tmp_path / split, [str(row[0]) for row in rows])
        (tmp_path / folder).mkdir(exist_ok=True)
        text = "".join(",".join(map(str, row)) + "\n" for row in rows)
        (tmp_path / folder / "_classes.csv").write_text("filename, ant, bee, cow\n" + text)
    source = read("csv", tmp_path)
    assert counts(source) == [2, 2, 2]
    assert source.val is not None
    assert len(source.val) == 6
    assert {Path(source.val.images.name(at)).parent.name for at in range(6)} == {"valid"}
    assert recognised(tmp_path).dataset == "csv"


def test_labels_that_are_decimals_are_told(tmp_path: Path) -> None:
    images(tmp_path, [name for name, _ in ROWS])
    (tmp_path / "a.csv").write_text("path,label\n" + lines((name, k + 0.5) for name, k in ROWS))
    told(read("csv", tmp_path), "labels such as 0.5 are decimals; each counts as the name of a class")
