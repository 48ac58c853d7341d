"""Damaged data sets: whatever is wrong with them, they load and train, or a DataError says what to mend.

`pytest -m slow tests/trainers/data/test_data_fuzz.py` tries all 500; the others run each time. A seed makes the same
damage on every machine.
"""

from __future__ import annotations

import io
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from trainers.config import Stage1Config, Stage2Config, TaskConfig
from trainers.data.task import load_task
from trainers.errors import ConfigError, DataError, TrainerError
from trainers.job import Job, run_job

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # of damaged TIFF tags
CASES, EACH_TIME = 500, 60
KINDS = ("image-folder", "parquet", "csv", "lists", "npz")
MODES = ("RGB", "L", "1", "P", "LA", "RGBA", "CMYK", "I", "I;16", "F", "YCbCr")
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
JUNK = (
    b"", b"\x00", b"not an image", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"BM" + b"\xff" * 60,
    b"RIFF\x00\x00\x00\x00WEBP", b"P6 99999 99999 255 ", b"II*\x00\xff\xff\xff\xff", b"PK\x03\x04", b"PAR1" * 4,
)  # fmt: skip
LABELS = (
    "cat",
    "",
    "-1",
    "3.5",
    "999999999999999999999",
    "100000",
    "é\u2028",
    "nan",
    "0x1",
    "٣",
    "../..",
    "a,b",
    "\x00",
    "1e3",
)


def encoded(chance: random.Random, *, odd: float = 0.0) -> bytes:
    """A small image; an odd one has another size, mode or format than its neighbours."""
    size, mode, kind = (8, 8), "RGB", "PNG"
    if chance.random() < odd:
        size = chance.choice([(1, 1), (8, 9), (1, 300), (64, 64), (13, 8)])
        mode, kind = chance.choice(MODES), chance.choice(FORMATS)
    pixels = bytes(chance.randrange(256) for _ in range(192))
    image = Image.frombytes("RGB", (8, 8), pixels).resize(size)
    buffer = io.BytesIO()
    try:
        image.convert(mode).save(buffer, kind)
    except (OSError, ValueError, KeyError):  # not every format knows every mode
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
    return buffer.getvalue()


def spoilt(data: bytes, chance: random.Random) -> bytes:
    """The same bytes after an accident."""
    if not data or chance.random() < 0.2:
        return chance.choice(JUNK)
    at = chance.randrange(len(data))
    match chance.choice(["cut", "flip", "hole", "swell", "header"]):
        case "cut":
            return data[:at]
        case "flip":
            return data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]
        case "hole":
            return data[:at] + bytes(min(40, len(data) - at)) + data[at + 40 :]
        case "swell":
            return data[:at] + bytes(chance.randrange(256) for _ in range(50)) + data[at:]
        case _:
            start = chance.randrange(min(64, len(data)))
            return data[:start] + bytes(chance.randrange(256) for _ in range(6)) + data[start + 6 :]


def damaged(folder: Path, seed: int) -> TaskConfig:
    """Makes a data set of which something is wrong: most often images, else the labels, or files and their form."""
    chance = random.Random(seed)
    kind = KINDS[seed % len(KINDS)]
    wrong = chance.choice(["images", "images", "odd images", "labels", "form", "files"])
    per_class = [chance.randint(8, 14) for _ in range(chance.randint(2, 4))]
    labels: list[object] = [label for label, n in enumerate(per_class) for _ in range(n)]
    images = [encoded(chance, odd=0.3 if wrong == "odd images" else 0.0) for _ in labels]
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(labels))
        if wrong == "images":
            images[at] = spoilt(encoded(chance, odd=0.7), chance)
        elif wrong == "labels":
            labels[at] = chance.choice(LABELS)
    WRITERS[kind](folder, images, labels, chance if wrong == "form" else random.Random(0), wrong == "form")
    if wrong == "files":
        accident(folder, chance)
    return TaskConfig(dataset=kind, data=str(folder), imbalance_factor=None, image_size=chance.choice([None, 8, 8]))


def write_folder(folder: Path, images: list[bytes], labels: list[object], chance: random.Random, odd: bool) -> None:
    for index, (data, label) in enumerate(zip(images, labels, strict=True)):
        name = str(label).replace("/", "_").replace("\0", "_").strip(".") or "_"
        place = folder / "train" / name if odd and chance.random() < 0.1 else folder / name
        suffix = chance.choice(["png", "jpg", "TIFF", "txt", ""]) if odd and chance.random() < 0.2 else "png"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{index}.{suffix}").write_bytes(data)


def write_parquet(folder: Path, images: list[bytes], labels: list[object], chance: random.Random, odd: bool) -> None:
    text = any(isinstance(label, str) for label in labels)
    column: pa.Array = pa.array([str(label) for label in labels] if text else labels)
    picture: pa.Array = pa.array(images, pa.binary())
    names, metadata = ["image", "label"], None
    match chance.randrange(6) if odd else None:
        case 0:
            column = column.cast(pa.string())
        case 1:
            column = pa.array([[label] for label in column.to_pylist()])
        case 2:
            picture = pa.array([{"bytes": data, "path": None} for data in images])
        case 3:
            names = chance.choice([["picture", "label"], ["image", "image"], ["image", "class"]])
        case 4:
            metadata = {chance.choice(["class_names", "huggingface"]): chance.choice(['["a", "b"]', "[", "{}", "3"])}
        case 5:
            column = pa.array([None, *column.to_pylist()[1:]])
    table = pa.Table.from_arrays([picture, column], names=names).replace_schema_metadata(metadata)
    pq.write_table(table, folder / "train.parquet", compression="zstd")


def write_csv(folder: Path, images: list[bytes], labels: list[object], chance: random.Random, odd: bool) -> None:
    rows = ["path,label"]
    if odd:
        rows = [chance.choice(["path,label,split", "label,path", "file,class", "\ufeffpath, label", "path;label"])]
    for index, (data, label) in enumerate(zip(images, labels, strict=True)):
        (folder / f"{index}.png").write_bytes(data)
        strange = chance.choice([f"{index}.png,{label},test", f"../{index}.png,{label}", '"', "", "\0,0"])
        rows.append(strange if odd and chance.random() < 0.05 else f"{index}.png,{label}")
    encoding = chance.choice(["utf-8", "utf-8", "utf-16", "latin-1"]) if odd else "utf-8"
    (folder / "images.csv").write_bytes("\n".join(rows).encode(encoding, "replace"))


def write_lists(folder: Path, images: list[bytes], labels: list[object], chance: random.Random, odd: bool) -> None:
    rows = []
    for index, (data, label) in enumerate(zip(images, labels, strict=True)):
        (folder / f"{index}.png").write_bytes(data)
        strange = chance.choice([f"{index}.png", f"/etc/passwd {label}", f"a b\t{label}", "", "\0 0"])
        rows.append(strange if odd and chance.random() < 0.05 else f"{index}.png {label}")
    encoding = chance.choice(["utf-8", "utf-8", "utf-16", "latin-1"]) if odd else "utf-8"
    (folder / "train.txt").write_bytes("\n".join(rows).encode(encoding, "replace"))
    if odd:
        (folder / "classes.txt").write_bytes(chance.choice([b"a\nb\n", b"\xff\xfe\x00", b"", b"a\na\na\na\n"]))


def write_npz(folder: Path, images: list[bytes], labels: list[object], chance: random.Random, odd: bool) -> None:
    n, generator = len(images), np.random.default_rng(chance.randrange(2**32))
    shapes = [(n, 8, 8), (n, 8, 8, 3), (n, 3, 8, 8), (n, 8, 8, 4), (n, 0, 8), (n,), (n + 1, 8, 8), (n, 8, 9)]
    pixels = generator.integers(0, 256, chance.choice(shapes) if odd else shapes[0]).astype(np.uint8)
    numbers = np.array([str(x) for x in labels] if any(isinstance(x, str) for x in labels) else labels)
    name = "images"
    match chance.randrange(5) if odd else None:
        case 0:
            pixels = pixels.astype(chance.choice([np.float32, np.int64, bool]))
        case 1:
            numbers = chance.choice([numbers.astype(object), numbers[:, None], numbers[:0], numbers.astype(str)])
        case 2:
            name = "x"
        case 3:
            with (folder / "set.npz").open("wb") as file:
                np.save(file, pixels)  # one array, whatever its name says
            return
    np.savez(folder / "set.npz", **{name: pixels, "labels": numbers})


WRITERS: dict[str, Callable[[Path, list[bytes], list[object], random.Random, bool], None]] = {
    "image-folder": write_folder, "parquet": write_parquet, "csv": write_csv, "lists": write_lists, "npz": write_npz,
}  # fmt: skip


def accident(folder: Path, chance: random.Random) -> None:
    """Something happens to a file."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    heads = [path for path in files if path.suffix in (".parquet", ".csv", ".npz", ".txt") and path.parent == folder]
    path = chance.choice(heads if heads and chance.random() < 0.6 else files)
    match chance.choice(["spoil", "spoil", "spoil", "remove", "folder", "link", "loop", "rename"]):
        case "spoil":
            path.write_bytes(spoilt(path.read_bytes(), chance))
        case "remove":
            path.unlink()
        case "folder":
            path.unlink()
            path.mkdir()
        case "link":
            path.unlink()
            path.symlink_to(folder / "nowhere")
        case "loop":
            path.unlink()
            path.symlink_to(path.name)
        case "rename":
            path.rename(path.with_name("\udcff" + path.name))  # a name that is no UTF-8


def survives(config: TaskConfig, *, train: bool) -> TrainerError | None:
    """Loads, and perhaps trains an epoch; returns the error that says what is wrong. Other exceptions are defects."""
    try:
        task = load_task(config)
        assert sum(task.counts) == len(task.train)
        if train:
            job = Job(task=config, stage1=Stage1Config(epochs=1, precision="fp32"), heads=(Stage2Config(epochs=1),))
            for _ in run_job(job, cache=None, device=torch.device("cpu")):
                pass
    except TrainerError as error:
        return error
    return None


@pytest.mark.parametrize(
    "seeds", [range(EACH_TIME), pytest.param(range(EACH_TIME, CASES), marks=pytest.mark.slow)], ids=["some", "rest"]
)
def test_damaged_data_loads_and_trains_or_says_what_to_mend(seeds: range, tmp_path: Path) -> None:
    refused: list[tuple[TaskConfig, TrainerError]] = []
    survived = 0
    for seed in seeds:
        folder = tmp_path / str(seed)
        folder.mkdir()
        config = damaged(folder, seed)
        try:
            error = survives(config, train=seed % 10 == 0)
        except Exception as defect:
            raise AssertionError(f"seed {seed} ({config.dataset})") from defect
        if error is None:
            survived += 1
        else:
            refused.append((config, error))
    assert len(refused) > len(seeds) / 4, "the accidents are too mild"
    assert survived > len(seeds) / 20, "the accidents are too hard"
    for _, error in refused:
        assert isinstance(error, (DataError, ConfigError))
        assert 10 < len(str(error)) < 2_000


@pytest.mark.parametrize(
    "seeds", [range(EACH_TIME), pytest.param(range(EACH_TIME, CASES), marks=pytest.mark.slow)], ids=["some", "rest"]
)
def test_the_command_on_damaged_data_ends_with_a_documented_code_and_the_database_still_opens(
    seeds: range,
    tmp_path: Path,
    kept_home: Path,
    command: Callable[..., tuple[int, str]],
    studies_in: Callable[[Path], list[str]],
) -> None:
    codes = Counter[int]()
    for seed in seeds:
        folder = tmp_path / str(seed)
        folder.mkdir()
        config = damaged(folder, seed)
        size = f"task.image_size={'null' if config.image_size is None else config.image_size}"
        asked = ["--dataset", config.dataset, "--data", str(folder), "--set", size]
        checked, _ = command("check", "own_data.yaml", *asked)
        codes[checked] += 1
        assert checked in (0, 1, 2), seed
        if checked:  # the others would be trained
            launched, _ = command("launch", "--space", "own_data.yaml", *asked, "--home", str(kept_home))
            assert launched == checked, seed
    assert codes[1] + codes[2] > len(seeds) / 4, "the accidents are too mild"
    assert codes[0] > len(seeds) / 20, "the accidents are too hard"
    assert studies_in(kept_home) == ["kept"]
