"""Cross-entropy of a large vocabulary without the table of all logits.

Torch's own ``linear_cross_entropy``, in 2.13, makes that table where label smoothing is on, and
rounds the loss of bf16 to bf16. The arguments here have its names, so that this file can go once
it does neither.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK = 512  # rows whose logits are held at a time
PART = 64  # rows of them that are worked on at a time, few enough for a core's own cache


class _LinearCrossEntropy(torch.autograd.Function):
    """The logits' gradient needs nothing but the logits, so both are done in one pass."""

    @staticmethod
    def forward(ctx, features: Tensor, weight: Tensor, target: Tensor,
                label_smoothing: float, ignore_index: int) -> Tensor:
        vocab, smoothing = len(weight), label_smoothing
        wide = torch.promote_types(features.dtype, torch.float32)  # of everything but products
        counted = target != ignore_index
        share = (counted.to(wide) / counted.sum().clamp(min=1)).unsqueeze(1)  # of a row, (rows, 1)
        right = target.where(counted, 0).unsqueeze(1)  # (rows, 1)
        # The mean of a row's logits is its product with the mean of the weights.
        mean = features.to(wide) @ weight.mean(0, dtype=wide).unsqueeze(1)  # (rows, 1)
        total = torch.zeros((), device=features.device, dtype=wide)
        differentiate = any(ctx.needs_input_grad[:2])
        d_features = torch.empty_like(features) if differentiate else None
        d_weight = torch.zeros_like(weight, dtype=wide) if differentiate else None
        for start in range(0, len(target), CHUNK):
            chunk = slice(start, start + CHUNK)
            logits = F.linear(features[chunk], weight)  # (rows, vocab)
            parts = (x.split(PART) for x in (logits, share[chunk], right[chunk], mean[chunk]))
            for part, of_mean, token, average in zip(*parts, strict=True):
                z = part.to(wide, copy=True)
                top, of_token = z.amax(1, keepdim=True), z.gather(1, token)
                sum_ = z.sub_(top).exp_().sum(1, keepdim=True)
                loss = top + sum_.log() - (1 - smoothing) * of_token - smoothing * average
                total += (loss * of_mean).sum()
                # d loss / d logits = softmax - (1 - smoothing) * one-hot - smoothing / vocab
                torch.addcmul(-smoothing / vocab * of_mean, z, of_mean / sum_, out=z)
                z.scatter_add_(1, token, (smoothing - 1) * of_mean)
                part.copy_(z)
            if d_features is not None and d_weight is not None:
                torch.mm(logits, weight, out=d_features[chunk])
                d_weight += logits.T @ features[chunk]
        ctx.save_for_backward(d_features, d_weight)
        return total

    @staticmethod
    @once_differentiable  # what is saved has no graph: a second gradient would be wrong, unnoticed
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        d_features, d_weight = ctx.saved_tensors
        return (gradient * d_features).to(d_features.dtype), gradient * d_weight, None, None, None


def linear_cross_entropy(features: Tensor, weight: Tensor, target: Tensor, *,
                         label_smoothing: float = 0.0, ignore_index: int = -100) -> Tensor:
    """Return ``F.cross_entropy(F.linear(features, weight), target)`` with less memory and time.

    Args:
        features: what the output layer reads, (rows, d_model).
        weight: of the output layer, (vocab, d_model).
        target: indices of the right tokens, (rows,).
        label_smoothing: as in ``F.cross_entropy``.
        ignore_index: the target of rows that do not count.

    It is the mean over the rows that count, a scalar in nats, in fp32 (of float64, in float64).
    Under autocast the products are in its dtype and the softmax in fp32.

    Source: label smoothing after C. Szegedy et al., "Rethinking the Inception Architecture for
    Computer Vision", CVPR 2016, section 7.
    """
    device = features.device.type
    if not torch.is_grad_enabled():  # forward computes what backward needs, if it is asked for
        features, weight = features.detach(), weight.detach()
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        features, weight = features.to(dtype), weight.to(dtype)
    with torch.autocast(device, enabled=False):
        return _LinearCrossEntropy.apply(features, weight, target, label_smoothing, ignore_index)
