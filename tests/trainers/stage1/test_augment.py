import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torch import Tensor

from trainers.stage1.augment import CropFlip, crop_flip


def one_by_one(images: Tensor, drawn: CropFlip, padding: int) -> Tensor:
    """The same, image by image, with PIL."""
    out = []
    for image, top, left, flip in zip(images, drawn.tops, drawn.lefts, drawn.flips, strict=True):
        height, width = image.shape[-2:]
        picture = ImageOps.expand(Image.fromarray(image.permute(1, 2, 0).numpy()), padding)
        picture = picture.crop((int(left), int(top), int(left) + width, int(top) + height))
        out.append(torch.from_numpy(np.array(ImageOps.mirror(picture) if flip else picture)).permute(2, 0, 1))
    return torch.stack(out)


@pytest.mark.parametrize(("height", "width", "padding"), [(8, 8, 1), (32, 32, 4), (6, 9, 2)])
@pytest.mark.parametrize("flip", [True, False])
def test_equals_pil_image_by_image(height: int, width: int, padding: int, flip: bool) -> None:
    images = torch.randint(256, (40, 3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    drawn = CropFlip.draw(40, padding=padding, flip=flip, generator=torch.Generator().manual_seed(1))
    batched = crop_flip(images, drawn, padding=padding, flip=flip)
    assert batched.dtype == torch.uint8
    assert torch.equal(batched, one_by_one(images, drawn, padding))


def test_draws_reach_all_offsets_and_mirror_half() -> None:
    drawn = CropFlip.draw(5000, padding=4, flip=True, generator=torch.Generator().manual_seed(0))
    assert set(drawn.tops.tolist()) == set(drawn.lefts.tolist()) == set(range(9))
    assert 0.45 < drawn.flips.float().mean() < 0.55


def test_without_flip_nothing_is_mirrored_and_offsets_stay() -> None:
    with_flip, without = (
        CropFlip.draw(100, padding=1, flip=flip, generator=torch.Generator().manual_seed(3)) for flip in (True, False)
    )
    assert not without.flips.any()
    assert torch.equal(with_flip.tops, without.tops)


def test_the_centre_crop_is_the_image() -> None:
    images = torch.randint(256, (5, 1, 8, 8), dtype=torch.uint8)
    centre = CropFlip(torch.full((5,), 2), torch.full((5,), 2), torch.zeros(5, dtype=torch.bool))
    assert torch.equal(crop_flip(images, centre, padding=2), images)
