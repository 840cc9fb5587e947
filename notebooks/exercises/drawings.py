"""Pictures of attention and of a beam search, for notebook 05."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor

from circtools.report import style

Beginning = tuple[float, list[int]]  # of a translation: its log-probability and its tokens


def soft_look_up(keys: Mapping[str, Tensor], query: Tensor, weights: Tensor, answer: str) -> Figure:
    """Draw keys of two features and a query as arrows, and the weight of each key as a bar."""
    figure, (plane, bars) = plt.subplots(1, 2, figsize=(10, 4))
    for name, point in {**keys, "query": query}.items():
        x, y = point.tolist()
        color = style.BLUE if name == "query" else style.BLACK
        plane.annotate("", (x, y), (0, 0), arrowprops={"arrowstyle": "-|>", "color": color,
                                                       "linewidth": 2.5, "shrinkA": 0})
        plane.text(x, y, f" {name} ", color=color, ha="right" if x < 0 else "left", va="bottom")
    reach = max(2.6, 1.2 * query.abs().max().item())
    plane.set(xlim=(-reach, reach), ylim=(-reach, reach), xlabel="doglike", ylabel="catlike",
              title="keys and query")
    bars.barh(list(keys), weights.tolist(), color=style.BLUE)
    for row, weight in enumerate(weights.tolist()):
        bars.text(weight, row, f" {weight:.2f}", va="center")
    bars.set(xlim=(0, 1.15), xlabel="attention weight", title=answer)
    bars.invert_yaxis()
    return figure


def attention_weights(weights: Tensor, rows: Sequence[str], columns: Sequence[str], title: str
                      ) -> Figure:
    """Draw attention weights (queries, keys), with a token at each row and each column."""
    figure, axes = plt.subplots(figsize=(2 + 0.4 * len(columns), 2 + 0.3 * len(rows)))
    picture = axes.imshow(weights.numpy(force=True), cmap=style.SEQUENTIAL, vmin=0, aspect="auto")
    axes.grid(False)
    axes.set_xticks(range(len(columns)), columns, rotation=60, ha="right")
    axes.set_yticks(range(len(rows)), rows)
    axes.set_title(title, fontsize=13)
    figure.colorbar(picture, ax=axes, label="attention weight", shrink=0.8)
    return figure


def search_tree(steps: Sequence[Sequence[Beginning]], beam: int, names: Sequence[str]) -> Figure:
    """Draw a beam search: a column per step, the beginnings that are kept in bold.

    Args:
        steps: the beginnings that each step tries, which are one token longer than those before.
        beam: how many of them are kept.
        names: of all tokens, in the order of their indices.
    """
    figure, axes = plt.subplots(figsize=(10, 4.6))
    root = tuple(steps[0][0][1][:-1])
    places = {root: (0.0, 0.0)}  # of each beginning
    axes.text(0, 0, "(start) ", ha="right", va="center", fontweight="bold")
    for x, tried in enumerate(steps, start=1):
        kept = sorted(tried, reverse=True)[:beam]
        # In the order of those that they lengthen: so no lines cross.
        column = sorted(tried, key=lambda b: (places[tuple(b[1][:-1])][1], b[0]))
        for place, (total, tokens) in enumerate(column):
            y = place - (len(column) - 1) / 2
            before, bold = places[tuple(tokens[:-1])], (total, tokens) in kept
            axes.plot([before[0], x], [before[1], y], zorder=0, linewidth=3.5 if bold else 1,
                      color=style.BLACK if bold else "0.6")
            axes.text(x, y, f"{names[tokens[-1]]}\n{total:.2f}", ha="center", va="center",
                      fontweight="bold" if bold else "normal", color="0" if bold else "0.35",
                      bbox={"facecolor": "white", "edgecolor": "none", "pad": 2})
            places[tuple(tokens)] = (x, y)
    half = max(y for _, y in places.values()) + 0.6
    axes.set(xlim=(-0.4, len(steps) + 0.4), ylim=(-half, half),
             title=f"a beam of {beam}: each step keeps what is in bold")
    axes.axis("off")
    return figure
