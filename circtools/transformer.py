"""An encoder-decoder Transformer whose linear layers are an argument.

Source: A. Vaswani et al., "Attention Is All You Need", NeurIPS 2017; normalisation before each
sublayer after R. Xiong et al., "On Layer Normalization in the Transformer Architecture", ICML 2020.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from circtools.checks import check_size

PAD = 0  # index of the padding token in both vocabularies

LinearLayer = Callable[[int, int], nn.Module]  # (in_features, out_features) -> layer


@dataclass(frozen=True)
class Config:
    """Size of a Transformer; ``layers`` counts the encoder's, and the decoder's, layers."""

    source_vocab: int  # tokens in the vocabulary
    target_vocab: int
    layers: int = 3
    d_model: int = 256
    heads: int = 8
    feed_forward: int = 1024
    dropout: float = 0.1
    tied: bool = True  # the output weights are those of the target embedding

    def __post_init__(self) -> None:
        for name in ("source_vocab", "target_vocab", "layers", "d_model", "heads", "feed_forward"):
            check_size(name, getattr(self, name))
        if self.d_model % self.heads:
            raise ValueError(f"heads must divide d_model, got heads={self.heads}, "
                             f"d_model={self.d_model}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {self.dropout}")


class Dropout(nn.Module):
    """Dropout from random bytes: torch draws 8 bytes for every number that it may drop.

    On a CPU that is the slowest part of a training step. One byte decides here, so the
    probability is rounded to a 256th (and the scale is that of the rounded one).
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.threshold = min(round(256 * p), 255)  # 256 would drop everything

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.threshold == 0:
            return x
        keep = 1 - self.threshold / 256
        if x.device.type != "cpu":
            return F.dropout(x, 1 - keep)
        eights = torch.empty((x.numel() + 7) // 8, dtype=torch.int64).random_(-2**63, None)
        mask = eights.view(torch.uint8)[: x.numel()].view(x.shape) >= self.threshold
        return x * (mask.to(x.dtype) / keep)


class Attention(nn.Module):
    """Multi-head attention, in two steps so that a decoder can keep its keys and values."""

    def __init__(self, config: Config, linear: LinearLayer) -> None:
        super().__init__()
        self.heads = config.heads
        self.query, self.key, self.value, self.output = (
            linear(config.d_model, config.d_model) for _ in range(4))

    def split(self, x: Tensor) -> Tensor:
        """Cut features into heads: (batch, tokens, d_model) to (batch, heads, tokens, d_head)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def keys_values(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is attended to, two tensors (batch, heads, tokens, d_head)."""
        return self.split(self.key(memory)), self.split(self.value(memory))

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None,
                causal: bool = False) -> Tensor:
        """Let x (batch, tokens, d_model) attend; ``mask`` is True where it may look."""
        queries = self.split(self.query(x))  # (batch, heads, tokens, d_head)
        dtype = queries.dtype
        if dtype == torch.bfloat16 and x.device.type == "cpu":
            # The gradient of torch's fused attention is 10 times slower in bf16 than in fp32 there.
            queries, keys, values = queries.float(), keys.float(), values.float()
        with torch.autocast("cpu", enabled=False):
            mixed = F.scaled_dot_product_attention(
                queries, keys, values, attn_mask=mask, is_causal=causal).to(dtype)
        return self.output(mixed.transpose(1, 2).flatten(2))  # (batch, tokens, d_model)


class FeedForward(nn.Module):
    """Two layers with a ReLU between, applied to every token by itself."""

    def __init__(self, config: Config, linear: LinearLayer) -> None:
        super().__init__()
        self.hidden = linear(config.d_model, config.feed_forward)
        self.output = linear(config.feed_forward, config.d_model)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.dropout(F.relu(self.hidden(x))))


class Residual(nn.Module):
    """Adds to its input what a sublayer makes of it after a norm."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.d_model)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        return x + self.dropout(sublayer(self.norm(x)))


class EncoderLayer(nn.Module):
    def __init__(self, config: Config, linear: LinearLayer) -> None:
        super().__init__()
        self.attention = Attention(config, linear)
        self.feed_forward = FeedForward(config, linear)
        self.residuals = nn.ModuleList(Residual(config) for _ in range(2))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.residuals[0](x, lambda y: self.attention(y, *self.attention.keys_values(y), mask))
        return self.residuals[1](x, self.feed_forward)


@dataclass
class Cache:
    """The keys and values that a decoder layer keeps, (rows, heads, tokens, d_head) each."""

    cross: tuple[Tensor, ...]  # of the source; a row per sentence, however many beams
    written: tuple[Tensor, ...] = ()  # of the tokens written so far, if any; a row per beam

    def extend(self, newest: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Append the newest token's keys and values; return all of them."""
        pairs = zip(self.written, newest, strict=True)
        self.written = tuple(torch.cat(pair, dim=2) for pair in pairs) if self.written else newest
        return self.written


class DecoderLayer(nn.Module):
    def __init__(self, config: Config, linear: LinearLayer) -> None:
        super().__init__()
        self.attention = Attention(config, linear)
        self.cross_attention = Attention(config, linear)
        self.feed_forward = FeedForward(config, linear)
        self.residuals = nn.ModuleList(Residual(config) for _ in range(3))

    def forward(self, x: Tensor, mask: Tensor, cache: Cache, step: bool) -> Tensor:
        def self_attend(y: Tensor) -> Tensor:
            keys_values = self.attention.keys_values(y)
            if step:  # one new token, which may look at everything written so far
                return self.attention(y, *cache.extend(keys_values))
            return self.attention(y, *keys_values, causal=True)

        def cross_attend(y: Tensor) -> Tensor:
            # The beams of a sentence, one token each, attend together as if they were the
            # tokens of one sequence: (batch * beams, 1, d_model) to (batch, beams, d_model).
            together = y.view(len(mask), -1, y.shape[-1])
            return self.cross_attention(together, *cache.cross, mask).view(y.shape)

        x = self.residuals[0](x, self_attend)
        x = self.residuals[1](x, cross_attend)
        return self.residuals[2](x, self.feed_forward)


@dataclass
class State:
    """A translation in progress: the encoded sentences and what each decoder layer keeps."""

    mask: Tensor  # (batch, 1, 1, source tokens)
    caches: list[Cache]
    length: int = 0  # tokens written so far

    def select(self, sentences: Tensor | slice, rows: Tensor) -> None:
        """Keep these sentences (a slice copies nothing) and, of their beams, these rows."""
        self.mask = self.mask[sentences]
        for cache in self.caches:
            cache.cross = tuple(part[sentences] for part in cache.cross)
            cache.written = tuple(part[rows] for part in cache.written)


def sinusoids(length: int, d_model: int, device: torch.device | None = None) -> Tensor:
    """Return the patterns of the positions (length, d_model), after Vaswani et al., section 3.5."""
    position = torch.arange(length, device=device).unsqueeze(1)
    half = torch.arange(0, d_model, 2, device=device)
    angle = position * torch.exp(half * (-math.log(10_000) / d_model))
    waves = torch.stack([angle.sin(), angle.cos()], dim=2)  # (length, d_model / 2, 2)
    return waves.flatten(1)[:, :d_model]


class Transformer(nn.Module):
    """Maps source tokens, and the target tokens so far, to logits of the next target token.

    Args:
        config: the sizes.
        linear: makes every projection of the encoder's and decoder's layers, dense or
            block-circulant; called with ``(in_features, out_features)``. Not the output layer.
    """

    def __init__(self, config: Config, linear: LinearLayer = nn.Linear) -> None:
        super().__init__()
        self.config = config
        self.source_embedding = nn.Embedding(config.source_vocab, config.d_model, padding_idx=PAD)
        self.target_embedding = nn.Embedding(config.target_vocab, config.d_model, padding_idx=PAD)
        self.encoder = nn.ModuleList(EncoderLayer(config, linear) for _ in range(config.layers))
        self.decoder = nn.ModuleList(DecoderLayer(config, linear) for _ in range(config.layers))
        self.output = nn.Linear(config.d_model, config.target_vocab, bias=False)
        self.dropout = Dropout(config.dropout)
        self.encoder_norm, self.decoder_norm = (nn.LayerNorm(config.d_model) for _ in range(2))
        self.positions = nn.Buffer(sinusoids(512, config.d_model), persistent=False)
        for embedding in (self.source_embedding, self.target_embedding):
            nn.init.normal_(embedding.weight, std=config.d_model**-0.5)
            nn.init.zeros_(embedding.weight[PAD])
        if config.tied:
            self.output.weight = self.target_embedding.weight

    def _embed(self, embedding: nn.Embedding, tokens: Tensor, start: int = 0) -> Tensor:
        x = embedding(tokens) * math.sqrt(self.config.d_model)  # (batch, tokens, d_model)
        stop = start + tokens.shape[1]
        table = (self.positions if stop <= len(self.positions) else
                 sinusoids(stop, self.config.d_model, tokens.device))
        return self.dropout(x + table[start:stop].to(x.dtype))

    def encode(self, source: Tensor) -> State:
        """Read source tokens (batch, tokens), padded at the end with :data:`PAD`."""
        mask = (source != PAD)[:, None, None, :]  # (batch, 1, 1, tokens)
        x = self._embed(self.source_embedding, source)
        for layer in self.encoder:
            x = layer(x, mask)
        memory = self.encoder_norm(x)  # (batch, tokens, d_model)
        layers = cast(Iterable[DecoderLayer], self.decoder)
        return State(mask, [Cache(x.cross_attention.keys_values(memory)) for x in layers])

    def decode(self, target: Tensor, state: State, step: bool = False) -> Tensor:
        """Return the decoder's features (batch, tokens, d_model) after each target token.

        Padding at the end of a target needs no mask: no token looks at one that comes later.

        Args:
            target: (batch, tokens), the first of them the start of sentence.
            state: of :meth:`encode`.
            step: ``target`` is (batch * beams, 1), the newest token only; the state keeps the rest.
                Without ``step`` the state keeps nothing, and ``target`` holds all tokens.

        Raises:
            ValueError: if ``step`` is given more than one token.
        """
        if step and target.shape[1] != 1:
            raise ValueError(f"a step takes one token per row, got {target.shape[1]}")
        x = self._embed(self.target_embedding, target, state.length if step else 0)
        for layer, cache in zip(self.decoder, state.caches, strict=True):
            x = layer(x, state.mask, cache, step)
        state.length += step
        return self.decoder_norm(x)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Return logits of the next token, (batch, target tokens, target_vocab)."""
        return self.output(self.decode(target, self.encode(source)))
