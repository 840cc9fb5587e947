"""Pictures of the two techniques and of the mathematics, drawn without any data.

Circulant matrices are built of the numbers of their parameters, by ``circtools.matrices``, and then
coloured.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, Rectangle
from torch import Tensor, nn

from circtools.matrices import block_circulant, circulant, nearest_circulant, spectrum
from circtools.pruning import ORIGINAL, prune
from circtools.report import style

Range = tuple[float, float]


def parameter_numbers(block_size: int, out_features: int, in_features: int) -> Tensor:
    """Return the number of the stored parameter that stands at each place, (out, in), padded."""
    p, q = -(-out_features // block_size), -(-in_features // block_size)
    return block_circulant(torch.arange(p * q * block_size).view(p, q, block_size))


def parameter_shades(numbers: Tensor, block_size: int) -> Tensor:
    """Return a shade in [0, 1) for each parameter number: far apart within a block."""
    generator = torch.Generator().manual_seed(0)
    blocks = (int(numbers.max()) + 1) // block_size
    # The dtype is written out: another default would draw other colours.
    random = torch.rand(blocks, block_size + 1, generator=generator, dtype=torch.float32)
    rank, offset = random[:, 1:].argsort(-1), random[:, :1]  # (blocks, b), (blocks, 1)
    return ((rank + offset) / block_size).flatten()[numbers]  # the shape of numbers


def parameter_mosaic(axes: Axes, block_size: int, n: int, x: float = 0.0) -> None:
    """Draw an n x n block-circulant matrix, its left edge at x: one colour per parameter."""
    _show(axes, parameter_shades(parameter_numbers(block_size, n, n), block_size), x)
    starts = range(0, n, block_size)
    _grid(axes, x, (*starts, n), n, linewidth=2.5 if block_size > 1 else 0.8)
    if block_size > 1:
        for i in starts:
            for j in starts:
                _outline(axes, x + j, i, block_size, 1, line=1.5 if block_size == 2 else 2.5)
    _bare(axes)


def _show(axes: Axes, matrix: Tensor, x: float = 0, cell: float = 1, limit: float | None = None
          ) -> None:
    """Draw shades in [0, 1], or numbers up to a limit in blue and red, with the left edge at x."""
    height, width = matrix.shape
    low, colours = (0, style.SEQUENTIAL) if limit is None else (-limit, style.DIVERGING)
    axes.imshow(matrix.numpy(force=True), extent=(x, x + width * cell, height * cell, 0),
                cmap=colours, vmin=low, vmax=1 if limit is None else limit)


def _grid(axes: Axes, x: float, places: Sequence[float], side: float, linewidth: float) -> None:
    """Draw white lines across a square matrix at these places, both ways."""
    for place in places:
        axes.plot([x + place] * 2, [0, side], color="white", linewidth=linewidth)
        axes.plot([x, x + side], [place] * 2, color="white", linewidth=linewidth)


def _outline(axes: Axes, x: float, y: float, width: float, height: float, line: float) -> None:
    axes.add_patch(Rectangle((x, y), width, height, fill=False, edgecolor=style.BLACK,
                             linewidth=line, joinstyle="miter", zorder=3, clip_on=False))


def _bare(axes: Axes) -> None:
    axes.grid(False)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _canvas(size: Range, x: Range, y: Range) -> tuple[Figure, Axes]:
    """Return one bare axes that fills the figure, y growing downwards."""
    figure = plt.figure(figsize=size)
    axes = figure.add_subplot(aspect="equal", xlim=x, ylim=y)
    _bare(axes)
    axes.set_autoscale_on(False)
    return figure, axes


def block_circulant_ladder(n: int = 16) -> Figure:
    """The ladder b = 1, 2, 4, ..., n from the unstructured to the fully circulant matrix."""
    sizes = [2**k for k in range(n.bit_length())]
    names = {1: "\nunstructured", n: "\nfully circulant"}
    with plt.rc_context({"figure.constrained_layout.w_pad": 0.15,
                         "figure.constrained_layout.h_pad": 0.15}):
        figure, panels = plt.subplots(1, len(sizes), figsize=(3.6 * len(sizes), 5.2))
    for axes, b in zip(panels, sizes, strict=True):
        parameter_mosaic(axes, b, n)
        axes.set_title(f"b = {b}{names.get(b, chr(10))}", fontsize=22)
        smaller = f"{b}x smaller" if b > 1 else "nothing saved"
        axes.set_xlabel(f"{n * n // b} numbers\n{smaller}", fontsize=22)
    return figure


def circulant_technique() -> Figure:
    """Rotate the first row: one circulant matrix of b rows, and a block version beside it."""
    b, small, n = 6, 4, 12
    left = 2 * b + 2.2
    figure, axes = _canvas((15, 7.4), (-5.8, 26.6), (14.0, -2.2))
    _rotating_matrix(axes, b, cell=2.0)
    _text(axes, b, -1.0, "Circulant: store one row, rotate it")
    _text(axes, b, 2 * b + 1.4, f"{b} numbers instead of {b * b}")
    parameter_mosaic(axes, small, n, left)
    _text(axes, left + n / 2, -1.0, f"Block-circulant, b = {small}")
    _text(axes, left + n / 2, n + 1.4, f"{n * n // small} numbers instead of {n * n}")
    return figure


def _text(axes: Axes, x: float, y: float, text: str, size: float = 22, **more: Any) -> None:
    axes.text(x, y, text, fontsize=size, **({"ha": "center"} | more))


def _rotating_matrix(axes: Axes, b: int, cell: float) -> None:
    """Draw a circulant matrix with the names of its entries, and how each row makes the next."""
    numbers = circulant(torch.arange(b))
    shades = (numbers + 0.5) / b
    side = b * cell
    _show(axes, shades, cell=cell)
    for r, label in enumerate(["first row: stored", "rotated right", "..."] + [""] * (b - 3)):
        middle = (r + 0.5) * cell
        for c in range(b):
            _text(axes, (c + 0.5) * cell, middle, f"$w_{{{int(numbers[r, c])}}}$", va="center",
                  color="black" if shades[r, c] > 0.55 else "white")
        if label:
            _text(axes, -1.1, middle, label, 18, ha="right", va="center")
        if r < b - 1:  # what leaves on the right comes back on the left, one row below
            _arrow(axes, (side + 0.1, middle), (side + 1.1, middle), color=style.VERMILION)
            _arrow(axes, (-0.9, middle + cell), (0.05, middle + cell), color=style.VERMILION)
    _grid(axes, 0, [k * cell for k in range(1, b)], side, linewidth=1.5)
    _outline(axes, 0, 0, side, cell, line=4.5)


def _arrow(axes: Axes, start: Range, end: Range, color: str = style.BLACK, bend: float = 0.0
           ) -> None:
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=22, linewidth=2.5,
                                   color=color, connectionstyle=f"arc3,rad={bend}", zorder=4,
                                   shrinkA=0, shrinkB=0))


def pruning_technique() -> Figure:
    """Train, zero the smallest weights, fine-tune, iterate; drawn with random weights."""
    n, rounds = 10, 6
    stages = _pruned_weights(n, rounds)
    first, left = (int((weights != 0).sum()) for weights in (stages[1], stages[-1]))
    shown = [(stages[0], "train", f"{n * n} weights"),
             (stages[1], "zero the\nsmallest", f"{first} left"),
             (stages[2], "fine-tune\nthe rest", f"{first} left"),
             (stages[-1], f"after\n{rounds} rounds", f"{left} left\n{n * n / left:.1f}x smaller")]
    step = n + 5
    figure, axes = _canvas((15, 6.0), (-0.5, 3 * step + n + 0.5), (n + 6.4, -4.4))
    for k, (weights, title, note) in enumerate(shown):
        x = k * step
        _show(axes, weights, x, limit=2.6)
        for r, c in (weights == 0).nonzero().tolist():  # a dot where it is pruned
            axes.add_patch(Rectangle((x + c, r), 1, 1, facecolor="white", edgecolor="white"))
            axes.add_patch(Circle((x + c + 0.5, r + 0.5), 0.11, color="0.6", linewidth=0))
        _outline(axes, x, 0, n, n, line=2)
        _text(axes, x + n / 2, -0.7, title, va="bottom", linespacing=1.1)
        _text(axes, x + n / 2, n + 0.6, note, 20, va="top")
        if k < 3:
            _arrow(axes, (x + n + 0.6, n / 2), (x + step - 0.6, n / 2))
    _arrow(axes, (2 * step + n / 2, n + 2.6), (step + n / 2, n + 2.6), bend=-0.28)
    _text(axes, 1.5 * step + n / 2, n + 5.1, "iterate", va="top")
    return figure


def _pruned_weights(n: int, rounds: int) -> list[Tensor]:
    """Return random weights (n, n), pruned and moved in turns."""
    random = partial(torch.randn, n, n, dtype=torch.float32,
                     generator=torch.Generator().manual_seed(3))
    layer = nn.utils.skip_init(nn.Linear, n, n, bias=False)
    layer.weight = nn.Parameter(random(), requires_grad=False)
    stages = [layer.weight.clone()]
    for _ in range(rounds):
        prune([layer])
        stages.append(layer.weight)  # a new tensor each time
        layer.get_parameter(ORIGINAL).add_(0.35 * random())  # stands in for fine-tuning
        stages.append(layer.weight)
    return stages


def padded_layer(out_features: int, in_features: int, block_size: int) -> Figure:
    """A layer whose sizes the block does not divide: the matrix, and the padding it stores."""
    numbers = parameter_numbers(block_size, out_features, in_features)
    height, width = numbers.shape
    figure, axes = plt.subplots(figsize=(9, 9 * height / width + 0.7))
    _show(axes, parameter_shades(numbers, block_size))
    for x, y, w, h in ((in_features, 0, width - in_features, height),
                       (0, out_features, in_features, height - out_features)):
        axes.add_patch(Rectangle((x, y), w, h, facecolor="white", alpha=0.72, hatch="//",
                                 edgecolor="0.4", linewidth=0))
    axes.vlines(range(block_size, width, block_size), 0, height, color="white", linewidth=3)
    axes.hlines(range(block_size, height, block_size), 0, width, color="white", linewidth=3)
    _outline(axes, 0, 0, in_features, out_features, line=4)
    axes.set(xlim=(-0.1, width + 0.1), ylim=(height + 0.1, -0.1))
    _bare(axes)
    axes.set_title(f"{out_features} x {in_features} with b = {block_size}: outlined is the "
                   "matrix,\nhatched the padding", fontsize=15)
    return figure


def weighted_shifts(row: Tensor) -> Figure:
    """A circulant matrix as the sum of the powers of the shift, each times one weight."""
    b, limit = len(row), row.abs().max().item()
    shift = circulant(torch.eye(b, dtype=row.dtype)[1])
    figure, panels = plt.subplots(1, b + 1, figsize=(10, 2.8))
    for k, axes in enumerate(panels[1:]):
        _signed(axes, row[k] * torch.linalg.matrix_power(shift, k), limit)
        axes.set_title(f"{'=' if k == 0 else '+'}  $w_{k}\\,P^{k}$", fontsize=18)
        axes.set_xlabel(f"$w_{k}$ = {row[k].item():g}", fontsize=13)
    _signed(panels[0], circulant(row), limit)
    panels[0].set_title("$C$", fontsize=18)
    return figure


def _signed(axes: Axes, matrix: Tensor, limit: float) -> None:
    _show(axes, matrix, limit=limit)
    _bare(axes)
    _outline(axes, 0, 0, matrix.shape[1], matrix.shape[0], line=1)


def fourier_vectors(b: int = 8) -> Figure:
    """The eigenvectors that all circulant matrices of size b share: waves around the circle."""
    positions, fine = np.arange(b), np.linspace(0, b, 200)
    waves = [("real part", np.cos, "o", "-", style.BLUE),
             ("imaginary part", np.sin, "s", "--", style.ORANGE)]
    figure, panels = plt.subplots(2, b // 2, sharex=True, sharey=True, figsize=(10, 4.6))
    for k, axes in enumerate(panels.flat):
        turn = 2 * np.pi * k / b
        for name, wave, marker, line, color in waves:
            axes.plot(fine, wave(turn * fine), line, color=color, linewidth=1.2)
            axes.plot(positions, wave(turn * positions), marker, color=color, markersize=6,
                      label=name)
        axes.set(title=f"k = {k}", xticks=[0, b // 2, b], yticks=[-1, 0, 1])
    figure.supxlabel("position c", fontsize=14)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def eigenvalue_planes(rows: Mapping[str, Tensor]) -> Figure:
    """The eigenvalues of the circulant matrices of these first rows, in the complex plane."""
    lines = -(-len(rows) // 2)
    figure, panels = plt.subplots(lines, 2, squeeze=False, figsize=(8, 4.2 * lines))
    reach = max(spectrum(row).abs().max().item() for row in rows.values())
    for axes, (name, row) in zip(panels.flat, rows.items(), strict=True):
        _eigenvalues(axes, row, reach)
        axes.set_title(name)
        axes.label_outer()
    panels[0, 0].legend(loc="upper left", handletextpad=0.1)
    return figure


def _eigenvalues(axes: Axes, row: Tensor, reach: float) -> None:
    """Draw the unit circle and the eigenvalues; the axes go to ``reach``, or as far as those."""
    values = spectrum(row)
    axes.add_patch(Circle((0, 0), 1, fill=False, edgecolor="0.6", linestyle="--"))
    axes.axhline(0, color="0.6", linewidth=1)
    axes.axvline(0, color="0.6", linewidth=1)
    axes.plot(values.real, values.imag, "o", color=style.BLUE)
    axes.plot(values.real[0], values.imag[0], "D", color=style.VERMILION, markersize=10,
              label="k = 0")
    limit = 1.15 * max(reach, values.abs().max().item())
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal", xlabel="real part",
             ylabel="imaginary part")


def matrix_and_spectrum(row: Tensor) -> Figure:
    """The circulant matrix of a first row of weights in [-1, 1], and its eigenvalues."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4.4))
    _signed(left, circulant(row), 1)
    _outline(left, 0, 0, len(row), 1, line=4)
    for c, weight in enumerate(row.tolist()):
        _text(left, c + 0.5, 0.5, f"{weight:g}", 12, va="center",
              color="white" if abs(weight) > 0.6 else "black")
    left.set_title("C")
    _eigenvalues(right, row, reach=2)
    right.set_title("eigenvalues")
    right.legend(loc="upper left", handletextpad=0.1)
    return figure


def multiplication_counts(sizes: Sequence[int], dense: Sequence[int], fast: Sequence[int]
                          ) -> Figure:
    """Multiplications of one matrix-vector product against its size, dense and by FFT."""
    counts = pd.DataFrame({"dense matrix": dense, "circulant, by FFT": fast}, index=sizes)
    figure, axes = plt.subplots(figsize=(8, 4.6))
    counts.plot(ax=axes, logy=True, style=["D-", "o-"], color=[style.BLACK, style.BLUE],
                xlabel="n", ylabel="real multiplications")
    axes.set_xscale("log", base=2)
    return figure


def projections(matrices: Mapping[str, Tensor], block_sizes: Sequence[int]) -> Figure:
    """Square matrices and their nearest block-circulant ones; b = 1 is the matrix itself."""
    rows, columns = len(matrices), len(block_sizes)
    figure, grid = plt.subplots(rows, columns, squeeze=False,
                                figsize=(2 * columns, 2 * rows + 0.5))
    for axes, b in zip(grid[0], block_sizes, strict=True):
        axes.set_title(f"b = {b}")
    for panels, (name, matrix) in zip(grid, matrices.items(), strict=True):
        limit = matrix.abs().max().item()
        for axes, b in zip(panels, block_sizes, strict=True):
            _signed(axes, block_circulant(nearest_circulant(matrix, b)), limit)
        panels[0].set_ylabel(name)
    return figure


def kept_and_lost(matrix: Tensor, block_size: int) -> Figure:
    """A square matrix, its nearest block-circulant one and what that loses, in one scale."""
    kept = block_circulant(nearest_circulant(matrix, block_size))
    parts = {"matrix": matrix, "kept": kept, "lost": matrix - kept}
    figure, panels = plt.subplots(1, 3, figsize=(10, 3.9))
    for axes, (name, part) in zip(panels, parts.items(), strict=True):
        _signed(axes, part, matrix.abs().max().item())
        axes.set_title(f"{name}: {part.norm() / matrix.norm():.0%} of the norm")
    return figure


def losses(curves: Mapping[str, Mapping[int, float]]) -> Figure:
    """What the projection loses, relative to the matrix, against the block size."""
    lost = pd.DataFrame(curves)  # (block sizes, matrices)
    sizes = lost.index
    figure, axes = plt.subplots(figsize=(9, 4.8))
    axes.plot(sizes, (1 - 1 / sizes) ** 0.5, ":", color=style.BLACK, label=r"$\sqrt{1 - 1/b}$",
              zorder=3)
    lost.plot(ax=axes, style=["s-", "o-", "^-"], legend=False,
              color=[style.VERMILION, style.BLUE, style.GREEN])
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, labels=sizes)
    axes.set(xlabel="block size b", ylabel="share of the norm that is lost", ylim=(-0.03, 1.05))
    figure.legend(loc="outside right center")
    return figure
