"""What a live notebook has and a saved one has not: pictures that move, bars of progress."""

import importlib.util
import inspect
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import matplotlib.pyplot as plt
from IPython import get_ipython
from IPython.core.pylabtools import retina_figure
from IPython.display import DisplayHandle, Image, display
from matplotlib.figure import Figure

# ipywidgets gives the handles of its sliders no name that a screen reader could say.
NAMES = """
const name = () => element.closest(".jp-OutputArea, body").querySelectorAll(".widget-slider")
  .forEach(slider => slider.querySelector(".noUi-handle")
    ?.setAttribute("aria-label", slider.querySelector("label").textContent));
[0, 500, 2000].forEach(time => setTimeout(name, time));
"""


def moving(draw: Callable[..., Figure], **choices: Sequence[Any]) -> None:
    """Show ``draw()``; in a live notebook also a control per argument, which draws it again.

    Args:
        draw: returns a figure; its arguments have defaults, with which it is drawn first.
        choices: the values of each argument, in order: numbers get a slider, words a menu.
    """
    picture = DisplayHandle()
    if is_live():
        view = controls(draw, lambda figure: picture.update(quick(figure)),
                        choices)._repr_mimebundle_()
        del view["text/plain"]  # which is all that a saved notebook would show of them
        display(view, raw=True)
        display({"application/javascript": NAMES}, raw=True)
    picture.display(still(draw()))


class Bar:
    """A file for tqdm: a line in the output of a cell, which is empty when the bar is closed."""

    encoding = "utf-8"  # so that tqdm draws in steps finer than a letter

    def __init__(self, label: str, place: DisplayHandle) -> None:
        self.label, self.place = label, place

    def write(self, text: str) -> None:
        """Write over the line."""
        text = text.strip()
        self.place.update({"text/plain": f"{self.label}: {text}" if text else ""}, raw=True)


def bar(label: str) -> Bar | None:
    """Return where a training shows the time it still takes; None if nobody waits for it."""
    if not is_live():
        return None
    return Bar(label, _place(get_ipython().kernel.get_parent()["header"]["msg_id"]))


@lru_cache(maxsize=1)
def _place(request: str) -> DisplayHandle:
    """Return the one line for all trainings of a cell, known by the request that runs it."""
    return display({"text/plain": ""}, raw=True, display_id=True)


def is_live() -> bool:
    """Return whether somebody can move a slider: the request for this cell may ask for input."""
    # nbclient (so build.py, nbconvert) and nbval forbid it; JupyterLab, VS Code and Colab do not.
    kernel = getattr(get_ipython(), "kernel", None)
    return (kernel is not None and kernel.get_parent()["content"].get("allow_stdin", False)
            and importlib.util.find_spec("ipywidgets") is not None)


def controls(draw: Callable[..., Figure], show: Callable[[Figure], object],
             choices: dict[str, Sequence[Any]]) -> Any:
    """Return a box of widgets that show what they draw whenever one is moved."""
    import ipywidgets  # which the still picture does without

    made = {}
    for name, values in choices.items():
        kind = ipywidgets.Dropdown if isinstance(values[0], str) else ipywidgets.SelectionSlider
        made[name] = kind(options=values, value=inspect.signature(draw).parameters[name].default,
                          description=name.replace("_", " "))
        made[name].observe(lambda _: show(still(draw(
            **{name: control.value for name, control in made.items()}))), names="value")
    return ipywidgets.HBox([*made.values()], layout={"flex_flow": "row wrap"})


def quick(figure: Figure) -> Image:
    """Draw a figure without the palette, which makes a saved picture small and takes long."""
    picture, size = retina_figure(figure, bbox_inches="tight")
    return Image(picture, width=size["width"])


def still(figure: Figure) -> Figure:
    """Close a figure, which can still be shown: open, the cell would show it a second time."""
    plt.close(figure)
    return figure
