"""Pictures of the two techniques and of the mathematics, drawn without any data.

Every picture of a circulant matrix gets its colours from ``circtools.circulant`` itself: the
matrix of the parameters' numbers is built first and coloured second.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, Rectangle
from torch import Tensor, nn

from circtools.compression import AMOUNT, masks, prune
from circtools.matrices import block_circulant, circulant, nearest_circulant, spectrum
from circtools.report import style

# --- matrices coloured by parameter ---------------------------------------------------------


def parameter_numbers(block_size: int, out_features: int, in_features: int) -> Tensor:
    """Return the number of the stored parameter that stands at each place, (out, in), padded."""
    p, q = -(-out_features // block_size), -(-in_features // block_size)
    return block_circulant(torch.arange(p * q * block_size).view(p, q, block_size))


def parameter_shades(numbers: Tensor, block_size: int, seed: int = 0) -> Tensor:
    """Return a shade in [0, 1) for each parameter number: far apart within a block."""
    generator = torch.Generator().manual_seed(seed)
    blocks = (int(numbers.max()) + 1) // block_size
    # The dtype is written out: another default would draw other colours.
    random = torch.rand(blocks, block_size + 1, generator=generator, dtype=torch.float32)
    rank, offset = random[:, 1:].argsort(-1), random[:, :1]  # (blocks, b), (blocks, 1)
    return ((rank + offset) / block_size).flatten()[numbers]  # the shape of numbers


def parameter_mosaic(
    axes: Axes, block_size: int, n: int, corner: tuple[float, float] = (0.0, 0.0)
) -> None:
    """Draw an n x n block-circulant matrix, one colour a parameter, the stored rows outlined.

    Args:
        axes: where to; a cell is one unit wide, rows grow downwards.
        block_size: the block size b.
        n: width of the matrix; ValueError if b does not divide it.
        corner: x and y of the top left corner of the matrix.
    """
    if n % block_size:
        raise ValueError(f"n must be a multiple of the block size {block_size}, got {n}")
    x, y = corner
    shades = parameter_shades(parameter_numbers(block_size, n, n), block_size)
    axes.imshow(shades, cmap=style.SEQUENTIAL, vmin=0, vmax=1, extent=(x, x + n, y + n, y))
    for start in range(0, n + 1, block_size):
        width = 2.5 if block_size > 1 else 0.8
        axes.plot([x + start] * 2, [y, y + n], color="white", linewidth=width)
        axes.plot([x, x + n], [y + start] * 2, color="white", linewidth=width)
    if block_size > 1:
        for i in range(0, n, block_size):
            for j in range(0, n, block_size):
                _outline(axes, x + j, y + i, block_size, 1, line=1.5 if block_size == 2 else 2.5)
    _bare(axes)


def _outline(axes: Axes, x: float, y: float, width: float, height: float, line: float = 2.5,
             color: str = style.BLACK) -> None:
    axes.add_patch(Rectangle((x, y), width, height, fill=False, edgecolor=color,
                             linewidth=line, joinstyle="miter", zorder=3, clip_on=False))


def _bare(axes: Axes) -> None:
    axes.grid(False)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _canvas(size: tuple[float, float], x: tuple[float, float], y: tuple[float, float],
            ) -> tuple[Figure, Axes]:
    """Return one bare axes that fills the figure, y growing downwards."""
    figure = plt.figure(figsize=size)
    axes = figure.add_subplot(aspect="equal", xlim=x, ylim=(y[1], y[0]))
    _bare(axes)
    return figure, axes


def block_circulant_ladder(n: int = 16) -> Figure:
    """The ladder b = 1, 2, 4, ..., n from the unstructured to the fully circulant matrix."""
    sizes = [2**k for k in range(n.bit_length()) if n % 2**k == 0]
    names = {1: "\nunstructured", n: "\nfully circulant"}
    with style.context():
        figure = plt.figure(figsize=(3.6 * len(sizes), 5.2))
        figure.get_layout_engine().set(w_pad=0.15, h_pad=0.15)
        panels = figure.subplots(1, len(sizes))
        for axes, b in zip(panels, sizes, strict=True):
            parameter_mosaic(axes, b, n)
            axes.set_title(f"b = {b}{names.get(b, chr(10))}", fontsize=22)
            stored = len(parameter_numbers(b, n, n).unique())
            smaller = f"{n * n // stored}x smaller" if b > 1 else "nothing saved"
            axes.set_xlabel(f"{stored} numbers\n{smaller}", fontsize=22)
    return figure


def circulant_technique(b: int = 6, blocks: int = 3, small: int = 4) -> Figure:
    """Rotate the first row: one circulant matrix of b rows, and a block version beside it."""
    n = blocks * small
    with style.context():
        figure, axes = _canvas((15, 7.4), (-5.8, 26.6), (-2.2, 14.0))
        _rotating_matrix(axes, b, cell=2.0)
        axes.text(b, -1.0, "Circulant: store one row, rotate it", ha="center", fontsize=22)
        axes.text(b, 2 * b + 1.4, f"{b} numbers instead of {b * b}", ha="center", fontsize=22)
        left = 2 * b + 2.2
        parameter_mosaic(axes, small, n, corner=(left, 0))
        axes.text(left + n / 2, -1.0, f"Block-circulant, b = {small}", ha="center", fontsize=22)
        axes.text(left + n / 2, n + 1.4, f"{n * n // small} numbers instead of {n * n}",
                  ha="center", fontsize=22)
        axes.set(xlim=(-5.8, 26.6), ylim=(14.0, -2.2))
    return figure


def _rotating_matrix(axes: Axes, b: int, cell: float) -> None:
    """Draw a circulant matrix with the names of its entries, and how each row makes the next."""
    numbers = circulant(torch.arange(b))
    shades = (numbers + 0.5) / b
    side = b * cell
    axes.imshow(shades, cmap=style.SEQUENTIAL, vmin=0, vmax=1, extent=(0, side, side, 0))
    for r in range(b):
        middle = (r + 0.5) * cell
        for c in range(b):
            shade = shades[r, c].item()
            axes.text((c + 0.5) * cell, middle, f"$w_{{{int(numbers[r, c])}}}$", ha="center",
                      va="center", fontsize=22, color="black" if shade > 0.55 else "white")
        label = "first row: stored" if r == 0 else "rotated right" if r == 1 else "..."
        if r <= 2:
            axes.text(-1.1, middle, label, ha="right", va="center", fontsize=18)
        if r < b - 1:  # what leaves on the right comes back on the left, one row below
            _arrow(axes, (side + 0.1, middle), (side + 1.1, middle), color=style.VERMILION)
            _arrow(axes, (-0.9, middle + cell), (0.05, middle + cell), color=style.VERMILION)
    for k in range(1, b):
        axes.plot([k * cell] * 2, [0, side], color="white", linewidth=1.5)
        axes.plot([0, side], [k * cell] * 2, color="white", linewidth=1.5)
    _outline(axes, 0, 0, side, cell, line=4.5)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float],
           color: str = style.BLACK, bend: float = 0.0) -> None:
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=22, linewidth=2.5,
                                   color=color, connectionstyle=f"arc3,rad={bend}", zorder=4,
                                   shrinkA=0, shrinkB=0))


def pruning_technique(n: int = 10, rounds: int = 6, seed: int = 3) -> Figure:
    """Train, zero the smallest weights, fine-tune, iterate; drawn with random weights."""
    generator = torch.Generator().manual_seed(seed)
    layer = nn.utils.skip_init(nn.Linear, n, n, bias=False, dtype=torch.float32)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(n, n, generator=generator, dtype=torch.float32))
    stages = [layer.weight.detach().clone()]
    for _ in range(rounds):
        prune([layer], AMOUNT)
        stages.append(layer.weight.detach().clone())
        with torch.no_grad():  # stands in for fine-tuning
            noise = torch.randn(n, n, generator=generator, dtype=torch.float32)
            layer.weight_orig += 0.35 * noise
        stages.append((layer.weight_orig * layer.weight_mask).detach())
    left = int(masks(nn.Sequential(layer))["0"].sum())

    first = int((stages[1] != 0).sum())
    titles = ["train", "zero the\nsmallest", "fine-tune\nthe rest", f"after\n{rounds} rounds"]
    notes = [f"{n * n} weights", f"{first} left", f"{first} left",
             f"{left} left\n{n * n / left:.1f}x smaller"]
    step = n + 5
    with style.context():
        figure, axes = _canvas((15, 6.0), (-0.5, 3 * step + n + 0.5), (-4.4, n + 6.4))
        chosen = [stages[0], stages[1], stages[2], stages[-1]]
        for k, (weights, title, note) in enumerate(zip(chosen, titles, notes, strict=True)):
            x = k * step
            _weights(axes, weights, x)
            axes.text(x + n / 2, -0.7, title, ha="center", va="bottom", fontsize=22,
                      linespacing=1.1)
            axes.text(x + n / 2, n + 0.6, note, ha="center", va="top", fontsize=20)
            if k < 3:
                _arrow(axes, (x + n + 0.6, n / 2), (x + step - 0.6, n / 2))
        _arrow(axes, (2 * step + n / 2, n + 2.6), (step + n / 2, n + 2.6), bend=-0.28)
        axes.text(1.5 * step + n / 2, n + 5.1, "iterate", ha="center", va="top", fontsize=22)
        axes.set(xlim=(-0.5, 3 * step + n + 0.5), ylim=(n + 6.4, -4.4))
    return figure


def _weights(axes: Axes, weights: Tensor, x: float) -> None:
    """Draw a weight matrix with its left edge at x: blue and red by sign, a dot where pruned."""
    n = len(weights)
    axes.imshow(weights, cmap=style.DIVERGING, vmin=-2.6, vmax=2.6, extent=(x, x + n, n, 0))
    for r, c in (weights == 0).nonzero().tolist():
        axes.add_patch(Rectangle((x + c, r), 1, 1, facecolor="white", edgecolor="white"))
        axes.add_patch(Circle((x + c + 0.5, r + 0.5), 0.11, color="0.6", linewidth=0))
    _outline(axes, x, 0, n, n, line=2)


def padded_layer(out_features: int, in_features: int, block_size: int) -> Figure:
    """A layer whose sizes the block does not divide: the matrix, and the padding it stores."""
    numbers = parameter_numbers(block_size, out_features, in_features)
    height, width = numbers.shape
    with style.context():
        figure = plt.figure(figsize=(9, 9 * height / width + 0.7))
        axes = figure.add_subplot()
        shades = parameter_shades(numbers, block_size)
        extent = (0, width, height, 0)
        axes.imshow(shades, cmap=style.SEQUENTIAL, vmin=0, vmax=1, extent=extent)
        for x, y, w, h in ((in_features, 0, width - in_features, height),
                           (0, out_features, in_features, height - out_features)):
            axes.add_patch(Rectangle((x, y), w, h, facecolor="white", alpha=0.72, hatch="//",
                                     edgecolor="0.4", linewidth=0))
        for k in range(block_size, width, block_size):
            axes.plot([k] * 2, [0, height], color="white", linewidth=3)
        for k in range(block_size, height, block_size):
            axes.plot([0, width], [k] * 2, color="white", linewidth=3)
        _outline(axes, 0, 0, in_features, out_features, line=4)
        axes.set(xlim=(-0.1, width + 0.1), ylim=(height + 0.1, -0.1))
        _bare(axes)
        axes.set_title(f"{out_features} x {in_features} with b = {block_size}: outlined is the "
                       "matrix,\nhatched the padding", fontsize=15)
    return figure


# --- the mathematics ------------------------------------------------------------------------


def weighted_shifts(row: Tensor) -> Figure:
    """A circulant matrix as the sum of the powers of the shift, each times one weight."""
    b = len(row)
    limit = row.abs().max().item()
    shift = circulant(torch.eye(b, dtype=row.dtype)[1])
    with style.context():
        figure = plt.figure(figsize=(13, 3.2))
        panels = figure.subplots(1, b + 1)
        power = torch.eye(b, dtype=row.dtype)
        for k, axes in enumerate(panels[1:]):
            _signed(axes, row[k] * power, limit)
            axes.set_title(f"{'=' if k == 0 else '+'}  $w_{k}\\,P^{k}$", fontsize=18)
            axes.set_xlabel(f"$w_{k}$ = {row[k].item():g}", fontsize=13)
            power = power @ shift
        _signed(panels[0], circulant(row), limit)
        panels[0].set_title("$C$", fontsize=18)
    return figure


def _signed(axes: Axes, matrix: Tensor, limit: float) -> None:
    height, width = matrix.shape
    axes.imshow(matrix, cmap=style.DIVERGING, vmin=-limit, vmax=limit, extent=(0, width, height, 0))
    _bare(axes)
    _outline(axes, 0, 0, width, height, line=1)


def fourier_vectors(b: int = 8) -> Figure:
    """The eigenvectors that all circulant matrices of size b share: waves around the circle."""
    positions = torch.arange(b)
    fine = torch.linspace(0, b, 200)
    with style.context():
        figure = plt.figure(figsize=(13, 4.6))
        for k, axes in enumerate(figure.subplots(2, b // 2, sharex=True, sharey=True).flat):
            for name, wave, color, marker, line in (
                ("real part", torch.cos, style.BLUE, "o", "-"),
                ("imaginary part", torch.sin, style.ORANGE, "s", "--"),
            ):
                turn = 2 * torch.pi * k / b
                axes.plot(fine, wave(turn * fine), color=color, linestyle=line, linewidth=1.2)
                axes.plot(positions, wave(turn * positions), linestyle="", marker=marker,
                          color=color, markersize=6, label=name)
            axes.set(title=f"k = {k}", xticks=[0, b // 2, b], yticks=[-1, 0, 1])
        figure.supxlabel("position c", fontsize=14)
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=2)
    return figure


def eigenvalue_planes(rows: Mapping[str, Tensor]) -> Figure:
    """The eigenvalues of the circulant matrices of these first rows, in the complex plane."""
    with style.context():
        figure = plt.figure(figsize=(4.4 * len(rows), 4.9))
        panels = figure.subplots(1, len(rows), squeeze=False)[0]
        for axes, (name, row) in zip(panels, rows.items(), strict=True):
            values = spectrum(row)
            axes.add_patch(Circle((0, 0), 1, fill=False, edgecolor="0.6", linestyle="--"))
            axes.axhline(0, color="0.6", linewidth=1)
            axes.axvline(0, color="0.6", linewidth=1)
            axes.plot(values.real, values.imag, "o", color=style.BLUE)
            axes.plot(values.real[0], values.imag[0], "D", color=style.VERMILION, markersize=10,
                      label="k = 0")
            limit = 1.15 * max(1.0, values.abs().max().item())
            axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal", title=name,
                     xlabel="real part")
        panels[0].set_ylabel("imaginary part")
        panels[0].legend(loc="upper left", handletextpad=0.1)
    return figure


def multiplication_counts(
    sizes: Sequence[int], dense: Sequence[int], fast: Sequence[int]
) -> Figure:
    """Multiplications of one matrix-vector product against its size, dense and by FFT."""
    with style.context():
        figure = plt.figure(figsize=(8, 4.6))
        axes = figure.add_subplot()
        axes.plot(sizes, dense, color=style.BLACK, marker="D", label="dense matrix")
        axes.plot(sizes, fast, color=style.BLUE, marker="o", label="circulant, by FFT")
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set(xlabel="n", ylabel="real multiplications")
        axes.legend()
    return figure


def projections(matrices: Mapping[str, Tensor], block_sizes: Sequence[int]) -> Figure:
    """Square matrices and their nearest block-circulant ones; b = 1 is the matrix itself."""
    with style.context():
        shape = (len(matrices), len(block_sizes))
        figure = plt.figure(figsize=(2.7 * shape[1], 2.6 * shape[0] + 0.5))
        grid = figure.subplots(*shape, squeeze=False)
        for axes, b in zip(grid[0], block_sizes, strict=True):
            axes.set_title(f"b = {b}")
        for panels, (name, matrix) in zip(grid, matrices.items(), strict=True):
            limit = matrix.abs().max().item()
            for axes, b in zip(panels, block_sizes, strict=True):
                _signed(axes, block_circulant(nearest_circulant(matrix, b)), limit)
            panels[0].set_ylabel(name)
    return figure


def losses(curves: Mapping[str, Mapping[int, float]]) -> Figure:
    """What the projection loses, relative to the matrix, against the block size."""
    looks = [{"color": style.VERMILION, "marker": "s"}, {"color": style.BLUE, "marker": "o"},
             {"color": style.GREEN, "marker": "^"}]
    with style.context():
        figure = plt.figure(figsize=(9, 4.8))
        axes = figure.add_subplot()
        sizes = sorted({b for curve in curves.values() for b in curve})
        axes.plot(sizes, [(1 - 1 / b) ** 0.5 for b in sizes], color=style.BLACK, linestyle=":",
                  label=r"$\sqrt{1 - 1/b}$", zorder=3)
        for (name, curve), look in zip(curves.items(), looks, strict=False):
            axes.plot(list(curve), list(curve.values()), label=name, **look)
        axes.set_xscale("log", base=2)
        axes.set_xticks(sizes, labels=[str(b) for b in sizes])
        axes.set(xlabel="block size b", ylabel="share of the norm that is lost", ylim=(-0.03, 1.05))
        figure.legend(loc="outside right center")
    return figure
