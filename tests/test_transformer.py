"""The Transformer against torch.nn.Transformer, and what must not change its output."""

import itertools
import math
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from circtools.compression import compress
from circtools.experiments.losses import linear_cross_entropy
from circtools.experiments.translation import attention_maps
from circtools.linear import BlockCirculantLinear
from circtools.transformer import PAD, Attention, Config, Dropout, Transformer, sinusoids

SIZES: dict[str, Any] = {"source_vocab": 19, "target_vocab": 23, "layers": 2, "d_model": 24,
                         "heads": 3, "feed_forward": 40, "dropout": 0.0}


def make(**more: Any) -> Transformer:
    torch.manual_seed(0)
    return Transformer(Config(**{**SIZES, **more})).double().eval()


def sentences(lengths: list[int], words: int) -> Tensor:
    """Random sentences of these lengths, padded at the end."""
    generator = torch.Generator().manual_seed(1)
    rows = [torch.randint(1, words, (n,), generator=generator) for n in lengths]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)


# --- Against torch's own -------------------------------------------------------------------------


def copy_attention(ours: Attention, theirs: nn.MultiheadAttention) -> None:
    parts = [ours.query, ours.key, ours.value]
    theirs.in_proj_weight.data = torch.cat([p.weight.data for p in parts])
    theirs.in_proj_bias.data = torch.cat([p.bias.data for p in parts])
    theirs.out_proj.load_state_dict(ours.output.state_dict())


def torch_twin(model: Transformer) -> nn.Transformer:
    """torch.nn.Transformer with a copy of the weights."""
    c = model.config
    twin = nn.Transformer(c.d_model, c.heads, c.layers, c.layers, c.feed_forward, dropout=0.0,
                          batch_first=True, norm_first=True).double().eval()
    for ours, theirs in zip(model.encoder, twin.encoder.layers, strict=True):
        copy_attention(ours.attention, theirs.self_attn)
        pairs = [(ours.residuals[0].norm, theirs.norm1), (ours.residuals[1].norm, theirs.norm2)]
        for a, b in [*pairs, (ours.feed_forward.hidden, theirs.linear1),
                     (ours.feed_forward.output, theirs.linear2)]:
            b.load_state_dict(a.state_dict())
    for ours, theirs in zip(model.decoder, twin.decoder.layers, strict=True):
        copy_attention(ours.attention, theirs.self_attn)
        copy_attention(ours.cross_attention, theirs.multihead_attn)
        norms = [theirs.norm1, theirs.norm2, theirs.norm3]
        for a, b in [*((r.norm, n) for r, n in zip(ours.residuals, norms, strict=True)),
                     (ours.feed_forward.hidden, theirs.linear1),
                     (ours.feed_forward.output, theirs.linear2)]:
            b.load_state_dict(a.state_dict())
    twin.encoder.norm.load_state_dict(model.encoder_norm.state_dict())
    twin.decoder.norm.load_state_dict(model.decoder_norm.state_dict())
    return twin


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("train", [False, True])
def test_equal_to_torch_with_masks(train: bool) -> None:
    model = make().train(train)
    twin = torch_twin(model).train(train)
    source, target = sentences([7, 4, 1], 19), sentences([5, 6, 2], 23)
    embedded: dict[str, list[Tensor]] = {}  # what each embedding gave, to compare its gradient
    for name in ("source_embedding", "target_embedding"):
        embedded[name] = []
        getattr(model, name).register_forward_hook(
            lambda _, __, out, name=name: embedded[name].append(out.retain_grad() or out))
    ours = model(source, target)

    def embed(name: str, words: Tensor) -> Tensor:
        x = embedded[name][0].detach() * SIZES["d_model"] ** 0.5
        return (x + model.positions[: words.shape[1]]).requires_grad_()

    x, y = embed("source_embedding", source), embed("target_embedding", target)
    causal = nn.Transformer.generate_square_subsequent_mask(6, dtype=torch.float64)
    theirs = model.output(twin(x, y, tgt_mask=causal, src_key_padding_mask=source == PAD,
                               memory_key_padding_mask=source == PAD))
    real = target != PAD
    torch.testing.assert_close(ours[real], theirs[real])
    weight = torch.randn_like(ours[real])
    (ours[real] * weight).sum().backward()
    d_x, d_y = torch.autograd.grad((theirs[real] * weight).sum(), (x, y))
    scale = SIZES["d_model"] ** 0.5
    torch.testing.assert_close(embedded["source_embedding"][0].grad, d_x * scale)
    torch.testing.assert_close(embedded["target_embedding"][0].grad, d_y * scale)


# --- What must not matter ------------------------------------------------------------------------


def test_no_word_depends_on_a_later_one() -> None:
    model, source, target = make(), sentences([6], 19), sentences([8], 23)
    before = model(source, target)
    for place in range(8):
        changed = target.clone()
        changed[0, place] = (target[0, place] % 22) + 1
        after = model(source, changed)
        assert torch.equal(after[:, :place], before[:, :place])
        assert not torch.allclose(after[:, place:], before[:, place:])


@pytest.mark.parametrize("training", [False, True])
def test_padding_changes_nothing(training: bool) -> None:
    model = make().train(training)
    source, target = sentences([6, 3], 19), sentences([5, 7], 23)
    together = model(F.pad(source, (0, 4)), F.pad(target, (0, 2)))
    for i, (n_source, n_target) in enumerate([(6, 5), (3, 7)]):
        alone = model(source[i : i + 1, :n_source], target[i : i + 1, :n_target])
        torch.testing.assert_close(together[i : i + 1, :n_target], alone)


def test_order_of_the_words_matters() -> None:
    model, source, target = make(), sentences([6], 19), sentences([5], 23)
    assert not torch.allclose(model(source, target), model(source.flip(1), target))


def test_cached_steps_equal_the_whole_prefix() -> None:
    model, source, target = make(), sentences([6, 3], 19), sentences([5, 5], 23)
    whole = model.decode(target, model.encode(source))
    state = model.encode(source)
    steps = [model.decode(target[:, i : i + 1], state, step=True) for i in range(5)]
    torch.testing.assert_close(torch.cat(steps, dim=1), whole)
    with pytest.raises(ValueError, match="one token per row, got 5"):
        model.decode(target, state, step=True)


def test_attention_maps_are_those_of_the_forward_pass() -> None:
    model, source, target = make(), sentences([6, 3], 19), sentences([5, 4], 23)
    maps = attention_maps(model, source, target)
    assert len(maps) == 6  # two layers: encoder, decoder, decoder to encoder
    for name, weights in maps.items():
        torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights.sum(-1)))
        if "encoder" in name or "cross" in name:
            assert (weights[1, :, :, 3:] == 0).all(), "nothing looks at padding"
        if name.startswith("decoder") and "cross" not in name:
            assert (weights.triu(1) == 0).all(), "nothing looks at what comes later"
    assert not any(m._forward_hooks for m in model.modules()), "the model is left as it was"
    # The map times the values, through the output projection, is what the module returned.
    attention = model.encoder[0].attention
    x = model.encoder[0].residuals[0].norm(model._embed(model.source_embedding, source))
    keys, values = attention.keys_values(x)
    mixed = (maps["encoder.0.attention"] @ values).transpose(1, 2).flatten(2)
    expected = attention(x, keys, values, (source != PAD)[:, None, None, :])
    torch.testing.assert_close(attention.output(mixed), expected)


def test_shapes_without_data() -> None:
    words = torch.ones(2, 5, dtype=torch.long, device="meta")
    assert make().to("meta")(words, words[:, :3]).shape == (2, 3, 23)


def test_positions_of_any_length() -> None:
    """Beyond the table they are computed anew; no state dict holds the table."""
    model = make()
    assert not any("positions" in name for name in model.state_dict())
    long = sentences([600], 19)
    everywhere = model._embed(model.source_embedding, long)
    assert torch.equal(everywhere[:, :500], model._embed(model.source_embedding, long[:, :500]))
    torch.testing.assert_close(everywhere[:, 550:], model._embed(
        model.source_embedding, long[:, 550:], start=550))
    table = sinusoids(700, 24)
    for place, i in ((0, 0), (3, 2), (650, 7)):
        angle = place / 10_000 ** (2 * i / 24)
        assert table[place, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-4)
        assert table[place, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-4)


# --- Its parts -----------------------------------------------------------------------------------


def test_output_weights_are_tied_or_not() -> None:
    tied, untied = make(tied=True), make(tied=False)
    assert tied.output.weight is tied.target_embedding.weight
    assert untied.output.weight is not untied.target_embedding.weight
    count = [sum(p.numel() for p in m.parameters()) for m in (tied, untied)]
    assert count[1] - count[0] == 23 * 24


def test_the_kind_of_linear_layer_is_an_argument() -> None:
    torch.manual_seed(0)
    model = Transformer(Config(**SIZES), partial(BlockCirculantLinear, block_size=4))
    circulant = [m for m in model.modules() if isinstance(m, BlockCirculantLinear)]
    # 6 layers in each encoder layer (4 projections, 2 feed-forward), 10 in each decoder layer
    assert len(circulant) == 2 * 6 + 2 * 10
    assert type(model.output) is nn.Linear
    swapped = compress(Transformer(Config(**SIZES)), "block_circulant", block_size=4,
                       skip=["output"], init="random")
    assert sum(isinstance(m, BlockCirculantLinear) for m in swapped.modules()) == len(circulant)
    assert model(sentences([5], 19), sentences([4], 23)).shape == (1, 4, 23)


@pytest.mark.parametrize("p", [0.1, 0.25, 0.5])
def test_dropout_keeps_the_mean_and_drops_that_share(p: float) -> None:
    torch.manual_seed(0)
    dropout, x = Dropout(p), torch.ones(200, 1001)
    y = dropout(x)
    assert abs(float((y == 0).float().mean()) - round(256 * p) / 256) < 0.005
    assert abs(float(y.mean()) - 1) < 0.01
    columns = (y == 0).float().mean(0)
    assert 0 < float(columns.std()) < 0.06, "every column is dropped alike"
    assert not torch.equal(dropout(x), y), "a new mask each time"
    assert torch.equal(dropout.eval()(x), x)


def test_dropout_of_nearly_everything_stays_finite() -> None:
    y = Dropout(0.999)(torch.ones(100, 1000))
    assert y.isfinite().all() and 0 < float((y > 0).float().mean()) < 0.01


def test_dropout_gradient_is_its_mask() -> None:
    torch.manual_seed(0)
    x = torch.randn(30, 7, dtype=torch.float64, requires_grad=True)
    y = Dropout(0.3)(x)
    y.sum().backward()
    torch.testing.assert_close(x.grad * x.detach(), y.detach())


@pytest.mark.parametrize(("more", "words"), [
    ({"heads": 5}, "heads=5, d_model=24"), ({"layers": 0}, "layers must be 1 or more, got 0"),
    ({"dropout": 1.0}, r"got 1\.0"),
])
def test_bad_sizes_are_named(more: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Config(**{**SIZES, **more})


# --- The loss ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "smoothing", "dtype"), list(itertools.product(
    [1, 511, 513, 1100], [0.0, 0.1], [torch.float64, torch.float32])))
def test_linear_cross_entropy_equals_torch(rows: int, smoothing: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = torch.randn(rows, 17, dtype=dtype, requires_grad=True)
    weight = torch.randn(31, 17, dtype=dtype, requires_grad=True)
    target = torch.randint(1, 31, (rows,))
    target[1::5] = 0
    theirs = F.cross_entropy(x @ weight.T, target, label_smoothing=smoothing, ignore_index=0)
    ours = linear_cross_entropy(x, weight, target, label_smoothing=smoothing, ignore_index=0)
    near = {"rtol": 1e-5, "atol": 1e-6} if dtype == torch.float32 else {}
    torch.testing.assert_close(ours, theirs, **near)
    expected = torch.autograd.grad(3 * theirs, (x, weight))
    for mine, other in zip(torch.autograd.grad(3 * ours, (x, weight)), expected, strict=True):
        torch.testing.assert_close(mine, other, **near)


def test_linear_cross_entropy_refuses_a_second_gradient() -> None:
    x, weight = torch.randn(4, 3, requires_grad=True), torch.randn(5, 3, requires_grad=True)
    loss = linear_cross_entropy(x, weight, torch.ones(4, dtype=torch.long)) * x.sum()
    first, = torch.autograd.grad(loss, x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def test_linear_cross_entropy_without_gradients_and_of_a_bad_target() -> None:
    x, weight = torch.randn(4, 3, requires_grad=True), torch.randn(5, 3, requires_grad=True)
    target = torch.tensor([1, 2, 0, 4])
    expected = linear_cross_entropy(x, weight, target, label_smoothing=0.1)
    for switched_off in (torch.no_grad, torch.inference_mode):
        with switched_off():
            loss = linear_cross_entropy(x, weight, target, label_smoothing=0.1)
        assert not loss.requires_grad and loss.item() == expected.item()
    with pytest.raises((IndexError, RuntimeError), match="out of bounds"):
        linear_cross_entropy(x, weight, torch.tensor([1, 2, -100, 3]), ignore_index=0)


def test_linear_cross_entropy_of_padding_only_is_zero() -> None:
    x, weight = torch.randn(4, 3, requires_grad=True), torch.randn(5, 3, requires_grad=True)
    loss = linear_cross_entropy(x, weight, torch.zeros(4, dtype=torch.long), ignore_index=0)
    loss.backward()
    assert loss.item() == 0 and not x.grad.any() and not weight.grad.any()


def test_bf16_training_step_is_close_to_fp32() -> None:
    from circtools.experiments import multi30k

    model = make(layers=1).float().train()
    batch = (sentences([6, 3], 19), sentences([5, 7], 23))
    gradients = []
    for precision in (torch.float32, torch.bfloat16):
        model.zero_grad()
        multi30k.loss(model, batch, 0.1, precision).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    error = (gradients[1] - gradients[0]).norm() / gradients[0].norm()
    assert error < 0.03
