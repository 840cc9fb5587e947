"""circtools: block-circulant layers, pruning, and the experiments that compare them."""

from circtools.attention import split_attention
from circtools.compression import compress, prepare
from circtools.counting import compression_ratio, summary
from circtools.linear import BlockCirculantLinear
from circtools.matrices import block_circulant, circulant, nearest_circulant, spectrum
from circtools.pruning import prune

__all__ = [
    "BlockCirculantLinear", "block_circulant", "circulant", "compress", "compression_ratio",
    "nearest_circulant", "prepare", "prune", "spectrum", "split_attention", "summary",
]
