"""Torch's packed attention as layers that can be compressed one by one."""

import math
from collections.abc import Mapping
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def unpacked(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """Return a layer with a copy of these weights."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta")
    for name, value in ("weight", weight), ("bias", bias):
        if value is not None:
            copied = value.detach().clone(memory_format=torch.contiguous_format)
            setattr(layer, name, nn.Parameter(copied, value.requires_grad))
    return layer


def split_attention(model: nn.Module) -> nn.Module:
    """Cut the packed weights of every ``nn.MultiheadAttention`` into layers that can be swapped.

    They are ``q_proj``, ``k_proj``, ``v_proj`` and ``out_proj`` of a :class:`SplitAttention`, which
    computes the same; torch's fast path for packed weights is given up. Subclasses, and attention
    with ``bias_k`` or ``add_zero_attn``, stay packed. Returns the model, changed in place.

    Raises:
        ValueError: if weights of such an attention are pruned; make that permanent first.
    """
    split: dict[nn.Module, nn.Module] = {}
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoder):
            module.use_nested_tensor = False  # a part of the fast path
        if (type(module) is nn.MultiheadAttention and module.bias_k is None
                and not module.add_zero_attn):
            split[module] = SplitAttention(module)
    return substituted(model, split)


def substituted(model: nn.Module, new: Mapping[nn.Module, nn.Module]) -> nn.Module:
    """Put new modules wherever the old ones stand in a model; return it."""
    top = nn.ModuleList([model])  # the model may be one that is replaced
    for parent in list(top.modules()):
        for name, child in parent._modules.items():
            if child is not None:
                parent._modules[name] = new.get(child, child)
    return top[0]


class SplitAttention(nn.Module):
    """An ``nn.MultiheadAttention`` of unpacked layers, and called like it."""

    in_proj_bias, _qkv_same_embed_dim = None, False  # they tell torch's encoder: nothing is packed

    @torch.enable_grad()  # without gradients all parts of a weight count as frozen
    def __init__(self, packed: nn.MultiheadAttention) -> None:
        super().__init__()
        parameters = {"in_proj_weight", "in_proj_bias", "q_proj_weight", "k_proj_weight",
                      "v_proj_weight", "weight", "bias"}  # some of them are None
        if computed := parameters - packed._parameters.keys() - packed.out_proj._parameters.keys():
            raise ValueError(f"the {min(computed)} of an nn.MultiheadAttention or its out_proj is "
                             "computed, as by pruning; make that permanent first, for example with "
                             "torch.nn.utils.parametrize.remove_parametrizations")
        self.num_heads, self.dropout = packed.num_heads, packed.dropout
        self.batch_first = packed.batch_first
        weights = (packed.in_proj_weight.chunk(3) if packed._qkv_same_embed_dim else
                   (packed.q_proj_weight, packed.k_proj_weight, packed.v_proj_weight))
        biases = (None,) * 3 if packed.in_proj_bias is None else packed.in_proj_bias.chunk(3)
        self.q_proj, self.k_proj, self.v_proj = map(unpacked, weights, biases)
        self.out_proj = unpacked(packed.out_proj.weight, packed.out_proj.bias)
        self.train(packed.training)

    def forward(self, query: Tensor, key: Tensor, value: Tensor,
                key_padding_mask: Tensor | None = None, need_weights: bool = True,
                attn_mask: Tensor | None = None, average_attn_weights: bool = True,
                is_causal: bool = False) -> tuple[Tensor, Tensor | None]:
        if is_causal and attn_mask is None:
            raise ValueError("is_causal is a hint only; pass the attn_mask, too")
        axis = -3 if self.batch_first else 0  # that of the tokens, beside (heads, width)
        q, k, v = (layer(x).unflatten(-1, (self.num_heads, -1)).movedim(axis, -2) for layer, x in
                   ((self.q_proj, query), (self.k_proj, key), (self.v_proj, value)))
        masks = [] if attn_mask is None else [
            attn_mask.unflatten(0, q.shape[:-2]) if attn_mask.dim() == 3 else attn_mask]
        if key_padding_mask is not None:
            masks.append(key_padding_mask[..., None, None, :])
        mask = reduce(torch.add, [_added(part).to(q) for part in masks]) if masks else None
        p, weights = self.dropout if self.training else 0.0, None
        if need_weights:
            scores = q @ k.mT / q.shape[-1] ** 0.5  # (batch, heads, tokens, tokens)
            weights = F.dropout((scores if mask is None else scores + mask).softmax(-1), p)
            y = weights @ v
            weights = weights.mean(-3) if average_attn_weights else weights
        else:
            y = F.scaled_dot_product_attention(q, k, v, mask, p)
        return self.out_proj(y.movedim(-2, axis).flatten(-2)), weights


def _added(mask: Tensor) -> Tensor:
    """Return what a mask adds to the scores: if it is boolean, minus infinity where it is True."""
    if mask.is_floating_point():
        return mask
    if mask.dtype != torch.bool:
        raise TypeError(f"a mask must be boolean or of floating point, got {mask.dtype}; if it is "
                        "1 where nobody may look, pass mask.bool()")
    return torch.where(mask, -math.inf, 0.0)
