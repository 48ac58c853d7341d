"""The perceptual hash: what it finds, what it lets pass; its search finds what comparing all would find."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from trainers.config import TaskConfig
from trainers.data import hashed, near_duplicates
from trainers.data import task as task_module
from trainers.data.near_duplicates import NEAR, nearest_matches, perceptual_hashes
from trainers.data.task import load_task

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"


def distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.bitwise_count(first[:, None] ^ second[None])


def rows(name: str, count: int) -> list[Image.Image]:
    path = SHARED / name
    if not path.is_file():
        pytest.skip(f"{name} is not beside this checkout")
    found = pq.read_table(path, columns=["image"])["image"].to_pylist()[:count]
    return [Image.open(io.BytesIO(one)).convert("RGB") for one in found]


def bits(images: list[Image.Image]) -> np.ndarray:
    """Hashes, each image in its own size."""
    return np.concatenate([perceptual_hashes(np.asarray(image).transpose(2, 0, 1)[None]).bits for image in images])


def again(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


@pytest.mark.parametrize(("name", "least"), [("cifar10_jpeg/train.parquet", 0.98), ("bccd_cells/train.parquet", 0.65)])
def test_most_re_encoded_and_scaled_copies_are_near(name: str, least: float) -> None:
    images = rows(name, 80)
    first = bits(images)
    for copies in (
        [again(image, 75) for image in images],
        [again(image, 50) for image in images],
        [image.resize((24, 24), Image.Resampling.LANCZOS) for image in images],
        [image.resize((48, 48), Image.Resampling.BICUBIC) for image in images],
    ):
        assert (np.bitwise_count(first ^ bits(copies)) <= NEAR).mean() >= least


def test_other_cells_are_not_near_and_digits_are_too_small() -> None:
    train, test = (bits(rows(f"bccd_cells/{split}.parquet", 300)) for split in ("train", "test"))
    assert (distances(train, test) <= NEAR).sum() == 0
    assert not any("look" in note for note in load_task(TaskConfig()).notes)


def test_the_search_finds_what_comparing_all_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    train = generator.integers(0, 2**63, 400, dtype=np.uint64)
    held = generator.permutation(train)[:200].copy()
    for row in range(200):
        for bit in generator.choice(64, row % 8, replace=False):
            held[row] ^= np.uint64(1) << np.uint64(bit)
    found = nearest_matches(held, train)
    assert ((found >= 0) == (distances(held, train) <= NEAR).any(axis=1)).all()
    assert (np.bitwise_count(held[found >= 0] ^ train[found[found >= 0]]) <= NEAR).all()
    assert nearest_matches(held[:0], train).tolist() == nearest_matches(held[:0], train[:0]).tolist() == []
    assert (nearest_matches(held, train[:0]) == -1).all()
    monkeypatch.setattr(near_duplicates, "_MOST_CANDIDATES", 1)  # many of one look: some match is found all the same
    assert (nearest_matches(np.repeat(held[:1], 50), np.repeat(held[:1], 1000)) >= 0).all()


def test_flat_images_tell_nothing_and_the_number_of_channels_does_not_matter() -> None:
    flat = np.full((3, 1, 20, 30), [[[[0]]], [[[90]]], [[[255]]]], dtype=np.uint8)
    assert not perceptual_hashes(flat).telling.any()
    grey = np.random.default_rng(0).integers(0, 256, (5, 1, 40, 30), dtype=np.uint8)
    one, three = perceptual_hashes(grey), perceptual_hashes(np.repeat(grey, 3, axis=1))
    assert one.telling.all()
    assert (np.bitwise_count(one.bits ^ three.bits) <= 2).all()
    assert len(perceptual_hashes(grey[:0]).bits) == 0


def test_streamed_data_are_sampled_by_whole_classes_and_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    for k, (name, count) in enumerate({"ant": 30, "bee": 10, "cow": 5}.items()):
        for split, many in (("train", count), ("val", 2), ("test", 3)):
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(many):
                noise = generator.integers(0, 256, (12, 12, 3), dtype=np.uint8)
                image = Image.fromarray(noise).resize((64, 64), Image.Resampling.BICUBIC)
                image.save(tmp_path / split / name / f"{k}{i}.png")
    for name in ("ant", "cow"):
        image = Image.open(next((tmp_path / "train" / name).iterdir()))
        image.save(tmp_path / "test" / name / "copy.jpg", quality=80)
    config = TaskConfig(dataset="image-folder", data=str(tmp_path), imbalance_factor=None, image_size=32)
    monkeypatch.setattr(task_module, "MEMORY_LIMIT", 1000)

    def told() -> list[str]:
        return [note for note in load_task(config).notes if "look" in note]

    assert [note[:58] for note in told()] == [
        "look-alikes were searched among 62 of 62 images, of the 3 ",
        "test: 2 of 11 images look like training images by a percep",
    ]
    monkeypatch.setattr(hashed, "MOST_IMAGES", 30)
    assert [note[:72] for note in told()] == [
        "look-alikes were searched among 26 of 62 images, of the 2 rarest classes",
        "test: 1 of 11 images look like training images by a perceptual hash (tes",
    ]
    monkeypatch.setattr(hashed, "MOST_IMAGES", 8)
    assert told()[0].startswith("look-alikes were searched among 8 of 62 images, of the rarest class")
