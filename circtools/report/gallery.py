"""Every figure of the poster and the README, drawn from the results into ``figures/``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from circtools.experiments.files import ROOT
from circtools.experiments.multi30k_runs import PRESETS
from circtools.report import (
    architecture,
    claims,
    diagrams,
    facts,
    headlines,
    mnist_figures,
    speed_figures,
    style,
    translation_claims,
    translation_figures,
)

FOLDER = ROOT / "figures"
MNIST: dict[str, Callable[[pd.DataFrame], Figure]] = {
    "mnist_benchmark": mnist_figures.mnist_benchmark,
    "mnist_gap": mnist_figures.mnist_gap,
    "mnist_permuted": mnist_figures.mnist_permuted,
}
TRANSLATION: dict[str, Callable[[pd.DataFrame], Figure]] = {
    "headline": lambda table: headlines.headline(
        table, title="Choose the weights or share them? On average less than one BLEU apart"),
    "translation_benchmark": translation_figures.translation_benchmark,
    "translation_sets": translation_figures.translation_sets,
    "translation_gap": translation_figures.translation_gap,
    "pruned_transformer": translation_figures.pruned_transformer,
    "pruned_entire_network": translation_figures.pruned_entire_network,
    "block_circulant_transformer": translation_figures.block_circulant_transformer,
    "circulant_transformer": translation_figures.circulant_transformer,
    "slightly_pruned": translation_figures.slightly_pruned,
}
SPEED: dict[str, Callable[[pd.DataFrame], Figure]] = {
    "layer_speed": lambda cells: speed_figures.crossover_map(cells, tokens=(256,)),
    "layer_speed_inference": lambda cells: speed_figures.crossover_map(cells),
    "layer_speed_training": lambda cells: speed_figures.crossover_map(
        cells, tokens=(32, 256, 2048), mode="training"),
}
DIAGRAMS: dict[str, Callable[[], Figure]] = {
    "block_circulant_ladder": diagrams.block_circulant_ladder,
    "technique_pruning": diagrams.pruning_technique,
    "technique_circulant": diagrams.circulant_technique,
    "compressed_transformer": lambda: architecture.transformer(
        ("attention", "feed_forward"), PRESETS["small"].layers),
}


# What a figure shows, and by which facts that is so; the figures in the notebooks have none of it,
# because there the reader looks first.
TITLES: dict[str, tuple[str, Callable[[dict[str, Any]], bool]]] = {
    "mnist_benchmark": ("MNIST: the two are close up to 28x, then pruning is ahead",
                        lambda f: f["claim1_first"].above == [49, 98, 196]
                        and not f["claim1_first"].below),
    "mnist_gap": ("MNIST: pruning is ahead from 49x to 196x, and nowhere else is it decided",
                  lambda f: f["claim1_first"].above == [49, 98, 196]
                        and not f["claim1_first"].below),
    "mnist_permuted": ("MNIST: large blocks use the order of the pixels, small ones do not",
                       lambda f: f["claim4_order"].above == [16, 196, 784]
                       and not f["claim4_order"].below),
    "translation_benchmark": (
        "At 16x the larger Transformer loses less than the smaller one",
        lambda f: (f["pruned_16x_base"].bleu - f["dense_base"].bleu
                   > f["pruned_16x_small"].bleu - f["dense_small"].bleu)),
    "translation_gap": ("No measured difference reaches two BLEU",
                        lambda f: all(abs(level.mean) < 2 for preset in f["sizes"]
                                      for level in f[f"levels_{preset}"])),
    "translation_sets": (
        "Counted in bytes, a narrower dense network is the rival",
        lambda f: (f["small_dense_4x_small"].megabytes < f["pruned_16x_small"].megabytes
                   and f["small_dense_4x_small"].bleu > f["pruned_16x_small"].bleu)),
    "pruned_transformer": (
        "Pruning costs less than half a BLEU up to 8x",
        lambda f: all(f[f"pruned_{level}x_small"].bleu > f["dense_small"].bleu - 0.5
                      for level in (2, 4, 8))),
    "pruned_entire_network": (
        "The output layer can be pruned, too: 4x for less than half a BLEU",
        lambda f: (f["reach_pruned_all_small"].compression_all > 4
                   and f["reach_pruned_all_small"].bleu > f["dense_small"].bleu - 0.5)),
    "block_circulant_transformer": (
        "Sharing costs about half a BLEU at 4x, and two at 16x",
        lambda f: (0.2 < f["dense_small"].bleu - f["block_circulant_4x_small"].bleu < 0.9
                   and 1.5 < f["dense_small"].bleu - f["block_circulant_16x_small"].bleu < 2.5)),
    "slightly_pruned": ("One round of pruning does not beat the dense network",
                        lambda f: f["claim3_dense_small"].verdict == "refuted"),
}


def make_all(table: pd.DataFrame, folder: Path = FOLDER) -> list[Path]:
    """Write every figure that there are results for, as SVG and PNG.

    The same results give the same bytes.

    Args:
        table: rows of :func:`circtools.experiments.results.load`.
        folder: where to.

    Raises:
        ValueError: if the table has no MNIST results of the preset ``base``.
        FileNotFoundError: if the layer's benchmark has left no timings.
    """
    mnist = claims.of_mnist(table)
    if mnist.empty:
        raise ValueError("there are no results of the preset 'base' to draw; run "
                         "'circtools run mnist' first, or get data/results from the repository")
    drawings = {name: draw(mnist) for name, draw in MNIST.items()}
    drawings |= {name: draw() for name, draw in DIAGRAMS.items()}
    if translation_claims.main_preset(table) is not None:
        rows = translation_figures.of_multi30k(table)
        missing = {"pruned_entire_network": "pruned_all" not in set(rows["method"]),
                   "circulant_transformer": not translation_figures.has_circulant(rows)}
        drawings |= {name: draw(table) for name, draw in TRANSLATION.items()
                     if not missing.get(name)}
        values = facts.facts(table)
        for name, (title, holds) in TITLES.items():
            if name in drawings:
                if not holds(values):
                    raise ValueError(f"the results do not say any more: {title!r}; give the figure "
                                     f"{name} another title in circtools/report/gallery.py")
                drawings[name].suptitle("\n".join(filter(None, [
                    title, drawings[name].get_suptitle()])), fontsize=15, fontweight="bold")
    cells = pd.DataFrame(speed_figures.load()["cells"])
    drawings |= {name: draw(cells) for name, draw in SPEED.items()}
    paths: list[Path] = []
    for name, figure in drawings.items():
        paths += style.save(figure, folder / name)
        plt.close(figure)
    return paths
