"""Swapping in circulant layers, pruning in rounds, and the counts."""

import copy
import io
import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize
from torch.nn.utils import prune as torch_prune
from torch.optim.swa_utils import AveragedModel

import circtools
from circtools import BlockCirculantLinear, compression_ratio, prepare, prune
from circtools.counting import file_bytes, stored_weights, weight_layers
from circtools.pruning import (
    AMOUNT,
    ORIGINAL,
    density,
    gradual_density,
    mask_of,
    masks,
)
from circtools.transformer import Config, Transformer


def compress(model: nn.Module, block_size: int, **options: Any) -> Any:
    return circtools.compress(model, "block_circulant", block_size=block_size, **options)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Sequential(nn.Linear(8, 8), nn.ReLU()),
                         nn.Linear(8, 4))


class Shared(nn.Module):
    """One layer under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.other = nn.Linear(8, 8), nn.Linear(8, 8)
        self.second = self.first


class Tied(nn.Module):
    """An embedding whose weight is that of the output layer too, as in a translation model."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 8)
        self.hidden = nn.Linear(8, 8)
        self.output = nn.Linear(8, 10, bias=False)
        self.output.weight = self.embedding.weight


# --- Swapping in circulant layers ----------------------------------------------------------------


def circulant_names(model: nn.Module) -> list[str]:
    return [name for name, m in model.named_modules() if isinstance(m, BlockCirculantLinear)]


def test_compress_swaps_every_linear_layer_in_place() -> None:
    model = network()
    bias = model[0].bias.detach().clone()
    assert compress(model, 4) is model
    assert circulant_names(model) == ["0", "2.0", "3"]
    assert torch.equal(model[0].bias, bias)
    assert model(torch.randn(5, 12)).shape == (5, 4)


@pytest.mark.parametrize(("skip", "left"), [
    (["3"], ["0", "2.0"]), (["2.*"], ["0", "3"]), (["0", "2*"], ["3"]), (["2"], ["0", "3"]),
])
def test_skip_takes_names_and_patterns(skip: list[str], left: list[str]) -> None:
    assert circulant_names(compress(network(), 4, skip=skip)) == left


def test_skip_takes_a_name_that_reads_as_a_pattern() -> None:
    model = nn.ModuleDict({"head[0]": nn.Linear(8, 8), "body": nn.Linear(8, 8)})
    assert circulant_names(compress(model, 4, skip=["head[0]"])) == ["body"]


def test_a_linear_layer_by_itself_is_returned_swapped() -> None:
    layer = compress(nn.Linear(8, 4, bias=False), 4)
    assert isinstance(layer, BlockCirculantLinear) and layer.bias is None
    with pytest.raises(ValueError, match="the model: block_size 9 is larger"):
        compress(nn.Linear(8, 4), 9)


def test_a_layer_under_two_names_is_swapped_once() -> None:
    model = compress(Shared(), 4)
    assert isinstance(model.first, BlockCirculantLinear) and model.first is model.second


@pytest.mark.parametrize("name", ["first", "second"])
def test_a_layer_is_skipped_by_either_of_its_names(name: str) -> None:
    model = compress(Shared(), 4, skip=[name])
    assert type(model.first) is nn.Linear and model.first is model.second


def test_tied_weights_are_refused_unless_skipped() -> None:
    model = Tied()
    with pytest.raises(ValueError, match="output: it shares its weight with 'embedding'"):
        compress(model, 2)
    assert type(model.hidden) is nn.Linear, "nothing is swapped then"
    compress(model, 2, skip=["output"])
    assert model.output.weight is model.embedding.weight


def test_encoder_layers_of_torch_still_work_in_evaluation() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = nn.Sequential(nn.Linear(8, 8), nn.TransformerEncoder(layer, 2))
    with pytest.warns(UserWarning, match="TransformerEncoderLayer reads weights past"):
        compress(model, 4)
    assert circulant_names(model) == ["0"]
    with torch.no_grad():
        assert model.eval()(torch.randn(2, 5, 8)).shape == (2, 5, 8)


def test_what_cannot_be_swapped_is_said() -> None:
    normed, bare, pruned = (nn.Linear(8, 8) for _ in range(3))
    nn.utils.spectral_norm(normed)
    torch_prune.l1_unstructured(bare, "bias", 2)
    prune([pruned], 0.5)
    for layer, name in (normed, "weight"), (bare, "bias"), (pruned, "weight"):
        with pytest.raises(ValueError, match=f"0: its {name} is computed from others"):
            compress(nn.Sequential(layer), 4)
    parametrized = parametrizations.weight_norm(nn.Linear(8, 8))
    with pytest.warns(UserWarning, match="0: ParametrizedLinear is more than an nn.Linear"):
        assert circulant_names(compress(nn.Sequential(parametrized, nn.Linear(8, 8)), 4)) == ["1"]
    assert stored_weights(nn.Sequential(parametrized), "model") == 64 + 8 + 8


def test_a_model_without_a_layer_to_swap_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no nn\.Linear to swap; .*\.Conv1d, .*\.LayerNorm"):
        compress(nn.Sequential(nn.Conv1d(3, 4, 2), nn.LayerNorm(4), nn.ReLU()), 4)
    with pytest.raises(ValueError, match=r"Linear, and skip=\['\*'\]"):
        compress(network(), 4, skip=["*"])


def test_a_layer_that_would_grow_is_refused() -> None:
    model = nn.ModuleDict({"body": nn.Linear(64, 65), "head": nn.Linear(65, 1)})
    with pytest.raises(ValueError, match="head: it would grow from 66 to 129"):
        compress(model, 64)
    assert circulant_names(model) == [], "nothing is swapped then"
    assert circulant_names(compress(model, 64, skip=["head"])) == ["body"]


def test_parts_of_adapters_are_left_alone() -> None:
    query = nn.ModuleDict({"base_layer": nn.Linear(8, 8), "lora_A": nn.Linear(8, 4)})
    model = nn.ModuleDict({"query": query, "flora_head": nn.Linear(8, 8)})
    assert circulant_names(compress(model, 4)) == ["query.base_layer", "flora_head"]


class Conv1D(nn.Module):
    """As that of GPT-2: a linear layer whose weight is transposed."""

    def __init__(self, nf: int, nx: int) -> None:
        super().__init__()
        self.nf = nf
        self.weight, self.bias = nn.Parameter(torch.randn(nx, nf)), nn.Parameter(torch.randn(nf))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight + self.bias


def test_conv1d_of_gpt2_is_swapped_and_counted() -> None:
    model, x = nn.Sequential(Conv1D(12, 8), Conv1D(4, 12)).eval(), torch.randn(3, 8)
    assert stored_weights(model) == 8 * 12 + 12 * 4
    with torch.no_grad():
        model[0].weight.copy_(circtools.block_circulant(torch.randn(2, 3, 4)))
    expected = model(x)
    assert circulant_names(compress(model, 4, skip=["1"])) == ["0"]
    torch.testing.assert_close(model(x), expected)
    assert not model[0].training and model[0].weight.requires_grad
    assert stored_weights(model) == 8 * 12 // 4 + 12 * 4
    assert compression_ratio(model, "weights") == 144 / 72
    prune([model[1]], 0.5)
    with pytest.raises(ValueError, match="1: its weight is computed"):
        compress(model, 4)


class ShiftedWindowAttention(nn.Module):
    """As torchvision's, whose layers are read past them."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(8, 24)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.qkv.weight, self.qkv.bias)


def test_attention_of_swin_is_left_dense_with_a_warning() -> None:
    model = nn.Sequential(ShiftedWindowAttention(), nn.Linear(24, 8))
    with pytest.warns(UserWarning, match="0: ShiftedWindowAttention reads weights past"):
        assert circulant_names(compress(model, 4)) == ["1"]
    assert model(torch.randn(2, 8)).shape == (2, 8)


def test_a_frozen_layer_stays_frozen() -> None:
    model = compress(network().requires_grad_(False), 4)
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_a_layer_with_a_pruned_bias_can_be_pruned() -> None:
    layer = nn.Linear(8, 8)
    torch_prune.l1_unstructured(layer, "bias", 2)
    prune([layer], 0.25)
    assert density([layer]) == 0.75


def test_a_weight_that_another_module_reads_whole_is_stored_whole() -> None:
    model = Tied()
    before = stored_weights(model, "model"), file_bytes(model)
    prune([model.output], 0.5)
    assert (stored_weights(model, "model"), file_bytes(model)) == before
    prune([model.hidden], 0.5)
    assert stored_weights(model, "model") < before[0]


def test_tied_layers_are_counted_once_with_what_either_keeps() -> None:
    first, twin = nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False)
    twin.weight = first.weight
    model = nn.Sequential(twin, first)
    assert stored_weights(model) == stored_weights(model, "model") == 64
    assert compression_ratio(model, "model") == compression_ratio(model, "weights") == 1
    prune([first], 0.5)
    prune([twin], 0.75)
    assert stored_weights(model) == stored_weights(model, "model") == 32
    assert compression_ratio(model) == 2
    assert file_bytes(model) == file_bytes(first) == 32 * 4 + 64 // 8


def test_pruned_convolutions_are_counted() -> None:
    model = nn.Sequential(nn.Conv2d(3, 16, 3, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
                          nn.Conv2d(16, 16, 3, bias=False), nn.Flatten(), nn.Linear(16, 8))
    kernels, rest = 16 * 3 * 9 + 16 * 16 * 9, 2 * 16 + 16 * 8 + 8
    assert stored_weights(model) == kernels + 16 * 8
    prune([model[0], model[3]], 0.5)
    assert compression_ratio(model) == 2
    assert compression_ratio(model, "weights") == (kernels + 128) / (kernels / 2 + 128)
    assert compression_ratio(model, "model") == (kernels + rest) / (kernels / 2 + rest)
    assert file_bytes(model) == 4 * (kernels // 2 + rest) + kernels // 8
    norm = nn.LayerNorm(64)
    prune([norm], 0.5)  # any layer with a weight
    assert compression_ratio(norm) == 2 and file_bytes(norm) == 4 * (32 + 64) + 64 // 8


def test_attention_of_torch_is_left_dense_with_a_warning_unless_skipped() -> None:
    model = nn.ModuleDict({"attention": nn.MultiheadAttention(8, 2), "linear": nn.Linear(8, 8)})
    with pytest.warns(UserWarning, match="attention: MultiheadAttention"):
        assert circulant_names(compress(copy.deepcopy(model), 4)) == ["linear"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert circulant_names(compress(model, 4, skip=["attention*"])) == ["linear"]


def test_projection_shrinks_a_random_matrix_and_fresh_weights_do_not() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(256, 256)
    variance, b = linear.weight.var().item(), 16
    projected = compress(nn.Sequential(linear), b)[0]
    fresh = compress(nn.Sequential(nn.Linear(256, 256)), b, init="random")[0]
    assert projected.weight.var().item() == pytest.approx(variance / b, rel=0.1)
    assert fresh.weight.var().item() == pytest.approx(variance, rel=0.1)


@pytest.mark.parametrize(("arguments", "error", "words"), [
    ({"block_size": 0}, ValueError, "1 or more, got 0"),
    ({"block_size": 2.0}, TypeError, "must be an int, got 2.0"),
    ({"block_size": 10}, ValueError, r"2\.0: block_size 10 is larger than the matrix"),
    ({"block_size": 4, "init": "zero"}, ValueError, "got 'zero'"),
    ({"block_size": 4, "skip": ["3", "decoder.*"]}, ValueError, r"skip='decoder\.\*' matches no"),
    ({"block_size": 4, "skip": "3"}, TypeError, r"such as \['head'\], got '3'"),
    ({"block_size": 4, "skip": [nn.ReLU()]}, TypeError, r"got \[ReLU\(\)\]"),
    ({"block_size": 4, "skip": None}, TypeError, "got None"),
    ({"block_size": 4, "algorithm": "fast"}, ValueError, "got 'fast'"),
])
def test_bad_arguments_of_compress_are_named(
    arguments: dict[str, object], error: type[Exception], words: str
) -> None:
    model = network()
    with pytest.raises(error, match=words):
        compress(model, **arguments)
    assert circulant_names(model) == [], "nothing is swapped then"


def test_an_unknown_structure_is_named() -> None:
    for structure in ("circulant", 8, nn.Linear):
        with pytest.raises(ValueError, match="structure must be one of block_circulant, random"):
            circtools.compress(network(), structure)


def test_prepare_reaches_every_layer() -> None:
    model, x = compress(network(), 4), torch.randn(3, 12)
    before = model(x)
    assert prepare(model.eval()) is model
    assert all(m._prepared for m in model.modules() if isinstance(m, BlockCirculantLinear))
    with torch.no_grad():
        torch.testing.assert_close(model(x), before)


# --- Counts --------------------------------------------------------------------------------------


def test_ratio_over_the_three_sets() -> None:
    model = compress(network(), 4, skip=["3"])  # weights 96 + 64 + 32, biases 8 + 8 + 4
    assert compression_ratio(model) == 4
    assert compression_ratio(model, "weights") == (96 + 64 + 32) / (24 + 16 + 32)
    assert compression_ratio(model, "model") == (192 + 20) / (72 + 20)


def test_padding_counts_as_stored() -> None:
    model = compress(nn.Sequential(nn.Linear(10, 6)), 4)  # 2 x 3 blocks
    assert compression_ratio(model) == 60 / 24


def test_a_tied_embedding_is_counted_once() -> None:
    model = compress(Tied(), 2, skip=["output"])  # hidden 64 + 8; embedding = output 80
    assert compression_ratio(model) == 2
    assert compression_ratio(model, "model") == (64 + 8 + 80) / (32 + 8 + 80)


def test_ratio_of_a_pruned_a_dense_and_an_empty_model() -> None:
    model = network()
    assert compression_ratio(model) == compression_ratio(model, "model") == 1
    prune([model[0]], 0.75)
    assert compression_ratio(model) == 4
    assert compression_ratio(model, "weights") == 192 / 120
    mask_of(model[0]).zero_()
    assert compression_ratio(model) == float("inf")
    assert compression_ratio(nn.ReLU()) == 1


def test_ratio_over_an_unknown_set() -> None:
    with pytest.raises(ValueError, match="got 'layers'"):
        compression_ratio(network(), "layers")


# --- Pruning -------------------------------------------------------------------------------------


def fine_tune(model: nn.Module, steps: int = 5) -> None:
    """A few steps of Adam with a fresh state, ending on a step of the optimizer."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(16, 12)).square().mean().backward()
        optimizer.step()


def flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([t.detach().flatten() for t in tensors])


def test_rounds_of_pruning_and_fine_tuning() -> None:
    model = network()
    layers = list(weight_layers(model).values())
    remaining, before = 192, None
    for _ in range(10):
        prune(layers)
        mask = flat(list(masks(model).values()))
        remaining -= round(AMOUNT * remaining)
        assert int(mask.sum()) == remaining, "the share is one of the remaining weights"
        assert before is None or not (mask & ~before).any(), "a pruned weight never returns"
        before = mask
        fine_tune(model)
        weights = flat([layer.weight for layer in layers])
        assert (weights[~mask] == 0).all() and (weights[mask] != 0).all()
    assert compression_ratio(model) == 192 / remaining


def test_the_threshold_is_global_and_of_the_present_weights() -> None:
    """Straight after a step of the optimizer, without a forward pass in between."""
    model = network()
    with torch.no_grad():
        model[3].weight *= 100
    layers = list(weight_layers(model).values())
    for _ in range(3):
        before = flat(list(masks(model).values())) if masks(model) else torch.ones(192) > 0
        weights = flat([m.weight for m in layers]).abs()
        prune(layers)
        mask = flat(list(masks(model).values()))
        assert weights[mask].min() >= weights[before & ~mask].max()
        fine_tune(model)
    assert mask_of(model[3]).all(), "the layer of large weights lost none"
    assert not mask_of(model[0]).all()


class Reader(nn.Module):
    """Reads the weight of a layer that it never calls."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(12, 12)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.query.weight)


def test_who_reads_a_pruned_weight_past_its_layer_gets_the_present_one() -> None:
    model = Reader()
    prune([model.query], 0.5)
    before = model.query.weight
    fine_tune(model)
    assert not torch.equal(model.query.weight, before)
    dead = ~mask_of(model.query)
    assert not model.query.get_parameter(ORIGINAL).grad[dead].any()
    assert not model.query.weight[dead].any()
    model.load_state_dict({name: torch.zeros_like(v) for name, v in model.state_dict().items()})
    assert not model(torch.randn(2, 12)).any()


@pytest.mark.parametrize("name", ["out_proj", "linear1", "linear2"])
def test_encoder_layers_of_torch_use_the_mask_in_evaluation(name: str) -> None:
    model = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    prune([layer for found, layer in weight_layers(model).items() if found.endswith(name)], 0.9)
    x = torch.randn(2, 5, 8)
    expected = model(x)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(x), expected)


def test_a_pruned_model_is_copied_averaged_and_saved() -> None:
    model, fresh, file, x = network(), network(), io.BytesIO(), torch.randn(3, 12)
    for net, amount in (model, 0.5), (fresh, 0.0):
        prune(list(weight_layers(net).values()), amount)
    average = AveragedModel(model)
    before = copy.deepcopy(model)
    fine_tune(model)
    average.update_parameters(model)
    assert torch.equal(average(x), model(x)) and not torch.equal(before(x), model(x))
    torch.save(model.state_dict(), file)
    file.seek(0)
    fresh.load_state_dict(torch.load(file, weights_only=True))
    for copied in (fresh, before, average.module):
        assert masks(copied).keys() == masks(model).keys()
        assert all(torch.equal(mask, masks(model)[name]) for name, mask in masks(copied).items())
    assert torch.equal(fresh(x), model(x))


@pytest.mark.parametrize("computes", [
    nn.utils.spectral_norm, parametrizations.spectral_norm, parametrizations.weight_norm,
    lambda layer: torch_prune.identity(layer, "weight")])
def test_a_computed_weight_is_refused_before_any_layer_is_pruned(computes: Any) -> None:
    first, second = nn.Linear(8, 8), computes(nn.Linear(8, 8))
    with pytest.raises(TypeError, match=f"{type(second).__name__} has none; leave it out, or"):
        prune([first, second])
    assert mask_of(first) is None


def test_a_loaded_state_is_pruned_by_its_own_weights() -> None:
    """Resuming a chain of rounds: masks on, state loaded, next round."""
    trained, resumed = network(), network()
    for model in (trained, resumed):
        prune(list(weight_layers(model).values()), 0)
    prune(list(weight_layers(trained).values()))
    fine_tune(trained, steps=50)
    resumed.load_state_dict(trained.state_dict())
    for model in (trained, resumed):
        prune(list(weight_layers(model).values()))
    assert all(torch.equal(a, b) for a, b in
               zip(masks(trained).values(), masks(resumed).values(), strict=True))


def test_biases_and_other_layers_are_untouched() -> None:
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    prune([model[0]], 0.5)
    for name in ("0.bias", "2.0.weight", "2.0.bias", "3.weight", "3.bias"):
        assert torch.equal(model.state_dict()[name], before[name])
    assert list(masks(model)) == ["0"]


def test_circulant_layers_can_be_pruned_too() -> None:
    model = compress(network(), 4)
    prune(list(weight_layers(model).values()), 0.5)
    assert compression_ratio(model) == 8
    left, bias = int(mask_of(model[0]).sum()), 8
    assert file_bytes(model[0]) == 4 * (left + bias) + 24 // 8
    assert model(torch.randn(2, 12)).shape == (2, 4)


def test_with_an_empty_layer_a_network_still_answers() -> None:
    model = network()
    with torch.no_grad():
        model[3].weight *= 1e-6
    prune(list(weight_layers(model).values()), 0.5)
    assert [name for name, mask in masks(model).items() if not mask.any()] == ["3"]
    assert torch.isfinite(model(torch.randn(2, 12))).all()


def test_random_pruning_takes_the_same_share_of_any_size_of_weight() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(100, 100), nn.Linear(100, 100))
    with torch.no_grad():
        model[0].weight *= 100
    for remaining in (15800, 12482):
        prune(list(model), method="random")
        kept = [int(mask_of(layer).sum()) for layer in model]
        assert sum(kept) == remaining
        assert kept[0] == pytest.approx(kept[1], rel=0.05)


def test_pruning_nothing_only_puts_the_masks_on() -> None:
    model = network()
    x = torch.randn(3, 12)
    expected = model(x)
    prune(list(weight_layers(model).values()), 0)
    assert all(mask.all() for mask in masks(model).values()) and len(masks(model)) == 3
    assert torch.equal(model(x), expected)
    assert compression_ratio(model) == 1


def test_gradual_pruning_falls_along_a_cubic_curve_to_its_target() -> None:
    assert [gradual_density(p, 0.25) for p in (0.0, 0.2)] == [1.0, 1.0]
    assert gradual_density(0.45, 0.25) == pytest.approx(0.25 + 0.75 * 0.5**3)
    assert [gradual_density(p, 0.25) for p in (0.7, 1.0)] == pytest.approx([0.25, 0.25])


def test_density_is_over_all_the_layers_together() -> None:
    layers = [nn.Linear(10, 10), nn.Linear(10, 30)]
    prune(layers, 0.25)
    assert density(layers) == 0.75
    prune(layers, 0.5)
    assert density(layers) == 0.375


def test_weights_stay_zero_after_making_the_pruning_permanent() -> None:
    model = network()
    prune([model[0]], 0.25)
    parametrize.remove_parametrizations(model[0], "weight")
    assert int((model[0].weight == 0).sum()) == 24


@pytest.mark.parametrize(("arguments", "error", "words"), [
    ({"layers": []}, ValueError, "no layer to prune"),
    ({"layers": network()}, TypeError, "got Sequential"),
    ({"layers": weight_layers(network())}, TypeError, "got dict"),
    ({"layers": [nn.ReLU()]}, TypeError, "layers with a weight"),
    ({"amount": 1.0}, ValueError, "less than 1, got 1.0"),
    ({"amount": -0.1}, ValueError, "got -0.1"),
    ({"amount": float("nan")}, ValueError, "got nan"),
    ({"method": "largest"}, ValueError, "magnitude, random, got 'largest'"),
])
def test_bad_arguments_of_prune_are_named(
    arguments: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        prune(**{"layers": [nn.Linear(4, 4)], **arguments})


# --- Stored weights, bytes ------------------------------------------------------------------------


def test_stored_weights_leave_out_what_is_pruned_and_count_tied_ones_once() -> None:
    model = Transformer(Config(11, 13, layers=1, d_model=8, heads=2, feed_forward=16, tied=True))
    whole = sum(p.numel() for p in model.parameters())
    assert stored_weights(model, "model") == whole
    assert stored_weights(model.encoder) == 4 * 64 + 2 * 128
    prune(list(weight_layers(model.encoder).values()), 0.5)
    assert stored_weights(model.encoder) == 256
    assert stored_weights(model, "model") == whole - 256
    compress(model.decoder, 4)
    assert stored_weights(model.decoder) == (8 * 64 + 2 * 128) // 4


def test_file_bytes_pick_the_shortest_way() -> None:
    layer = nn.Linear(100, 50, bias=False)
    assert file_bytes(layer) == 4 * 5000
    prune([layer], 0.01)
    assert file_bytes(layer) == 4 * 5000, "few are gone: dense is the shortest"
    prune([layer], 0.5)
    left = int(mask_of(layer).sum())
    assert file_bytes(layer) == 4 * left + 5000 // 8
    prune([layer], 0.95)
    left = int(mask_of(layer).sum())
    assert file_bytes(layer) == 6 * left + 4 * 51 < 4 * left + 5000 // 8


def test_summary_says_what_is_stored_and_what_was_left_dense() -> None:
    model = nn.Sequential(nn.Embedding(5, 16), nn.Linear(16, 16), nn.Linear(16, 8), nn.Linear(8, 4))
    circtools.compress(model, "block_circulant", block_size=4, skip=["2", "3"])
    prune([model[2]], 0.5)
    rows = [line.split() for line in circtools.summary(model).splitlines()]
    assert rows[1:] == [["1", "BlockCirculantLinear", "256", "64", "4.0"],
                        ["2", "Linear", "128", "64", "2.0"], ["3", "Linear", "32", "32", "1.0"],
                        ["other", "parameters", "108", "108", "1.0"],
                        ["all", "524", "268", "2.0"]]
    _, row, other, _ = circtools.summary(nn.Linear(2, 3, bias=False)).splitlines()
    assert row.startswith("(the model)") and other.split()[2:] == ["0", "0", "1.0"]
