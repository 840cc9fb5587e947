"""Other structures that store as few weights, to tell what is due to the circulant one."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from circtools.checks import check_choice, check_size
from circtools.linear import BlockCirculantLinear, StructuredLinear
from circtools.matrices import block_circulant, circulant, shared_means
from circtools.products import HALF


class SharedLinear(StructuredLinear):
    """Linear layer whose matrix repeats its weights by a table: ``M[r, c] = weight[table[r, c]]``.

    The table is a buffer: it is saved with the weights and is not counted among them.

    Args:
        table: which weight stands where, integers of shape (out_features, in_features).
        count: of the weights, some of which may stand nowhere.
        options: of :class:`.StructuredLinear`.
    """

    table: Tensor

    def __init__(self, table: Tensor, count: int, **options: Any) -> None:
        out_features, in_features = table.shape
        super().__init__(in_features, out_features, **options)
        self.register_buffer("table", table.to(self._factory["device"], torch.int32))
        self.weight = self._new(count)
        self.reset_parameters()

    def dense_weight(self) -> Tensor:
        return _entries(self.weight, self.table)

    def multiply(self, x: Tensor) -> Tensor:
        return F.linear(x, self.dense_weight())

    def _project(self, matrix: Tensor) -> None:
        self.weight.copy_(shared_means(matrix, self.table, len(self.weight)))


@torch.fx.wrap  # which cannot follow what depends on a dtype
def _entries(weight: Tensor, table: Tensor) -> Tensor:
    """Return ``weight[table]``; its backward sums in float32, for in half it would stop growing."""
    wide = weight.float() if weight.dtype in HALF else weight
    return wide.index_select(0, table.flatten()).view(table.shape).to(weight.dtype)


class RandomSharingLinear(SharedLinear):
    """A block-circulant layer with the rows and the columns of each block in random order.

    Each block is shuffled on its own, so that every weight of a block is used equally often and
    nothing is left of the rotation. The order comes from torch's random numbers. Sizes that the
    block does not divide are cropped, as a block-circulant layer's are.

    Args:
        in_features, out_features, options: of :class:`.StructuredLinear`.
        block_size: how many times fewer weights it stores.

    Source: weights shared at random are W. Chen et al., "Compressing Neural Networks with the
    Hashing Trick", ICML 2015; here each is used equally often.
    """

    def __init__(self, in_features: int, out_features: int, block_size: int,
                 **options: Any) -> None:
        check_size("block_size", block_size, largest=max(in_features, out_features))
        b, p, q = block_size, -(-out_features // block_size), -(-in_features // block_size)
        blocks = circulant(torch.arange(p * q * b).view(p, q, b))  # (out_blocks, in_blocks, b, b)
        rows, columns = (torch.rand(p, q, b).argsort(-1) for _ in range(2))
        blocks = blocks.take_along_dim(rows[..., :, None], 2)
        blocks = blocks.take_along_dim(columns[..., None, :], 3)
        table = blocks.transpose(1, 2).reshape(p * b, q * b)[:out_features, :in_features]
        super().__init__(table, p * q * b, **options)


class TileCirculantLinear(SharedLinear):
    """Layer for images whose blocks are circulant in both directions of a tile of pixels.

    Inputs and outputs are square images, row by row, cut into square tiles. Within a block, output
    pixel (r, c) of a tile weighs input pixel (r', c') by a number that depends on (r' - r, c' - c)
    modulo the tile's side alone.

    Args:
        in_features, out_features: pixels of an image, the same number.
        block_size: pixels of a tile, and how many times fewer weights are stored.
        arrangement: ``"local"`` tiles are squares of neighbouring pixels; ``"strided"`` tiles take
            every n-th pixel in both directions, so that the tile's shifts are shifts of the
            image; ``"raster"`` tiles are cut from the row of all pixels.
        options: of :class:`.StructuredLinear`.

    Raises:
        ValueError: if a size is no square, the sides do not divide, or the arrangement is unknown.
    """

    def __init__(self, in_features: int, out_features: int, block_size: int,
                 arrangement: str = "local", **options: Any) -> None:
        check_size("block_size", block_size)
        check_choice("arrangement", arrangement, ("local", "strided", "raster"))
        side, tile = math.isqrt(in_features), math.isqrt(block_size)
        if in_features != out_features or in_features != side**2 or block_size != tile**2 \
                or side % tile:
            raise ValueError("an image of in_features = out_features pixels and a tile of "
                             "block_size must be squares, whose sides divide; got "
                             f"{in_features}, {out_features} and {block_size}")
        n = side // tile  # tiles in a row of them
        pixels = torch.arange(side**2)
        if arrangement == "local":
            pixels = pixels.view(n, tile, n, tile).permute(0, 2, 1, 3)
        elif arrangement == "strided":
            pixels = pixels.view(tile, n, tile, n).permute(1, 3, 0, 2)
        numbers = torch.arange(n**4 * block_size)
        # Of each row of a tile a circulant matrix, and of these a circulant matrix of blocks.
        rows = circulant(numbers.view(n * n, n * n, tile, tile))  # (tiles, tiles, tile, tile, tile)
        blocks = block_circulant(rows.movedim(2, -1), "strided")  # (tiles, tiles, b, b)
        place = pixels.flatten().argsort()  # of each pixel, in the order of the tiles
        table = blocks.transpose(1, 2).reshape(side**2, side**2)[place][:, place]
        super().__init__(table, len(numbers), **options)


def _rank(in_features: int, out_features: int, ratio: float) -> int:
    """Return the rank r at which r * (in + out) is nearest to in * out / ``ratio``."""
    if not ratio >= 1:  # nor NaN
        raise ValueError(f"ratio must be 1 or more, got {ratio}")
    return max(1, round(in_features * out_features / (in_features + out_features) / ratio))


class LowRankLinear(StructuredLinear):
    """Linear layer whose weight matrix is a product of two thin ones: ``y = x (up down)^T + bias``.

    Args:
        ratio: how many times fewer weights it stores than a dense layer, roughly: the rank is
            rounded, and is at least 1.
        in_features, out_features, options: of :class:`.StructuredLinear`.

    Source: T. Sainath et al., "Low-rank matrix factorization for deep neural network training
    with high-dimensional output targets", ICASSP 2013.
    """

    def __init__(self, in_features: int, out_features: int, ratio: float, **options: Any) -> None:
        super().__init__(in_features, out_features, **options)
        rank = _rank(in_features, out_features, ratio)
        self.down, self.up = self._new(rank, in_features), self._new(out_features, rank)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        # The product's entries have the variance of nn.Linear's weights, 1 / (3 in_features).
        nn.init.normal_(self.up, std=self.up.shape[1] ** -0.5)
        self._draw(self.down, self.bias)

    def multiply(self, x: Tensor) -> Tensor:
        return F.linear(F.linear(x, self.down), self.up)

    def _project(self, matrix: Tensor) -> None:
        """The truncated singular value decomposition (Eckart and Young, 1936)."""
        rank = len(self.down)
        wide = torch.promote_types(matrix.dtype, torch.float32)
        u, s, v = torch.linalg.svd(matrix.to(wide), full_matrices=False)
        self.up.copy_(u[:, :rank] * s[:rank].sqrt())
        self.down.copy_(s[:rank, None].sqrt() * v[:rank])


class MonarchLinear(StructuredLinear):
    """Linear layer with two block-diagonal factors and a shuffle between them.

    Each of ``blocks`` blocks of ``first`` reads its own part of the input. The shuffle deals their
    outputs out like cards, so that each block of ``second`` reads some from every one of them. No
    weight is shared. The matrix has full rank if the sizes have a common divisor that is large.

    Args:
        ratio: how many times fewer weights it stores than a dense layer, roughly.
        in_features, out_features, options: of :class:`.StructuredLinear`.

    Raises:
        ValueError: if ``ratio`` is below 1.

    Source: T. Dao et al., "Monarch: Expressive Structured Matrices for Efficient and Accurate
    Training", ICML 2022 (arXiv 2204.00595), section 3.
    """

    def __init__(self, in_features: int, out_features: int, ratio: float, **options: Any) -> None:
        super().__init__(in_features, out_features, **options)
        width = _rank(in_features, out_features, ratio)  # of what lies between, per block
        common = math.gcd(in_features, out_features)
        enough = min(in_features, out_features) / width  # blocks for full rank
        self.blocks = m = next(d for d in range(1, common + 1)
                               if common % d == 0 and (d >= enough or d == common))
        self.first = self._new(m, width, in_features // m)
        self.second = self._new(m, out_features // m, width)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.second, std=self.second.shape[2] ** -0.5)
        bound = self.first.shape[2] ** -0.5
        nn.init.uniform_(self.first, -bound, bound)
        self._draw(self.bias)

    def multiply(self, x: Tensor) -> Tensor:
        m, width, _ = self.first.shape
        parts = x.unflatten(1, (m, -1)).transpose(0, 1)  # (blocks, tokens, in_features / blocks)
        middle = parts @ self.first.mT  # (blocks, tokens, width)
        # Number i of every block, then number i + 1, ...: cut anew, a part has some of all blocks.
        mixed = middle.permute(1, 2, 0).reshape(x.shape[0], m, width).transpose(0, 1)
        y = mixed @ self.second.mT  # (blocks, tokens, out_features / blocks)
        return y.transpose(0, 1).flatten(1)  # (tokens, out_features)


STRUCTURES: dict[str, type[StructuredLinear]] = {
    "block_circulant": BlockCirculantLinear, "random_sharing": RandomSharingLinear,
    "low_rank": LowRankLinear, "monarch": MonarchLinear}
