"""The picture of the encoder-decoder Transformer, with the compressed matrices coloured."""

from collections.abc import Sequence

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, Rectangle

from circtools.report import style

KINDS = ("attention", "feed_forward", "output")  # of matrices
GREY, PALE = "#D9D9D9", "#F4F4F4"
WIDTH = 8.0  # of a block
HEIGHT = 2.9


def transformer(coloured: Sequence[str] = (), layers: int = 3) -> Figure:
    """Draw the network of :mod:`circtools.transformer`, its weight matrices as tiles.

    Args:
        coloured: which matrices are compressed, of :data:`KINDS`; the others stay white.
        layers: how often the encoder's, and the decoder's, layer is repeated.

    Raises:
        ValueError: if a kind is unknown.
    """
    for kind in coloured:
        if kind not in KINDS:
            raise ValueError(f"coloured must be among {', '.join(KINDS)}, got {kind!r}")
    with style.context():
        figure = plt.figure(figsize=(12, 10.2))
        axes = figure.add_subplot(aspect="equal", xlim=(-1.2, 25.2), ylim=(-1.6, 20.9))
        axes.axis("off")
        attention, forward = (["Q", "K", "V", "O"], "attention"), (["1", "2"], "feed_forward")
        encoder = [("self-attention", *attention), ("feed-forward", *forward)]
        decoder = [("masked self-attention", *attention), ("cross-attention", *attention),
                   ("feed-forward", *forward)]
        for x, words, stack in ((6.0, "German words", encoder),
                                (18.0, "English words so far", decoder)):
            _column(axes, x, words, stack, layers, coloured)
        top = _level(2) + 0.1  # of the encoder: from there to the cross-attention
        axes.plot([6, 6, 12, 12], [top, top + 1.3, top + 1.3, _level(1) + HEIGHT / 2],
                  color=style.BLACK, linewidth=2)
        _arrow(axes, (12, _level(1) + HEIGHT / 2), (18 - WIDTH / 2, _level(1) + HEIGHT / 2))
        axes.text(9, top + 1.6, "keys and values", ha="center", va="bottom", fontsize=15)
        _arrow(axes, (18, _level(3) + 0.1), (18, _level(3) + 1.2))
        _block(axes, 18, _level(3) + 1.2, 1.8, "output", [""], "output", coloured)
        _arrow(axes, (18, _level(3) + 3.0), (18, _level(3) + 3.9))
        axes.text(18, _level(3) + 4.0, "scores of the next English word", ha="center",
                  va="bottom", fontsize=17)
        if coloured:
            _legend(axes)
    return figure


def _level(i: int) -> float:
    """Return the y of the lower edge of the i-th block of a stack."""
    return 4.1 + 4.0 * i


def _column(axes: Axes, x: float, words: str, stack: Sequence[tuple[str, list[str], str]],
            layers: int, coloured: Sequence[str]) -> None:
    axes.text(x, -1.3, words, ha="center", va="bottom", fontsize=17)
    _arrow(axes, (x, -0.3), (x, 0.5))
    axes.add_patch(Rectangle((x - WIDTH / 2, 0.5), WIDTH, 1.5, facecolor=GREY,
                             edgecolor=style.BLACK, linewidth=1.5))
    axes.text(x, 1.25, "embedding + position", ha="center", va="center", fontsize=15)
    bottom, top = 2.7, _level(len(stack)) - 0.5
    axes.add_patch(FancyBboxPatch((x - WIDTH / 2 - 1.1, bottom), WIDTH + 1.7, top - bottom,
                                  boxstyle="round,pad=0.1,rounding_size=0.5", facecolor=PALE,
                                  edgecolor="#888888", linewidth=1.5, zorder=0))
    axes.text(x - WIDTH / 2 - 1.1, top + 0.25, f"{layers} layers", fontsize=15, va="bottom",
              ha="left")
    below = 2.0
    for i, (name, tiles, kind) in enumerate(stack):
        y = _level(i)
        _arrow(axes, (x, below), (x, y))
        _block(axes, x, y, HEIGHT, name, tiles, kind, coloured)
        above = y + HEIGHT + 0.45
        left = x - WIDTH / 2 - 0.7
        axes.plot([x, left, left, x - 0.3], [y - 0.45, y - 0.45, above, above], color="#666666",
                  linewidth=1.5)  # the residual connection goes round the block
        axes.plot([x, x], [y + HEIGHT, above], color=style.BLACK, linewidth=2)
        axes.add_patch(Circle((x, above), 0.3, facecolor="white", edgecolor=style.BLACK,
                              linewidth=1.5, zorder=3))
        axes.text(x, above - 0.02, "+", ha="center", va="center", fontsize=15, zorder=4)
        below = above + 0.3
    axes.plot([x, x], [below, top + 0.6], color=style.BLACK, linewidth=2)


def _block(axes: Axes, x: float, y: float, height: float, name: str, tiles: Sequence[str],
           kind: str, coloured: Sequence[str]) -> None:
    """Draw one block with a square for each of its weight matrices."""
    axes.add_patch(Rectangle((x - WIDTH / 2, y), WIDTH, height, facecolor="white",
                             edgecolor=style.BLACK, linewidth=1.5, zorder=2))
    tall = height > 2  # the name stands above the tiles, or beside the only one
    axes.text(x if tall else x - 0.4, y + height - 0.45 if tall else y + height / 2, name,
              ha="center" if tall else "right", va="center", fontsize=15, zorder=3)
    side = 1.5 if tall else 1.2
    step = side + 0.35
    first = x - step * (len(tiles) - 1) / 2 if tall else x + 1.2
    for i, label in enumerate(tiles):
        center = (first + i * step, y + side / 2 + 0.3)
        _tile(axes, center, side, kind in coloured)
        axes.text(*center, label, ha="center", va="center", fontsize=16, zorder=5,
                  bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5, "alpha": 0.9}
                  if label and kind in coloured else None)


def _tile(axes: Axes, center: tuple[float, float], side: float, filled: bool) -> None:
    axes.add_patch(Rectangle((center[0] - side / 2, center[1] - side / 2), side, side, zorder=4,
                             facecolor=style.SKY if filled else "white", linewidth=1.5,
                             edgecolor=style.BLACK, hatch="///" if filled else None))


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "linewidth": 2,
                                              "color": style.BLACK, "shrinkA": 0, "shrinkB": 0})


def _legend(axes: Axes) -> None:
    for y, filled, words in ((19.6, True, "compressed"), (17.9, False, "dense here")):
        _tile(axes, (1.2, y), 1.1, filled)
        axes.text(2.2, y, words, va="center", fontsize=16)
    axes.add_patch(Rectangle((6.85, 17.35), 1.1, 1.1, facecolor=GREY, edgecolor=style.BLACK,
                             linewidth=1.5))
    axes.text(8.2, 17.9, "never\ncompressed", va="center", fontsize=16)
