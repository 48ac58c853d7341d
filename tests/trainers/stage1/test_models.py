import pytest
import torch
from torch import nn

from trainers.errors import ConfigError
from trainers.stage1.models import OWN_NAMES, build_model, simplex_etf


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("name", "classes", "expected"),
    [("resnet34", 100, 21_328_292), ("resnet18", 10, 11_173_962), ("resnet20", 10, 269_722), ("resnet32", 10, 464_154)],
)
def test_parameter_counts(name: str, classes: int, expected: int) -> None:
    with torch.device("meta"):
        assert parameters(build_model(name, classes)) == expected


def test_small_cnn_is_small() -> None:
    assert 50_000 <= parameters(build_model("cnn-small", 10, in_channels=1, image_size=8)) <= 100_000


@pytest.mark.parametrize("name", [*OWN_NAMES, "mobilenet_v3_small", "shufflenet_v2_x0_5"])
@pytest.mark.parametrize(("channels", "size"), [(1, 8), (3, 32)])
def test_forward_is_the_classifier_on_features(name: str, channels: int, size: int) -> None:
    model = build_model(name, 7, in_channels=channels, image_size=size, seed=0).eval()
    images = torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = model.features(images)
        assert features.shape == (2, model.feature_dim)
        assert isinstance(model.classifier, nn.Linear)
        assert model.classifier.weight.shape == (7, model.feature_dim)
        assert torch.equal(model(images), model.classifier(features))


def test_the_customary_large_networks_are_there() -> None:
    for name in ("resnet50", "resnext50_32x4d"):
        assert build_model(name, 5, image_size=64, seed=0).feature_dim == 2048


def test_large_images_get_the_large_stem() -> None:
    assert build_model("resnet18", 3, image_size=224).trunk.conv1.kernel_size == (7, 7)
    assert build_model("resnet18", 3, image_size=32).trunk.conv1.kernel_size == (3, 3)


def test_a_seed_fixes_the_weights_and_leaves_the_global_state() -> None:
    before = torch.get_rng_state()
    first, second, other = (build_model("resnet20", 10, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.classifier.weight, other.classifier.weight)


def test_what_cannot_be_built_says_why() -> None:
    with pytest.raises(ConfigError, match="did you mean 'resnet34'"):
        build_model("resnet_34", 10)
    with pytest.raises(ConfigError, match=r"vgg11 cannot take 8x8 images.*task\.image_size"):
        build_model("vgg11", 10, image_size=8)
    with pytest.raises(ConfigError, match="vit_b_16 for 40x40"):
        build_model("vit_b_16", 10, image_size=40)
    with pytest.raises(ConfigError, match="no pretrained weights"):
        build_model("resnet32", 10, pretrained=True)
    with pytest.raises(ConfigError, match="grey or RGB"):
        build_model("resnet50", 10, in_channels=4)
    with pytest.raises(ConfigError, match="at least 2 classes"):
        build_model("cnn-small", 1)


@pytest.mark.parametrize(("classes", "width"), [(2, 1), (10, 9), (10, 64), (100, 128)])
def test_simplex_etf_has_unit_rows_and_equal_angles(classes: int, width: int) -> None:
    weight = simplex_etf(classes, width, generator=torch.Generator().manual_seed(0)).double()
    expected = torch.eye(classes) * (classes / (classes - 1)) - 1 / (classes - 1)
    torch.testing.assert_close(weight @ weight.T, expected.double(), atol=1e-5, rtol=0)
    turned = simplex_etf(classes, width, generator=torch.Generator().manual_seed(1))
    assert width == 1 or not torch.allclose(weight.float(), turned)


def test_simplex_etf_needs_room() -> None:
    with pytest.raises(ConfigError, match="C - 1 <= D"):
        simplex_etf(100, 64, generator=torch.Generator())
