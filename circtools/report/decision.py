"""The chart that leads from what matters most to a method, with the numbers behind each branch."""

from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from circtools.report import style
from circtools.report.architecture import arrow
from circtools.report.pages import expect

# What matters most; a question; for yes and for no a method and its numbers, which are facts.
BRANCHES = (
    ("bytes", "May the network\nbe narrower?",
     ("A dense network half as wide",
      "{small_dense_4x_small.megabytes:.1f} MB instead of {dense_small.megabytes:.1f}, "
      "{small_dense_4x_small.bleu:.1f} BLEU instead of {dense_small.bleu:.1f}"),
     ("Tie the output layer, or prune it with the rest",
      "tied: {baseline_tied_small[megabytes]:.1f} MB, {baseline_tied_small[bleu].mean:.1f} BLEU\n"
      "pruned with the rest: {reach_pruned_all_small.megabytes:.1f} MB, "
      "{reach_pruned_all_small.bleu:.1f} BLEU")),
    ("seconds", "Are its layers\n1,024 wide or more?",
     ("Block-circulant or low-rank layers",
      "block-circulant at 2,048, b = 8: {speed_2048_256_8:.1f} times as fast"),
     ("A narrower dense network", "or 8-bit integers in another program")),
    ("weights", "Must files be small\nor layers fast as well?",
     ("Block-circulant layers", "16x: {block_circulant_16x_small.bleu:.1f} BLEU"),
     ("Pruning", "16x in rounds, {pruned_16x_small.epochs:.0f} epochs: "
      "{pruned_16x_small.bleu:.1f} BLEU\n16x while it is trained, "
      "{gradual_16x_small.epochs:.0f} epochs: {gradual_16x_small.bleu:.1f} BLEU")),
    ("accuracy", "Is the size counted\nin weights?",
     ("Pruning, though its lead is undecided",
      "{claim2_ahead_small.difference.mean:.2f} BLEU more than block-circulant\n(95 %: "
      "{claim2_ahead_small.difference.low:.2f} to {claim2_ahead_small.difference.high:.2f})"),
     ("Pruning or block-circulant layers",
      "files of equal size: pruning has {equal_size_small.mean:.2f} BLEU more\n"
      "(95 %: {equal_size_small.low:.2f} to {equal_size_small.high:.2f})")))
COLUMNS = (0.0, 1.9, 4.6, 8.8)  # the middles of root, branch, question and method


def flow_chart(facts: dict[str, Any]) -> Figure:
    """From bytes, seconds, weights or accuracy to a method, by one question each.

    BLEU and megabytes are of the preset ``small``. A ValueError says which arrow became false.
    """
    dense, narrow = facts["dense_small"], facts["small_dense_4x_small"]
    expect(narrow.bleu > dense.bleu - 1 and narrow.megabytes < dense.megabytes / 2,
           "half the width halves the file and loses less than one BLEU")
    tied, untied = facts["baseline_tied_small"], facts["baseline_untied_small"]
    expect(tied["bleu"].mean > untied["bleu"].mean, "a tied output layer costs nothing")
    pruned = facts["reach_pruned_all_small"]
    expect(pruned.bleu > dense.bleu - 1
           and narrow.megabytes < pruned.megabytes < tied["megabytes"],
           "a network that is pruned with its output layer loses less than one BLEU, and its file "
           "is smaller than a tied one's and larger than one's of half the width")
    expect(min(facts[f"speed_1024_{tokens}_8"] for tokens in (1, 32, 256, 2048)) > 1,
           "layers that are 1,024 wide gain")
    ahead, equal = facts["claim2_ahead_small"], facts["equal_size_small"]
    expect(ahead.verdict == "undecided" and ahead.difference.mean > 0
           and equal.mean > 0 > equal.low,
           "pruning leads at equal weights and in equal files, and neither lead is decided")
    figure, axes = plt.subplots(figsize=(10, 8.6))
    axes.set(xlim=(-0.7, 10.6), ylim=(-3.9, 3.9))
    axes.axis("off")
    middle = {"boxstyle": "round,pad=0.5", "facecolor": "white", "edgecolor": style.BLACK}
    for y, (saved, question, *methods) in zip((3, 1, -1, -3), BRANCHES, strict=True):
        arrow(axes, (COLUMNS[0], 0), (COLUMNS[1], y))
        arrow(axes, (COLUMNS[1], y), (COLUMNS[2], y))
        for answer, dy, (name, numbers) in zip(("yes", "no"), (0.5, -0.5), methods, strict=True):
            arrow(axes, (COLUMNS[2], y), (COLUMNS[3] - 2.1, y + dy))
            axes.text(COLUMNS[2] + 1.75, y + 0.55 * dy, answer, ha="center", va="center",
                      bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5}, zorder=4)
            axes.text(COLUMNS[3] - 2, y + dy + 0.14, name, fontweight="bold", va="bottom")
            axes.text(COLUMNS[3] - 2, y + dy + 0.08, numbers.format(**facts), va="top",
                      linespacing=1.3)
        _box(axes, COLUMNS[1], y, saved, middle | {"facecolor": style.YELLOW})
        _box(axes, COLUMNS[2], y, question, middle)
    _box(axes, COLUMNS[0], 0, "What matters\nmost?", middle)
    return figure


def _box(axes: Axes, x: float, y: float, text: str, look: dict[str, Any]) -> None:
    axes.text(x, y, text, ha="center", va="center", bbox=look, zorder=4)
