"""The Transformer's picture colours the matrices it is asked to."""

import warnings
from collections.abc import Sequence
from typing import get_args

import matplotlib.pyplot as plt
import pytest
from matplotlib.colors import same_color
from matplotlib.patches import Rectangle

from circtools.report import architecture, style


@pytest.mark.parametrize(("coloured", "tiles"), [
    ((), 0), (("attention",), 4 + 8), (("feed_forward",), 2 + 2), (("output",), 1),
    (get_args(architecture.Kind), 17)])
def test_the_matrices_asked_for_are_coloured(coloured: Sequence[architecture.Kind], tiles: int
                                             ) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = architecture.transformer(coloured)
        figure.canvas.draw()
    filled = [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle)
              and same_color(patch.get_facecolor(), style.SKY)]
    assert len(filled) == tiles + bool(coloured), "the legend shows one more"
    plt.close(figure)
