"""The other structures, each against its plain definition, and how many weights it stores."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from circtools import BlockCirculantLinear, compress, compression_ratio
from circtools.linear import StructuredLinear
from circtools.structures import (
    STRUCTURES,
    LowRankLinear,
    MonarchLinear,
    RandomSharingLinear,
    SharedLinear,
    TileCirculantLinear,
)

SIZES = [(24, 16), (16, 32), (12, 12), (15, 9)]


def each(dtype: torch.dtype) -> list[StructuredLinear]:
    torch.manual_seed(0)
    return [kind(*size, ratio, dtype=dtype) for kind in STRUCTURES.values()
            for size in SIZES for ratio in (2, 3, 4)] + [
        TileCirculantLinear(36, 36, block_size, arrangement, dtype=dtype)
        for block_size in (1, 4, 9, 36) for arrangement in ("local", "strided", "raster")]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_forward_and_gradients_are_those_of_the_dense_matrix(dtype: torch.dtype) -> None:
    tolerance = {"rtol": 0, "atol": 1e-11 if dtype == torch.float64 else 1e-4}
    for layer in each(dtype):
        x = torch.randn(2, 3, layer.in_features, dtype=dtype, requires_grad=True)
        matrix = layer.dense_weight()
        assert matrix.shape == (layer.out_features, layer.in_features)
        parameters = [x, *layer.parameters()]
        fast, plain = layer(x), x @ matrix.T + layer.bias
        torch.testing.assert_close(fast, plain, **tolerance)
        upstream = torch.randn_like(plain)
        for a, b in zip(torch.autograd.grad(fast, parameters, upstream),
                        torch.autograd.grad(plain, parameters, upstream), strict=True):
            torch.testing.assert_close(a, b, **tolerance)
        assert layer(x[:, :0]).shape == (2, 0, layer.out_features)


def test_each_is_a_drop_in_layer() -> None:
    for layer in each(torch.float32):
        other = copy.deepcopy(layer)
        other.reset_parameters()
        other.load_state_dict(layer.state_dict())
        x = torch.randn(5, layer.in_features)
        assert torch.equal(other(x), layer(x))
        torch.testing.assert_close(torch.fx.symbolic_trace(layer)(x), layer(x))
        with torch.autocast("cpu", torch.bfloat16):
            assert layer(x).dtype == torch.bfloat16
        with pytest.raises(ValueError, match=f"width {layer.in_features}, got shape"):
            layer(torch.randn(5, layer.in_features + 1))


@pytest.mark.parametrize("name", STRUCTURES)
@pytest.mark.parametrize("ratio", [4, 16])
def test_weights_stored_and_variance(name: str, ratio: int) -> None:
    torch.manual_seed(0)
    for sizes in ((256, 256), (128, 512), (512, 128)):
        layer = STRUCTURES[name](*sizes, ratio)
        assert compression_ratio(layer) == pytest.approx(ratio, rel=0.08)
        outputs = torch.stack([STRUCTURES[name](*sizes, ratio)(torch.randn(500, sizes[0])).var()
                               for _ in range(5)])
        expected = nn.Linear(*sizes)(torch.randn(2000, sizes[0])).var()
        assert outputs.mean().item() == pytest.approx(expected.item(), rel=0.15)


def test_random_sharing_uses_each_weight_as_often_as_a_circulant_block_does() -> None:
    b, p, q = 6, 3, 4
    table = RandomSharingLinear(q * b, p * b, b).table
    blocks = table.view(p, b, q, b).transpose(1, 2)  # (p, q, b, b)
    expected = torch.arange(p * q * b).view(p, q, 1, b)
    for way in (blocks.sort(-1)[0], blocks.mT.sort(-1)[0]):  # once in every row and column
        assert torch.equal(way, expected.expand_as(way).to(way.dtype))
    circulant = (blocks == blocks.roll((1, 1), (2, 3))).float().mean()
    assert circulant < 0.6, "the rotation is gone"
    assert not torch.equal(blocks[0, 0], blocks[0, 1] - b), "each block has an order of its own"
    cropped = RandomSharingLinear(5, 7, 4)
    assert len(cropped.weight) == BlockCirculantLinear(5, 7, 4).weight.numel()
    assert cropped(torch.ones(3, 5)).shape == (3, 7)


@pytest.mark.parametrize(("arrangement", "step"), [("strided", 3), ("local", 1)])
def test_a_shift_of_a_tile(arrangement: str, step: int) -> None:
    """Strided tiles commute with shifts of the image; local ones only within a tile."""
    layer = TileCirculantLinear(36, 36, 4, arrangement, bias=False, dtype=torch.float64)
    image = torch.randn(6, 6, dtype=torch.float64)

    def shifted(picture: Tensor) -> Tensor:
        if arrangement == "strided":
            return picture.roll((step, step), (0, 1))
        return picture.view(3, 2, 3, 2).roll((1, 1), (1, 3)).reshape(6, 6)

    out = layer(image.flatten()).view(6, 6)
    torch.testing.assert_close(layer(shifted(image).flatten()).view(6, 6), shifted(out))


def test_one_tile_is_a_convolution_of_the_whole_image() -> None:
    layer = TileCirculantLinear(16, 16, 16, bias=False, dtype=torch.float64)
    image, kernel = torch.randn(4, 4, dtype=torch.float64), layer.weight.view(4, 4)
    spectrum = torch.fft.fft2(image) * torch.fft.fft2(kernel).conj()
    torch.testing.assert_close(layer(image.flatten()).view(4, 4), torch.fft.ifft2(spectrum).real)


def test_the_gradient_of_shared_weights_sums_half_precision_exactly_enough() -> None:
    layer = RandomSharingLinear(1024, 1024, 1024, dtype=torch.bfloat16)
    layer.dense_weight().sum().backward()
    assert (layer.weight.grad == 1024).all()


def test_each_is_made_on_the_meta_device() -> None:
    with torch.device("meta"):
        for layer in each(torch.float32):
            assert layer(torch.empty(2, layer.in_features)).shape == (2, layer.out_features)


def test_monarch_may_have_full_rank_where_low_rank_has_not() -> None:
    torch.manual_seed(0)
    monarch, low = (kind(64, 64, 4, dtype=torch.float64) for kind in (MonarchLinear,
                                                                      LowRankLinear))
    assert torch.linalg.matrix_rank(monarch.dense_weight()) == 64
    assert torch.linalg.matrix_rank(low.dense_weight()) == len(low.down) == 8


def test_projection_is_the_nearest() -> None:
    torch.manual_seed(0)
    for kind in (RandomSharingLinear, LowRankLinear):
        matrix = torch.randn(12, 8, dtype=torch.float64)
        layer = kind(8, 12, 2, dtype=torch.float64)
        layer.project(matrix)
        distance = (layer.dense_weight() - matrix).square().sum()
        for gradient in torch.autograd.grad(distance, layer.stored_parameters()):
            assert gradient.abs().max() < 1e-5, "no small step comes nearer"


def test_compress_takes_each_structure_by_its_name() -> None:
    for name, options in (("random_sharing", {"block_size": 4}), ("low_rank", {"ratio": 4}),
                          ("monarch", {"ratio": 4})):
        model = compress(nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 16, bias=False)), name,
                         init="random", **options)
        assert [type(layer) for layer in model] == 2 * [STRUCTURES[name]]
        assert model[1].bias is None and compression_ratio(model) == pytest.approx(4)


def test_bad_arguments_are_named() -> None:
    for kind in (LowRankLinear, MonarchLinear):
        for ratio in (0.5, math.nan):
            with pytest.raises(ValueError, match=f"got {ratio}"):
                kind(8, 8, ratio)
    for sizes in ((784, 784, 9), (784, 784, 8), (784, 196, 4), (28, 28, 4)):
        with pytest.raises(ValueError, match=rf"squares, .* {sizes[0]}, {sizes[1]} and {sizes[2]}"):
            TileCirculantLinear(*sizes)
    with pytest.raises(ValueError, match="local, strided, raster, got 'round'"):
        TileCirculantLinear(784, 784, 16, "round")
    with pytest.raises(ValueError, match="MonarchLinear has no projection"):
        compress(nn.Linear(8, 8), "monarch", ratio=2)
    with pytest.raises(ValueError, match="block_size must be 1 or more, got 0"):
        RandomSharingLinear(8, 8, 0)
    assert isinstance(RandomSharingLinear(8, 8, 2), SharedLinear)
