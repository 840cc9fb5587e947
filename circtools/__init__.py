"""circtools: block-circulant layers, pruning, and the experiments that compare them."""

from circtools.compression import compress, compression_ratio, prepare, prune
from circtools.linear import BlockCirculantLinear
from circtools.matrices import block_circulant, circulant, nearest_circulant, spectrum

__all__ = [
    "BlockCirculantLinear", "block_circulant", "circulant", "compress", "compression_ratio",
    "nearest_circulant", "prepare", "prune", "spectrum",
]
