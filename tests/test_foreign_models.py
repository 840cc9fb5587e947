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

from circtools import BlockCirculantLinear, compress, compression_ratio, prepare, split_attention

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


@pytest.mark.parametrize("name", MODELS)
def test_a_model_that_others_wrote(name: str, tmp_path: Path) -> None:
    build, tied, count = MODELS[name]
    torch.manual_seed(0)
    model, inputs = build()
    model.eval()
    dense = split_attention(copy.deepcopy(model))
    torch.testing.assert_close(outputs(dense, inputs), outputs(model, inputs))
    if tied:
        with pytest.raises(ValueError, match=f"'{tied[0]}' shares its weight with"):
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
        torch.testing.assert_close(outputs(prepare(copy.deepcopy(model)), inputs), expected)

    outputs(model, inputs).square().mean().backward()
    for path, layer in layers.items():
        assert layer.weight.grad.isfinite().all() and layer.weight.grad.any(), path

    other = small(build()[0].eval(), init="random")
    other.load_state_dict(model.state_dict())
    assert torch.equal(outputs(other, inputs), outputs(model, inputs))


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
