"""The picture of the encoder-decoder Transformer, with the compressed matrices coloured."""

from collections.abc import Sequence
from typing import Any, Literal

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, Rectangle

from circtools.report import style

Kind = Literal["attention", "feed_forward", "output"]  # of matrices
ATTENTION, FORWARD = ("QKVO", "attention"), ("12", "feed_forward")  # names of matrices, their kind
ENCODER = [("self-attention", *ATTENTION), ("feed-forward", *FORWARD)]
DECODER = [("masked self-attention", *ATTENTION), ("cross-attention", *ATTENTION),
           ("feed-forward", *FORWARD)]
GREY, PALE = "#D9D9D9", "#F4F4F4"
WIDTH, HEIGHT = 8.0, 2.9  # of a block
LEVELS = [4.1, 8.1, 12.1, 16.1]  # lower edges of the blocks of a stack


def transformer(coloured: Sequence[Kind] = (), layers: int = 3) -> Figure:
    """Draw the network of :mod:`circtools.transformer`; the ``coloured`` are compressed."""
    figure = plt.figure(figsize=(12, 10.2))
    axes = figure.add_subplot(aspect="equal", xlim=(-1.2, 25.2), ylim=(-1.6, 20.9))
    axes.axis("off")
    _column(axes, 6.0, "German words", ENCODER, layers, coloured)
    _column(axes, 18.0, "English words so far", DECODER, layers, coloured)
    top, across = LEVELS[2] + 0.1, LEVELS[1] + HEIGHT / 2  # from the encoder to the cross-attention
    axes.plot([6, 6, 12, 12], [top, top + 1.3, top + 1.3, across], color=style.BLACK, linewidth=2)
    arrow(axes, (12, across), (18 - WIDTH / 2, across))
    _text(axes, 9, top + 1.6, "keys and values", va="bottom")
    top = LEVELS[3]  # of the decoder
    arrow(axes, (18, top + 0.1), (18, top + 1.2))
    _box(axes, 18, top + 1.2, WIDTH, 1.8, zorder=2)
    _text(axes, 17.6, top + 2.1, "output", ha="right", zorder=3)
    _tile(axes, 19.2, top + 2.1, 1.2, "output" in coloured)
    arrow(axes, (18, top + 3.0), (18, top + 3.9))
    _text(axes, 18, top + 4.0, "scores of the next English word", size=17, va="bottom")
    if coloured:
        for y, filled, words in ((19.6, True, "compressed"), (17.9, False, "dense here")):
            _tile(axes, 1.2, y, 1.1, filled)
            _text(axes, 2.2, y, words, size=16, ha="left")
        _box(axes, 7.4, 17.35, 1.1, 1.1, facecolor=GREY)
        _text(axes, 8.2, 17.9, "never\ncompressed", size=16, ha="left")
    return figure


def _column(axes: Axes, x: float, words: str, stack: Sequence[tuple[str, str, str]],
            layers: int, coloured: Sequence[Kind]) -> None:
    _text(axes, x, -1.3, words, size=17, va="bottom")
    arrow(axes, (x, -0.3), (x, 0.5))
    _box(axes, x, 0.5, WIDTH, 1.5, facecolor=GREY)
    _text(axes, x, 1.25, "embedding + position")
    left, top = x - WIDTH / 2 - 1.1, LEVELS[len(stack)] - 0.5
    axes.add_patch(FancyBboxPatch((left, 2.7), WIDTH + 1.7, top - 2.7, zorder=0, facecolor=PALE,
                                  boxstyle="round,pad=0.1,rounding_size=0.5", edgecolor="#888888",
                                  linewidth=1.5))
    _text(axes, left, top + 0.25, f"{layers} layers", va="bottom", ha="left")
    below = 2.0
    for y, (name, matrices, kind) in zip(LEVELS, stack, strict=False):
        arrow(axes, (x, below), (x, y))
        _box(axes, x, y, WIDTH, HEIGHT, zorder=2)
        _text(axes, x, y + HEIGHT - 0.45, name, zorder=3)
        for i, matrix in enumerate(matrices):
            at = x + 1.85 * (i - (len(matrices) - 1) / 2)
            _tile(axes, at, y + 1.05, 1.5, kind in coloured)
            _text(axes, at, y + 1.05, matrix, size=16, zorder=5, bbox={
                "facecolor": "white", "edgecolor": "none", "pad": 1.5, "alpha": 0.9}
                if kind in coloured else None)
        above = y + HEIGHT + 0.45
        around = x - WIDTH / 2 - 0.7  # the residual connection goes round the block
        axes.plot([x, around, around, x - 0.3], [y - 0.45, y - 0.45, above, above],
                  color="#666666", linewidth=1.5)
        axes.plot([x, x], [y + HEIGHT, above], color=style.BLACK, linewidth=2)
        axes.add_patch(Circle((x, above), 0.3, facecolor="white", edgecolor=style.BLACK,
                              linewidth=1.5, zorder=3))
        _text(axes, x, above - 0.02, "+", zorder=4)
        below = above + 0.3
    axes.plot([x, x], [below, top + 0.6], color=style.BLACK, linewidth=2)


def _text(axes: Axes, x: float, y: float, text: str, size: float = 15, **more: Any) -> None:
    axes.text(x, y, text, fontsize=size, **({"ha": "center", "va": "center"} | more))


def _box(axes: Axes, x: float, y: float, width: float, height: float, **look: Any) -> None:
    """Draw a box whose lower edge has its middle at x and y."""
    look = {"facecolor": "white", "edgecolor": style.BLACK, "linewidth": 1.5, **look}
    axes.add_patch(Rectangle((x - width / 2, y), width, height, **look))


def _tile(axes: Axes, x: float, y: float, side: float, filled: bool) -> None:
    look: dict[str, Any] = {"facecolor": style.SKY, "hatch": "///"} if filled else {}
    _box(axes, x, y - side / 2, side, side, zorder=4, **look)


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw a straight arrow."""
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "linewidth": 2,
                                              "color": style.BLACK, "shrinkA": 0, "shrinkB": 0})
