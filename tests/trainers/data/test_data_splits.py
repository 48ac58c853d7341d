import io

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from trainers.data.images import EncodedImages
from trainers.data.splits import MemorySplit, Split, StreamedSplit, batch_slices, normalizer, pixel_statistics
from trainers.errors import DataError
from trainers.stage1.augment import CropFlip, crop_flip

CPU = torch.device("cpu")
NORMALIZATION = ((0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
N = 37


def memory(augment: str = "crop_flip", channels: int = 3) -> MemorySplit:
    images = torch.randint(256, (N, channels, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    normalization = (NORMALIZATION[0][:channels], NORMALIZATION[1][:channels])
    return MemorySplit(images, torch.arange(N) % 5, normalization, augment)


def streamed(workers: int = 0, *, augment: str = "crop_flip", broken: bool = False) -> StreamedSplit:
    rows = []
    for number in range(N):
        buffer = io.BytesIO()
        pixels = np.random.default_rng(number).integers(0, 256, (20 + number % 3, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(buffer, "PNG")
        rows.append(buffer.getvalue())
    if broken:
        rows[20] = b"no image"
    images = EncodedImages(pa.array(rows, pa.large_binary()), "train.parquet")
    return StreamedSplit(images, np.arange(N), torch.arange(N) % 5, 16, NORMALIZATION, augment, workers)


def collect(split: Split, order: torch.Tensor | None, seed: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    batches = list(split.batches(order, batch_size=8, device=CPU, generator=generator))
    assert [len(labels) for _, labels in batches] == [8, 8, 8, 8, 5]
    for images, _ in batches:
        assert images.dtype == torch.float32
        assert images.is_contiguous(memory_format=torch.channels_last)
    return torch.cat([images for images, _ in batches]), torch.cat([labels for _, labels in batches])


@pytest.mark.parametrize("split", [memory(), streamed()], ids=["memory", "streamed"])
class TestSplit:
    """What holds for every kind."""

    def test_without_generator_nothing_is_augmented_and_order_is_kept(self, split: Split) -> None:
        images, labels = collect(split, None, None)
        again, _ = collect(split, torch.arange(N), None)
        assert torch.equal(images, again)
        assert torch.equal(labels, split.labels)
        assert len(split) == N

    def test_order_picks_images_and_labels_together(self, split: Split) -> None:
        order = torch.randperm(N, generator=torch.Generator().manual_seed(1))
        images, labels = collect(split, order, None)
        straight, _ = collect(split, None, None)
        assert torch.equal(images, straight[order])
        assert torch.equal(labels, split.labels[order])

    def test_a_seed_fixes_the_views_and_leaves_the_global_state(self, split: Split) -> None:
        before = torch.get_rng_state()
        first, second, other = (collect(split, None, seed)[0] for seed in (1, 1, 2))
        assert torch.equal(before, torch.get_rng_state())
        assert torch.equal(first, second)
        assert not torch.equal(first, other)
        assert not torch.equal(first, collect(split, None, None)[0])

    def test_an_order_may_repeat_images(self, split: Split) -> None:
        order = torch.zeros(N, dtype=torch.int64)
        _, labels = collect(split, order, 3)
        assert (labels == split.labels[0]).all()


def test_memory_views_are_the_drawn_crops_normalised() -> None:
    split = memory()
    order = torch.randperm(N, generator=torch.Generator().manual_seed(1))
    drawn = CropFlip.draw(N, padding=2, flip=True, generator=torch.Generator().manual_seed(7))
    expected = crop_flip(split.images[order], drawn, padding=2)
    images, _ = collect(split, order, 7)
    torch.testing.assert_close(images, normalizer(NORMALIZATION, CPU)(expected))


@pytest.mark.parametrize("images", [5, 7, 1000])
def test_batches_made_in_blocks_are_those_made_one_by_one(images: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU augments and normalises many batches in a few launches."""
    split, order = memory(), torch.randperm(N, generator=torch.Generator().manual_seed(1))

    def batches(seed: int | None) -> list[tuple[torch.Tensor, torch.Tensor]]:
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        return [*split.batches(order, batch_size=3, device=CPU, generator=generator)]

    wanted = [batches(None), batches(7)]
    monkeypatch.setattr(MemorySplit, "block_images", lambda *_: images)
    for one, other in zip(wanted, [batches(None), batches(7)], strict=True):
        assert len(one) == len(other)
        for (pixels, labels), (theirs, their_labels) in zip(one, other, strict=True):
            assert torch.equal(pixels, theirs)
            assert pixels.stride() == theirs.stride()
            assert torch.equal(labels, their_labels)


def test_images_are_moved_once() -> None:
    split = memory()
    collect(split, None, None)
    collect(split, None, 1)
    assert list(split._resident) == [CPU]


@pytest.mark.parametrize("make", [memory, lambda augment: streamed(augment=augment)])
def test_augment_none_is_the_same_with_a_generator(make: type[MemorySplit]) -> None:
    split = make("none")
    generator = torch.Generator().manual_seed(5)
    state = generator.get_state()
    images = torch.cat([x for x, _ in split.batches(None, batch_size=8, device=CPU, generator=generator)])
    assert torch.equal(images, collect(split, None, None)[0])
    assert torch.equal(state, generator.get_state())


def test_crop_never_mirrors() -> None:
    split = memory("crop", channels=1)
    split.images[:] = torch.arange(16, dtype=torch.uint8)  # rises from left to right
    images, _ = collect(split, None, 0)
    inner = images[:, :, 4:-4, 4:-4]
    assert (inner.diff(dim=3) > 0).all()


def test_normalizing_is_torchvisions() -> None:
    images = memory().images
    expected = v2.Normalize(*NORMALIZATION)(v2.ToDtype(torch.float32, scale=True)(images))
    torch.testing.assert_close(normalizer(NORMALIZATION, CPU)(images), expected, rtol=1e-5, atol=2e-6)


def test_pixel_statistics_are_exact() -> None:
    images = memory().images
    mean, std = pixel_statistics(images)
    values = images.double() / 255
    torch.testing.assert_close(torch.tensor(mean), values.mean((0, 2, 3)).float())
    torch.testing.assert_close(torch.tensor(std), values.std((0, 2, 3), correction=0).float())
    assert pixel_statistics(torch.full((2, 1, 4, 4), 255, dtype=torch.uint8)) == ((1.0,), (1.0,))


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_workers_change_nothing() -> None:
    assert torch.equal(collect(streamed(0), None, 1)[0], collect(streamed(2), None, 1)[0])


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_training_keeps_its_workers_also_after_an_epoch_that_was_broken_off() -> None:
    split = streamed(2)
    first = collect(split, None, 1)[0]
    (loader,) = split._loaders.values()
    processes = [worker.pid for worker in loader._iterator._workers]  # type: ignore[union-attr]
    broken_off = split.batches(None, batch_size=3, device=CPU, generator=torch.Generator().manual_seed(2))
    next(broken_off)
    broken_off.close()
    order = torch.arange(N).flip(0)
    assert torch.equal(collect(split, None, 1)[0], first)
    assert torch.equal(collect(split, order, None)[0], collect(streamed(0), order, None)[0])  # looks use others
    assert [worker.pid for worker in loader._iterator._workers] == processes  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("count", "size", "sizes"),
    [(10, 4, [4, 4, 2]), (9, 4, [4, 5]), (5, 4, [5]), (1, 4, [1]), (8, 4, [4, 4]), (0, 4, [])],
)
def test_no_batch_is_a_single_image_beside_others(count: int, size: int, sizes: list[int]) -> None:
    slices = list(batch_slices(count, size))
    assert [part.stop - part.start for part in slices] == sizes
    assert [i for part in slices for i in range(count)[part]] == list(range(count))


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_image_ends_the_stream_with_its_name(workers: int) -> None:
    with pytest.raises(DataError, match=r"^train\.parquet, row 20: the image cannot be decoded"):
        collect(streamed(workers, broken=True), None, 1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_batches_are_the_same_on_the_gpu() -> None:
    split, device = memory(), torch.device("cuda")
    generator = torch.Generator().manual_seed(1)
    batches = list(split.batches(None, batch_size=8, device=device, generator=generator))
    assert batches[0][0].is_cuda
    torch.testing.assert_close(torch.cat([images.cpu() for images, _ in batches]), collect(split, None, 1)[0])
