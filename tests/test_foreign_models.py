"""``compress`` in models that others wrote: tiny ones, built from a configuration.

Those of a package that is not installed are skipped (``pip install transformers timm``).
"""

import copy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune

from circtools import (
    BlockCirculantLinear,
    compress,
    compression_ratio,
    prepare,
    prune,
    split_attention,
)

Inputs = dict[str, Tensor]
TOKENS = torch.tensor([[5, 6, 7, 8, 9], [9, 3, 4, 2, 1]])


def torch_encoder() -> tuple[nn.Module, Inputs]:
    """With what opens its fast path in evaluation: padding at the end, an even number of heads."""
    layer = nn.TransformerEncoderLayer(16, 2, 32, 0.0, batch_first=True)
    padding = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    return (nn.TransformerEncoder(layer, 2),
            {"src": torch.randn(2, 5, 16), "src_key_padding_mask": padding})


def torch_transformer() -> tuple[nn.Module, Inputs]:
    causal = nn.Transformer.generate_square_subsequent_mask(4)
    return (nn.Transformer(16, 2, 1, 1, 32, 0.0),
            {"src": torch.randn(5, 2, 16), "tgt": torch.randn(4, 2, 16), "tgt_mask": causal})


def torchvision_vit() -> tuple[nn.Module, Inputs]:
    # PyPI's torchvision stumbles, beside a CPU-only torch, over operators that are not needed here.
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in "nms", "qnms":
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        vit = pytest.importorskip("torchvision.models.vision_transformer", exc_type=ImportError)
    model = vit.VisionTransformer(16, 8, 2, 2, 16, 32, num_classes=4)
    nn.init.normal_(model.heads.head.weight)  # zero at first: no layer would have a gradient
    return model, {"x": torch.randn(2, 3, 16, 16)}


def timm_vit() -> tuple[nn.Module, Inputs]:
    vit = pytest.importorskip("timm.models.vision_transformer")
    return (vit.VisionTransformer(16, 8, num_classes=4, embed_dim=16, depth=2, num_heads=2),
            {"x": torch.randn(2, 3, 16, 16)})


def hugging_face(model: str, **sizes: int) -> Callable[[], tuple[nn.Module, Inputs]]:
    def build() -> tuple[nn.Module, Inputs]:
        kind = getattr(pytest.importorskip("transformers"), model)
        built = kind(kind.config_class(vocab_size=20, pad_token_id=0, **sizes))
        inputs = {"input_ids": TOKENS}
        if built.config.is_encoder_decoder:
            inputs["decoder_input_ids"] = TOKENS[:, :3]
        return built, inputs
    return build


BERT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 32}
MARIAN = {f"{side}_{what}": value for side in ("encoder", "decoder") for what, value in
          (("layers", 1), ("attention_heads", 2), ("ffn_dim", 32))}

# How each is built; the layers that are tied, whose swap is refused; how many layers are swapped.
MODELS: dict[str, tuple[Callable[[], tuple[nn.Module, Inputs]], list[str], int]] = {
    "nn.TransformerEncoder": (torch_encoder, [], 2 * 6),
    "nn.Transformer": (torch_transformer, [], 6 + 10),
    "torchvision ViT": (torchvision_vit, [], 2 * 6 + 1),
    "timm ViT": (timm_vit, [], 2 * 4 + 1),
    "BERT": (hugging_face("BertForMaskedLM", **BERT), ["cls.predictions.decoder"], 6 + 1),
    "Llama": (hugging_face("LlamaForCausalLM", num_key_value_heads=1, **BERT), [], 7 + 1),
    "GPT-2": (hugging_face("GPT2LMHeadModel", n_embd=16, n_layer=1, n_head=2), ["lm_head"], 4),
    "Marian": (hugging_face("MarianMTModel", d_model=16, decoder_start_token_id=0, **MARIAN),
               ["lm_head"], 6 + 10),
    "T5": (hugging_face("T5ForConditionalGeneration", d_model=16, d_kv=8, d_ff=32, num_layers=1,
                        num_heads=2, decoder_start_token_id=0), ["lm_head"], 6 + 10),
}


def outputs(model: nn.Module, inputs: Inputs) -> Tensor:
    found: Any = model(**inputs)
    found = getattr(found, "logits", found)
    # torch's fast path writes zeros where there is padding
    padding = inputs.get("src_key_padding_mask")
    return found if padding is None else found.masked_fill(padding[..., None], 0)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")  # nn.Transformer says it of itself
@pytest.mark.parametrize("name", MODELS)
def test_a_model_that_others_wrote(name: str) -> None:
    build, tied, count = MODELS[name]
    torch.manual_seed(0)
    model, inputs = build()
    model.eval()
    dense = split_attention(copy.deepcopy(model))
    torch.testing.assert_close(outputs(dense, inputs), outputs(model, inputs))
    if tied:
        with pytest.raises(ValueError, match=f"{tied[0]}: it shares its weight with"):
            compress(dense, "block_circulant", block_size=4)

    def small(model: nn.Module, **options: Any) -> nn.Module:
        return compress(split_attention(model), "block_circulant", block_size=4, skip=tied,
                        **options)

    model = small(model)
    layers = {name: layer for name, layer in model.named_modules()
              if isinstance(layer, BlockCirculantLinear)}
    assert len(layers) == count and compression_ratio(model) == 4

    with torch.no_grad():  # a matrix that is block-circulant already is its own projection
        for path, layer in layers.items():
            weight, matrix = dense.get_submodule(path).weight, layer.dense_weight()
            weight.copy_(matrix if type(dense.get_submodule(path)) is nn.Linear else matrix.T)
        expected = outputs(dense, inputs)
        torch.testing.assert_close(outputs(model, inputs), expected)
        torch.testing.assert_close(outputs(small(dense), inputs), expected)
        torch.testing.assert_close(outputs(prepare(model), inputs), expected)
        torch.testing.assert_close(outputs(copy.deepcopy(model), inputs), expected)

    outputs(model, inputs).square().mean().backward()
    for path, layer in layers.items():
        assert layer.weight.grad.isfinite().all() and layer.weight.grad.any(), path

    other = small(build()[0].eval(), init="random")
    other.load_state_dict(model.state_dict())
    assert torch.equal(outputs(other, inputs), outputs(model, inputs))


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("name", MODELS)
def test_saved_as_safetensors(name: str, tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    build, tied, _ = MODELS[name]
    models = []
    for _ in range(2):
        model, inputs = build()
        models.append(compress(split_attention(model.eval()), "block_circulant", block_size=4,
                               skip=tied))
    if hasattr(model, "save_pretrained"):
        models[0].save_pretrained(tmp_path)
        [file] = tmp_path.glob("*.safetensors")
    else:
        safetensors.save_model(models[0], file := tmp_path / "model.safetensors")
    safetensors.load_model(models[1], file, strict=False)  # Marian saves no positions
    assert torch.equal(outputs(models[0], inputs), outputs(models[1], inputs))


def test_features_of_a_compressed_vit_are_extracted() -> None:
    """torchvision finds them with torch.fx."""
    model, inputs = torchvision_vit()
    compress(split_attention(model.eval()), "block_circulant", block_size=4)
    extract = pytest.importorskip("torchvision.models.feature_extraction").create_feature_extractor
    kept = []
    model.encoder.ln.register_forward_hook(lambda *called: kept.append(called[-1]))
    features = extract(model, ["encoder.ln"])(inputs["x"])["encoder.ln"]
    model(**inputs)
    torch.testing.assert_close(features, kept[-1])


# --- nn.MultiheadAttention, split ----------------------------------------------------------------

CAUSAL = torch.ones(4, 4, dtype=torch.bool).triu(1)
PADDED = torch.tensor([[False] * 4, [False] * 3 + [True]])


def packed(**options: Any) -> nn.MultiheadAttention:
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(8, 2, **options)
    for name, parameter in attention.named_parameters():
        if "bias" in name:  # zero at first
            nn.init.normal_(parameter)
    return attention


@pytest.mark.parametrize("built", [{}, {"batch_first": True}, {"bias": False},
                                   {"kdim": 6, "vdim": 4}, {"dtype": torch.bfloat16}], ids=str)
@pytest.mark.parametrize("called", [
    {}, {"need_weights": False}, {"average_attn_weights": False}, {"attn_mask": CAUSAL},
    {"attn_mask": CAUSAL, "is_causal": True, "need_weights": False},
    {"attn_mask": torch.randn(4, 4, 4), "need_weights": False},
    {"key_padding_mask": PADDED}, {"key_padding_mask": PADDED, "need_weights": False},
    {"key_padding_mask": PADDED, "attn_mask": CAUSAL}], ids=lambda called: " ".join(called))
def test_split_attention_is_called_as_the_packed_one(built: dict[str, Any], called: dict[str, Any]
                                                     ) -> None:
    whole = packed(**built)
    split = split_attention(copy.deepcopy(whole))
    dtype = whole.out_proj.weight.dtype
    near = {"atol": 1e-2, "rtol": 1e-2} if dtype == torch.bfloat16 else {}
    shape = (2, 4) if whole.batch_first else (4, 2)
    x = [torch.randn(*shape, n, dtype=dtype) for n in (8, whole.kdim, whole.vdim)]
    if "attn_mask" in called and called["attn_mask"].is_floating_point():
        called = called | {"attn_mask": called["attn_mask"].to(dtype)}
    expected, found = whole(*x, **called), split(*x, **called)
    assert found[0].dtype == dtype
    torch.testing.assert_close(found, expected, **near)
    expected[0].float().sum().backward(), found[0].float().sum().backward()
    torch.testing.assert_close(split.out_proj.weight.grad, whole.out_proj.weight.grad,
                               **near)
    if "key_padding_mask" not in called and "kdim" not in built:  # without a batch
        single = [part.select(int(not whole.batch_first), 0) for part in x]
        if (mask := called.get("attn_mask")) is not None and mask.dim() == 3:
            called = called | {"attn_mask": mask[:2]}
        torch.testing.assert_close(split(*single, **called), whole(*single, **called), **near)


def test_split_attention_drops_weights_in_training_alone() -> None:
    split, x = split_attention(packed(dropout=0.5)), torch.randn(4, 2, 8)
    for need_weights in (True, False):
        first, second = (split(x, x, x, need_weights=need_weights)[0] for _ in range(2))
        assert not torch.equal(first, second)
        split.eval()
        first, second = (split(x, x, x, need_weights=need_weights)[0] for _ in range(2))
        assert torch.equal(first, second) and not split.out_proj.training
        split.train()


def test_a_mask_of_integers_or_of_another_shape_is_refused() -> None:
    split, x = split_attention(packed(batch_first=True)), torch.randn(2, 4, 8)
    for masks in ({"attn_mask": CAUSAL.byte()}, {"key_padding_mask": PADDED.long()}):
        with pytest.raises(TypeError, match=r"got torch\.(uint8|int64); .*mask\.bool\(\)"):
            split(x, x, x, **masks)
    with pytest.raises(RuntimeError, match="must match"):
        split(x, x, x, key_padding_mask=PADDED.T)
    assert split(x[:0], x[:0], x[:0], key_padding_mask=PADDED[:0])[0].shape == (0, 4, 8)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_a_layer_is_split_before_an_encoder_is_made_of_it() -> None:
    model, inputs = torch_encoder()
    layer = split_attention(copy.deepcopy(model.layers[0]))
    torch.testing.assert_close(outputs(nn.TransformerEncoder(layer, 1).eval(), inputs),
                               outputs(nn.TransformerEncoder(model.layers[0], 1).eval(), inputs))


def test_a_pruned_attention_is_refused() -> None:
    """A split one would lose its mask."""
    ours, inner, outer = (packed() for _ in range(3))
    prune([ours.out_proj], 0.5)
    torch_prune.l1_unstructured(inner, "in_proj_weight", 0.5)
    torch_prune.l1_unstructured(outer.out_proj, "bias", 0.5)
    for attention, name in (ours, "weight"), (inner, "in_proj_weight"), (outer, "bias"):
        with pytest.raises(ValueError, match=f"the {name} of .* pruning.*remove_parametrizations"):
            split_attention(nn.Sequential(attention))


def test_what_split_attention_splits() -> None:
    class Attention(nn.MultiheadAttention):
        """One that may read its packed weights itself."""

    shared = packed().requires_grad_(False).eval()
    model = nn.ModuleList([shared, shared, packed(add_bias_kv=True), packed(add_zero_attn=True),
                           Attention(8, 2)])
    with torch.no_grad():
        assert split_attention(model) is model
        assert split_attention(nn.ModuleList([packed()]))[0].q_proj.weight.requires_grad
    assert model[0] is model[1] and type(model[0].q_proj) is nn.Linear
    assert not any(p.requires_grad or model[0].training for p in model[0].parameters())
    assert [hasattr(part, "q_proj") for part in model] == [True, True, False, False, False]
    with pytest.warns(UserWarning) as said:
        compress(model, "block_circulant", block_size=4)
    for number, kind, warning in zip((2, 3, 4), [*["MultiheadAttention"] * 2, "Attention"], said,
                                     strict=True):
        assert f"{number}: {kind} reads weights past" in str(warning.message)
    assert "circtools.split_attention(model) first" in str(said[0].message)
    with pytest.raises(ValueError, match="pass the attn_mask"):
        x = torch.randn(4, 2, 8)
        model[0](x, x, x, is_causal=True)
