"""Every figure of ``figures/``, by its name, drawn from the results."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from circtools.experiments import results
from circtools.experiments.files import ROOT
from circtools.experiments.multi30k_runs import PRESETS
from circtools.report import architecture, comparisons, diagrams, headlines, style
from circtools.report import mnist_figures as mnist
from circtools.report import speed_figures as speed
from circtools.report import translation_figures as translation

FOLDER = ROOT / "figures"
HEADLINE = "Choose the weights or share them? On average less than one BLEU apart"
FIGURES: dict[str, Callable[[pd.DataFrame], Figure]] = {
    "block_circulant_ladder": lambda table: diagrams.block_circulant_ladder(),
    "technique_pruning": lambda table: diagrams.pruning_technique(),
    "technique_circulant": lambda table: diagrams.circulant_technique(),
    "compressed_transformer": lambda table: architecture.transformer(
        ("attention", "feed_forward"), PRESETS[comparisons.main_preset(table)].layers),
    "mnist_benchmark": mnist.mnist_benchmark,
    "mnist_gap": mnist.mnist_gap,
    "mnist_permuted": mnist.mnist_permuted,
    "sharing_or_structure": mnist.sharing_or_structure,
    "headline": partial(headlines.headline, title=HEADLINE),
    "translation_benchmark": translation.translation_benchmark,
    "translation_sets": translation.translation_sets,
    "translation_gap": translation.translation_gap,
    **{name: partial(translation.poster_panel, name=name) for name in translation.PANELS},
    "circulant_transformer": translation.circulant_transformer,
    "slightly_pruned": translation.slightly_pruned,
    "layer_speed": lambda table: speed.crossover_map(results.layer_timings(table), tokens=(256,)),
    "layer_speed_inference": lambda table: speed.crossover_map(results.layer_timings(table)),
    "layer_speed_training": lambda table: speed.crossover_map(
        results.layer_timings(table), tokens=(32, 256, 2048), mode="training"),
}


@style.context()
def make_all(table: pd.DataFrame, titles: Mapping[str, Callable[[], str]],
             folder: Path = FOLDER) -> list[Path]:
    """Write every figure as SVG and PNG, the same bytes for the same results; return the paths.

    The table is read from one folder. Figures have the titles of
    :func:`circtools.report.pages.titles`.

    Raises:
        ValueError: if the results do not say any more what a figure's title says.
        FileNotFoundError: if the layer's benchmark has left no timings in the table's folder.
    """
    paths = []
    for name, draw in FIGURES.items():
        figure = draw(table)
        if name in titles:  # the figures in the notebooks have none: there the reader looks first
            lines = [titles[name](), figure.get_suptitle()]
            figure.suptitle("\n".join(filter(None, lines)), fontsize=15, fontweight="bold")
        paths += style.save(figure, folder / name)
        plt.close(figure)
    return paths
