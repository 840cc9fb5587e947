"""The chart that leads from what must be saved to a method, with the numbers behind each branch."""

from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from circtools.report import style
from circtools.report.architecture import arrow
from circtools.report.pages import expect

# What must be saved; a question; for yes and for no a method and its numbers, which are facts.
BRANCHES = (
    ("bytes", "May the network\nbe narrower?",
     ("A dense network half as wide",
      "{narrow.megabytes:.1f} MB instead of {dense.megabytes:.1f}, {lost:.1f} BLEU less"),
     ("Block-circulant layers", "blocks of b: b times fewer weights,\nno index is stored")),
    ("seconds", "Are its layers\n1,024 wide or more?",
     ("Block-circulant or low-rank layers",
      "block-circulant at 2,048, b = 8: {speed:.1f} times as fast"),
     ("A narrower dense network", "or 8-bit integers in another program")),
    ("weights", "Must files be small\nor layers fast as well?",
     ("Block-circulant layers", "16x: {shared.bleu:.1f} BLEU"),
     ("Pruning",
      "16x in rounds, {rounds.epochs:.0f} epochs: {rounds.bleu:.1f} BLEU\n"
      "16x while it is trained, {gradual.epochs:.0f} epochs: {gradual.bleu:.1f} BLEU")))
COLUMNS = (0.0, 1.9, 4.6, 8.8)  # the middles of root, branch, question and method


def flow_chart(facts: dict[str, Any]) -> Figure:
    """From what must be saved (bytes, seconds or weights) to a method, by one question each.

    BLEU and megabytes are of the preset ``small``, the speed is of one layer in inference. The
    facts are those of :func:`circtools.report.facts.facts`.

    Raises:
        ValueError: if the facts do not support an arrow any more.
    """
    dense, narrow = facts["dense_small"], facts["small_dense_4x_small"]
    expect(narrow.bleu > dense.bleu - 1 and narrow.megabytes < dense.megabytes / 2,
           "half the width halves the file and loses less than one BLEU")
    expect(min(facts[f"speed_1024_{tokens}_8"] for tokens in (1, 32, 256, 2048)) > 1,
           "layers that are 1,024 wide gain")
    values = {"dense": dense, "narrow": narrow, "lost": dense.bleu - narrow.bleu,
              "speed": facts["speed_2048_256_8"], "rounds": facts["pruned_16x_small"],
              "gradual": facts["gradual_16x_small"],
              "shared": facts["block_circulant_16x_small"]}
    figure, axes = plt.subplots(figsize=(13, 6))
    axes.set(xlim=(-0.7, 10.6), ylim=(-2.9, 2.9))
    axes.axis("off")
    middle = {"boxstyle": "round,pad=0.5", "facecolor": "white", "edgecolor": style.BLACK}
    for y, (saved, question, *methods) in zip((2, 0, -2), BRANCHES, strict=True):
        arrow(axes, (COLUMNS[0], 0), (COLUMNS[1], y))
        arrow(axes, (COLUMNS[1], y), (COLUMNS[2], y))
        for answer, dy, (name, numbers) in zip(("yes", "no"), (0.5, -0.5), methods, strict=True):
            arrow(axes, (COLUMNS[2], y), (COLUMNS[3] - 2.1, y + dy))
            axes.text(COLUMNS[2] + 1.75, y + 0.55 * dy, answer, ha="center", va="center",
                      bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5}, zorder=4)
            axes.text(COLUMNS[3] - 2, y + dy + 0.14, name, fontweight="bold", va="bottom")
            axes.text(COLUMNS[3] - 2, y + dy + 0.08, numbers.format(**values), va="top",
                      linespacing=1.3)
        _box(axes, COLUMNS[1], y, saved, middle | {"facecolor": style.YELLOW})
        _box(axes, COLUMNS[2], y, question, middle)
    _box(axes, COLUMNS[0], 0, "What must\nbe saved?", middle)
    return figure


def _box(axes: Axes, x: float, y: float, text: str, look: dict[str, Any]) -> None:
    axes.text(x, y, text, ha="center", va="center", bbox=look, zorder=4)
