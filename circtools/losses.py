"""Cross-entropy of a large vocabulary without the table of all logits."""

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 512  # rows whose logits are held at a time, few enough to stay in a processor's cache


class _LinearCrossEntropy(torch.autograd.Function):
    """The logits' gradient needs nothing but the logits, so both are done in one pass."""

    @staticmethod
    def forward(ctx, features: Tensor, weight: Tensor, target: Tensor, smoothing: float,
                ignore: int) -> Tensor:
        words = weight.shape[0]
        counted = target != ignore  # (rows,)
        n = counted.sum().clamp(min=1)
        wide = torch.promote_types(features.dtype, torch.float32)  # of everything but products
        total = torch.zeros((), device=features.device, dtype=wide)
        differentiate = any(ctx.needs_input_grad[:2])
        d_features = torch.empty_like(features) if differentiate else None
        d_weight = torch.zeros_like(weight, dtype=wide) if differentiate else None
        for start in range(0, len(target), CHUNK):
            rows = slice(start, start + CHUNK)
            share = counted[rows].to(wide) / n  # of each row in the mean
            logits = F.linear(features[rows], weight).to(wide)  # (rows, words)
            log_sum = logits.logsumexp(1)
            right = target[rows].clamp(min=0).unsqueeze(1)
            loss = (log_sum - (1 - smoothing) * logits.gather(1, right).squeeze(1)
                    - smoothing * logits.mean(1))
            total += (loss * share).sum()
            if d_features is not None and d_weight is not None:
                # d loss / d logits = softmax - (1 - smoothing) * one-hot - smoothing / words
                gradient = logits.sub_(log_sum.unsqueeze(1)).exp_().sub_(smoothing / words)
                gradient.scatter_add_(1, right, torch.full_like(right, smoothing - 1,
                                                                dtype=gradient.dtype))
                gradient = gradient.mul_(share.unsqueeze(1)).to(features.dtype)
                torch.mm(gradient, weight, out=d_features[rows])
                d_weight += gradient.T @ features[rows]
        ctx.save_for_backward(d_features, d_weight)
        return total

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        d_features, d_weight = ctx.saved_tensors
        return (gradient * d_features).to(d_features.dtype), gradient * d_weight, None, None, None


def linear_cross_entropy(features: Tensor, weight: Tensor, target: Tensor, *,
                         smoothing: float = 0.0, ignore: int = -100) -> Tensor:
    """Return ``F.cross_entropy(F.linear(features, weight), target)`` with less memory and time.

    Args:
        features: what the output layer reads, (rows, d_model).
        weight: of the output layer, (words, d_model).
        target: indices of the right words, (rows,).
        smoothing: label smoothing, as in ``F.cross_entropy``.
        ignore: the target of rows that do not count.

    Returns:
        The mean over the rows that count, a scalar in nats, in fp32. Under autocast the products
        are in its dtype and the softmax in fp32.

    Source: label smoothing after C. Szegedy et al., "Rethinking the Inception Architecture for
    Computer Vision", CVPR 2016, section 7; the gradient in the forward pass is a known trick.
    """
    device = features.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        features, weight = features.to(dtype), weight.to(dtype)
    with torch.autocast(device, enabled=False):
        return _LinearCrossEntropy.apply(features, weight, target, smoothing, ignore)
