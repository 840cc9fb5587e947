"""Every figure of the poster and the README, drawn from the results into ``figures/``."""

from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from circtools import (
    architecture,
    claims,
    diagrams,
    figures,
    headlines,
    speed_figures,
    style,
    translation_claims,
    translation_figures,
)
from circtools.files import ROOT

FOLDER = ROOT / "figures"
MNIST: dict[str, Callable[[pd.DataFrame], Figure]] = {
    "mnist_benchmark": figures.mnist_benchmark,
    "mnist_gap": figures.mnist_gap,
    "mnist_permuted": figures.mnist_permuted,
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
    "layer_speed_inference": lambda cells: speed_figures.crossover_map(cells),
    "layer_speed_training": lambda cells: speed_figures.crossover_map(
        cells, tokens=(32, 256, 2048), mode="training"),
}
DIAGRAMS: dict[str, Callable[[], Figure]] = {
    "block_circulant_ladder": diagrams.block_circulant_ladder,
    "technique_pruning": diagrams.pruning_technique,
    "technique_circulant": diagrams.circulant_technique,
    "compressed_transformer": lambda: architecture.transformer(("attention", "feed_forward")),
}


def make_all(table: pd.DataFrame, folder: Path = FOLDER) -> list[Path]:
    """Write every figure that there are results for, as SVG and PNG.

    The same results give the same bytes.

    Args:
        table: rows of :func:`circtools.results.load`.
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
    cells = pd.DataFrame(speed_figures.load()["cells"])
    drawings |= {name: draw(cells) for name, draw in SPEED.items()}
    paths: list[Path] = []
    for name, figure in drawings.items():
        paths += style.save(figure, folder / name)
        plt.close(figure)
    return paths
