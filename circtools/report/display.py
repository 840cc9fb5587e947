"""How notebooks show pictures and tables: sharp on dense screens, words aligned on the left."""

import re
from io import BytesIO
from typing import Any

import pandas as pd
from IPython.core.pylabtools import retina_figure
from matplotlib.figure import Figure
from PIL import Image


def use(shell: Any) -> None:
    """Show what the cells of this notebook return in the course's way."""
    formatters = shell.display_formatter.formatters
    formatters["image/png"].for_type(Figure, sharp)
    formatters["text/html"].for_type(pd.DataFrame, readable)


def sharp(figure: Figure) -> tuple[bytes, dict[str, int]]:
    """Return a PNG with twice the dots of its width, and the width; a palette keeps it small."""
    picture, size = retina_figure(figure, bbox_inches="tight")
    file = BytesIO()
    few = Image.open(BytesIO(picture)).convert("RGB").quantize(
        256, kmeans=1, dither=Image.Dither.NONE)
    few.save(file, "PNG", optimize=True)
    return file.getvalue(), {"width": size["width"]}


def readable(table: pd.DataFrame) -> str:
    """Return a table as HTML in which words are aligned on the left, and numbers on the right."""
    columns = [_is_prose(table.iloc[:, place]) for place in range(table.shape[1])]
    label = any(_is_prose(level) for _, level in table.index.to_frame().items())

    def align(row: re.Match[str]) -> str:
        start, *cells = re.split("(?=<t[hd])", row[0])
        labels = len(cells) - len(columns)
        if labels < 0:  # a header over several columns
            return row[0]
        return start + "".join(
            re.sub("^<t[hd]", r'\g<0> style="text-align: left"', cell) if left else cell
            for cell, left in zip(cells, [label] * labels + columns, strict=True))

    return re.sub("<tr.*?</tr>", align, table._repr_html_(), flags=re.DOTALL)


def _is_prose(values: "pd.Series[object]") -> bool:
    """Return whether most of what is written is letters."""
    text = "".join(value for value in values if isinstance(value, str))
    return 2 * sum(map(str.isalpha, text)) > len(text)
