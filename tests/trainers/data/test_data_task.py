"""load_task over every source: the same images give the same task, and honest splits stay honest."""

import dataclasses
import hashlib
import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torchvision.datasets import CIFAR10

from trainers.config import TaskConfig
from trainers.data import task as task_module
from trainers.data.splits import MemorySplit, StreamedSplit
from trainers.data.task import Task, load_task
from trainers.errors import ConfigError, DataError
from trainers.long_tail import long_tail_counts

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
NAMES = ["ant", "bee", "cow"]
Sample = tuple[bytes, int, str]  # PNG, label, split


def samples(counts: tuple[int, ...] = (20, 10, 5), *, test: int = 4, size: int = 16) -> list[Sample]:
    generator = np.random.default_rng(0)
    rows = []
    for split, sizes in (("train", counts), ("test", (test,) * len(counts))):
        for label, count in enumerate(sizes):
            for _ in range(count):
                picture = Image.fromarray(generator.integers(0, 256, (size, size, 3), dtype=np.uint8))
                buffer = io.BytesIO()
                picture.save(buffer, "PNG")
                rows.append((buffer.getvalue(), label, split))
    return rows


def write_parquet(folder: Path, rows: list[Sample], *, names: list[str] | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    metadata = {"class_names": json.dumps(names or NAMES)}
    for split in {split for _, _, split in rows}:
        table = pa.table(
            {"image": [r[0] for r in rows if r[2] == split], "label": [r[1] for r in rows if r[2] == split]}
        )
        pq.write_table(table.replace_schema_metadata(metadata), folder / f"{split}.parquet")
    return folder


def write_folders(folder: Path, rows: list[Sample]) -> Path:
    for number, (data, label, split) in enumerate(reversed(rows)):
        place = folder / split / NAMES[label]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.png").write_bytes(data)
    return folder


def write_lists(folder: Path, rows: list[Sample]) -> Path:
    for split in ("train", "test"):
        lines = []
        for number, (data, label, where) in enumerate(rows):
            if where == split:
                path = folder / "images" / NAMES[label] / f"a b {number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
                lines.append(f"{path.relative_to(folder)} {label}")
        (folder / f"{split}.txt").write_text("\n".join(lines) + "\n")
    return folder


def write_csv(folder: Path, rows: list[Sample]) -> Path:
    lines = ["path,label,split"]
    for number, (data, label, split) in enumerate(rows):
        (folder / f"{number}.png").write_bytes(data)
        lines.append(f"{number}.png,{NAMES[label]},{split}")
    (folder / "images.csv").write_text("\n".join(lines))
    return folder


def write_npz(folder: Path, rows: list[Sample]) -> Path:
    arrays = {"class_names": np.array(NAMES)}
    for split in ("train", "test"):
        part = [row for row in rows if row[2] == split]
        arrays[f"{split}_images"] = np.stack([np.asarray(Image.open(io.BytesIO(data))) for data, _, _ in part])
        arrays[f"{split}_labels"] = np.array([[label] for _, label, _ in part])
    np.savez(folder / "set.npz", **arrays)
    return folder


WRITERS: dict[str, Callable[[Path, list[Sample]], Path]] = {
    "parquet": write_parquet, "image-folder": write_folders, "lists": write_lists, "csv": write_csv, "npz": write_npz,
}  # fmt: skip


def own(dataset: str, data: Path, **options: object) -> Task:
    return load_task(TaskConfig(dataset=dataset, data=str(data), **{"imbalance_factor": None, **options}))


def decoded(data: bytes) -> bytes:
    return np.asarray(Image.open(io.BytesIO(data))).transpose(2, 0, 1).tobytes()


def pictures(task: Task) -> set[bytes]:
    return {image.numpy().tobytes() for image in task.test.images}


@pytest.mark.parametrize("dataset", sorted(WRITERS))
def test_every_format_gives_the_same_task(dataset: str, tmp_path: Path) -> None:
    rows = samples()
    task = own(dataset, WRITERS[dataset](tmp_path, rows), val_per_class=3)
    assert task.class_names == tuple(NAMES)
    assert task.counts == (17, 8, 4)
    assert (len(task.val), len(task.test), task.image_size, task.channels) == (3 + 2 + 1, 12, 16, 3)
    assert pictures(task) == {decoded(data) for data, _, split in rows if split == "test"}


def test_folders_parquet_lists_and_csv_have_one_fingerprint_and_order(tmp_path: Path) -> None:
    tasks = []
    for dataset in ("parquet", "image-folder", "lists", "csv"):
        (tmp_path / dataset).mkdir()
        tasks.append(own(dataset, WRITERS[dataset](tmp_path / dataset, samples())))
    assert len({task.fingerprint for task in tasks}) == 1
    assert all(torch.equal(task.train.images, tasks[0].train.images) for task in tasks)
    assert all(torch.equal(task.val.images, tasks[0].val.images) for task in tasks)


def test_the_fingerprint_follows_what_is_trained_on(tmp_path: Path) -> None:
    folder = write_parquet(tmp_path / "a", samples())
    first = own("parquet", folder).fingerprint
    assert own("parquet", folder).fingerprint == first
    others = [
        own("parquet", folder, split_seed=1),
        own("parquet", folder, augment="none"),
        own("parquet", folder, image_size=8),
        own("parquet", folder, protocol="paper_leak"),
        own("parquet", write_parquet(tmp_path / "b", samples(size=12))),
    ]
    assert len({first, *(task.fingerprint for task in others)}) == 6


@pytest.mark.parametrize("dataset", ["image-folder", "parquet"])
def test_one_pixel_in_the_middle_of_a_large_file_changes_the_fingerprint(dataset: str, tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (250, 250, 3), dtype=np.uint8)
    prints, sizes = set(), set()
    for name in ("as it was", "touched up"):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "BMP")  # uncompressed: the files differ in one byte
        rows = [(buffer.getvalue(), 0, "train"), *samples((9, 5, 5), size=250)]
        (tmp_path / name).mkdir()
        prints.add(own(dataset, WRITERS[dataset](tmp_path / name, rows), image_size=16).fingerprint)
        sizes.add(len(buffer.getvalue()))
        pixels[125, 125, 0] ^= 1
    assert min(sizes) > 2**17  # as photographs are
    assert len(sizes) == 1
    assert len(prints) == 2


def test_digits_are_cut_as_documented() -> None:
    task = load_task(TaskConfig())
    assert task.counts == (100, 64, 41, 27, 17, 11, 7, 4, 3, 2)
    assert sum(task.counts) == len(task.train) == 276
    assert torch.bincount(task.val.labels).tolist() == [20] * 10
    assert torch.bincount(task.test.labels).tolist() == [40] * 10
    assert task.train.images.shape == (276, 1, 8, 8)
    assert (task.train.images.max(), task.augment, task.train.padding) == (255, "crop", 1)
    assert load_task(TaskConfig()).fingerprint == task.fingerprint
    assert load_task(TaskConfig(split_seed=1)).fingerprint != task.fingerprint


def test_digits_are_never_mirrored() -> None:
    with pytest.raises(ConfigError, match="crop_flip"):
        load_task(TaskConfig(augment="crop_flip"))


def test_test_images_do_not_depend_on_the_training_cut() -> None:
    first, second = load_task(TaskConfig()), load_task(TaskConfig(imbalance_factor=10.0, max_count=80))
    assert torch.equal(first.test.images, second.test.images)
    assert torch.equal(first.val.images, second.val.images)


def test_paper_leak_selects_on_test_and_says_so() -> None:
    task = load_task(TaskConfig(protocol="paper_leak"))
    assert task.val is task.test
    assert any("paper_leak" in note and "TEST" in note for note in task.notes)


def test_without_a_test_split_one_is_cut_tail_safe(tmp_path: Path) -> None:
    rows = [row for row in samples((20, 10, 3)) if row[2] == "train"]
    task = own("parquet", write_parquet(tmp_path, rows))
    assert torch.bincount(task.test.labels, minlength=3).tolist() == [4, 2, 0]
    assert task.counts == (16 - 3, 8 - 1, 3)
    assert any(note.startswith("test: no test split was given") for note in task.notes)
    assert any("test: 1 of 3 classes have no images: cow" in note for note in task.notes)


def test_an_own_validation_split_is_used_and_may_lack_a_class(tmp_path: Path) -> None:
    rows = samples()
    rows += [(data, label, "val") for data, label, split in samples(size=15) if split == "test" and label < 2]
    task = own("parquet", write_parquet(tmp_path, rows), image_size=16)
    assert task.counts == (20, 10, 5)
    assert torch.bincount(task.val.labels, minlength=3).tolist() == [4, 4, 0]
    assert any("val: 1 of 3 classes have no images: cow" in note for note in task.notes)


def test_images_in_two_splits_are_reported(tmp_path: Path) -> None:
    rows = samples()
    rows.append((rows[0][0], 0, "test"))
    task = own("parquet", write_parquet(tmp_path, rows), val_per_class=1)
    assert any("test: 1 images are in the training images too" in note for note in task.notes)
    assert not any("validation images too" in note for note in task.notes)


def test_images_in_a_struct_of_large_binaries_are_read(tmp_path: Path) -> None:
    folder = write_parquet(tmp_path, samples())
    wanted = own("parquet", folder, val_per_class=1)
    for path in folder.glob("*.parquet"):
        table = pq.read_table(path)
        images = pa.StructArray.from_arrays(
            [table["image"].combine_chunks().cast(pa.large_binary()), pa.nulls(len(table), pa.string())],
            names=["bytes", "path"],
        )
        pq.write_table(table.set_column(0, "image", images), path)
    assert own("parquet", folder, val_per_class=1).fingerprint == wanted.fingerprint


def test_test_images_that_the_choice_is_made_by_are_reported(tmp_path: Path) -> None:
    rows = samples()
    rows += [(data, label, "val") for data, label, split in rows if split == "test"]
    task = own("parquet", write_parquet(tmp_path, rows))
    told = "test: 12 images are in the validation images too, by which the choice is made (test.parquet, row "
    assert any(note.startswith(told) for note in task.notes)


def test_images_of_any_mode_become_rgb_of_one_size(tmp_path: Path) -> None:
    for number, mode in enumerate(["L", "RGBA", "P", "1", "CMYK", "I;16", "LA"] * 2):
        place = tmp_path / NAMES[number % 2]
        place.mkdir(exist_ok=True)
        picture = Image.new("L", (20 + number, 30), 100) if mode == "I;16" else Image.new("RGB", (20 + number, 30))
        suffix = "tif" if mode == "CMYK" else "png"
        if mode == "I;16":
            picture = Image.fromarray(np.full((30, 20 + number), 0x6400, dtype=np.uint16))
        picture.convert(mode if mode != "I;16" else picture.mode).save(place / f"{number}.{suffix}")
    task = own("image-folder", tmp_path, image_size=8)
    assert task.train.images.shape[1:] == (3, 8, 8)
    assert (task.train.images == 100).flatten(1).all(1).any() or (task.val.images == 100).flatten(1).all(1).any()


def test_image_size_is_asked_for_when_it_cannot_be_guessed(tmp_path: Path) -> None:
    rows = samples() + [row for row in samples(size=20) if row[2] == "test"]
    with pytest.raises(ConfigError, match=r"16x16 and 20x20.*task\.image_size=16"):
        own("parquet", write_parquet(tmp_path, rows))


def test_photographs_are_scaled_to_224(tmp_path: Path) -> None:
    task = own("parquet", write_parquet(tmp_path, samples((5, 5, 5), test=1, size=130)))
    assert task.image_size == 224
    assert any("224x224" in note for note in task.notes)


def test_large_sets_are_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_parquet(tmp_path, samples())
    small = own("parquet", folder)
    monkeypatch.setattr(task_module, "MEMORY_LIMIT", 1000)
    large = own("parquet", folder)
    assert isinstance(small.train, MemorySplit)
    assert isinstance(large.train, StreamedSplit)
    assert torch.equal(small.train.labels, large.train.labels)
    assert small.fingerprint != large.fingerprint


def test_inaturalist_is_tested_on_its_official_validation_list(tmp_path: Path) -> None:
    write_lists(tmp_path, samples())
    (tmp_path / "train.txt").rename(tmp_path / "iNaturalist18_train.txt")
    (tmp_path / "test.txt").rename(tmp_path / "iNaturalist18_val.txt")
    task = own("inaturalist18", tmp_path, val_per_class=1)
    assert (len(task.test), len(task.val), task.counts) == (12, 3, (19, 9, 4))
    assert task.class_names == tuple(NAMES)  # from the folders in the paths
    assert task.mean == (0.466, 0.471, 0.380)


def test_hugging_face_shards_are_read(tmp_path: Path) -> None:
    rows = samples()
    (tmp_path / "data").mkdir()
    features = {"info": {"features": {"img": {}, "fine_label": {"names": NAMES}}}}
    for shard in range(2):
        part = [row for row in rows if row[2] == "train"][shard::2]
        columns = {"img": [{"bytes": row[0], "path": None} for row in part], "fine_label": [row[1] for row in part]}
        table = pa.table(columns).replace_schema_metadata({"huggingface": json.dumps(features)})
        pq.write_table(table, tmp_path / "data" / f"train-{shard:05d}-of-00002.parquet")
    task = own("parquet", tmp_path)
    assert (task.class_names, sum(task.counts) + len(task.val) + len(task.test)) == (tuple(NAMES), 35)


def test_text_labels_and_a_single_file(tmp_path: Path) -> None:
    rows = [row for row in samples() if row[2] == "train"]
    path = tmp_path / "all.parquet"
    labels = pa.array([NAMES[row[1]] for row in rows]).dictionary_encode()
    pq.write_table(pa.table({"image": [row[0] for row in rows], "label": labels}), path)
    task = own("parquet", path)
    assert task.class_names == tuple(NAMES)
    assert sum(task.counts) + len(task.val) + len(task.test) == 35


def test_classes_txt_orders_folders(tmp_path: Path) -> None:
    write_folders(tmp_path, samples())
    (tmp_path / "classes.txt").write_text("cow\nant\nbee\n")
    assert own("image-folder", tmp_path).class_names == ("cow", "ant", "bee")


def test_cifar_from_torchvisions_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    sums = {}
    pixels = np.random.default_rng(0).integers(0, 256, (100, 3072), dtype=np.uint8)
    contents = {
        "data_batch_1": {"data": pixels, "labels": [i % 10 for i in range(100)]},
        "test_batch": {"data": pixels[:20], "labels": [i % 10 for i in range(20)]},
        "batches.meta": {"label_names": [f"name{k}" for k in range(10)]},
    }
    for name, content in contents.items():
        data = pickle.dumps(content)
        (folder / name).write_bytes(data)
        sums[name] = hashlib.md5(data).hexdigest()
    monkeypatch.setattr(CIFAR10, "train_list", [["data_batch_1", sums["data_batch_1"]]])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": sums["batches.meta"]})
    config = TaskConfig(dataset="cifar10-lt", data=str(tmp_path), imbalance_factor=5.0, val_per_class=2)
    task = load_task(config)
    assert task.counts == (8, 8, *long_tail_counts(10, 10, 5)[2:])
    assert task.class_names[3] == "name3"
    assert load_task(dataclasses.replace(config, data=str(folder))).fingerprint == task.fingerprint
    (folder / "data_batch_1").write_bytes(pickle.dumps({"data": pixels, "labels": [0] * 100}))
    with pytest.raises(DataError, match="not here or not whole"):
        load_task(config)


def test_published_long_tails_are_not_cut_again() -> None:
    with pytest.raises(ConfigError, match="long-tailed as it is"):
        load_task(TaskConfig(dataset="imagenet-lt", data="."))


def test_cifar100_lt_from_the_ranked_pool() -> None:
    folder = SHARED / "cifar100_lt_lossless"
    if not folder.is_dir():
        pytest.skip("the CIFAR-100-LT files are not beside this checkout")
    task = load_task(
        TaskConfig(dataset="cifar100-lt", data=str(folder), imbalance_factor=50.0, max_count=50, val_per_class=2)
    )
    assert task.counts == tuple(long_tail_counts(100, 50, 50))
    assert task.class_names[0] == "apple"
    assert (len(task.val), len(task.test), task.image_size, task.augment) == (200, 10_000, 32, "crop_flip")


def test_blood_cells_as_parquet_and_as_folders(tmp_path: Path) -> None:
    folder = SHARED / "bccd_cells"
    if not folder.is_dir():
        pytest.skip("the blood-cell files are not beside this checkout")
    names = []
    for split in ("train", "test"):
        table = pq.read_table(folder / f"{split}.parquet")
        names = json.loads(table.schema.metadata[b"class_names"])
        for row, (image, label) in enumerate(zip(table["image"].to_pylist(), table["label"].to_pylist(), strict=True)):
            place = tmp_path / split / names[label]
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{row}.jpg").write_bytes(image)
    (tmp_path / "classes.txt").write_text("\n".join(names))
    parquet, folders = own("parquet", folder), own("image-folder", tmp_path)
    assert parquet.counts == (3328, 272, 146, 52, 24, 14, 1)
    assert parquet.fingerprint == folders.fingerprint
    assert parquet.class_names == folders.class_names
    assert any("Basophil" in note for note in parquet.notes)
