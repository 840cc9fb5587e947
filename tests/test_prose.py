"""How easily the notebooks read: each of them keeps to the targets that ``make prose`` shows."""

from pathlib import Path

import nbformat
import prose
import pytest


@pytest.mark.parametrize("path", sorted(prose.TEXTS.glob("*.py")), ids=lambda path: path.stem[:2])
def test_targets(path: Path) -> None:
    found = prose.read(path)
    over = [f"{size} {name}: {text}" for name, target in prose.TARGETS.items()
            for size, text in found[name] if size > target]
    assert not over, "\n".join(over)
    assert prose.mean(found) <= prose.MEAN


def test_prose_is_measured(tmp_path: Path) -> None:
    """A notebook with one of everything that counts, or does not."""
    text = tmp_path / "text" / "01_small.py"
    text.parent.mkdir()
    text.write_text("""# %% [markdown]
# # A heading does not count (at all)
#
# One call, e.g. `f(3). y`, and $a = (b)$ of 4.3 s. Is f(x) a [link (here)](to.md)?
#
# | a | b |
# | - | - |
# | 1 | 2 |
#
# * An item (one) at 8x and b = 16
#   (two), of 4 x 4.
#
# ```
# Code does not count.
# ```
# %%
1 + 1
# %% [markdown]
# After the cell.
#
# **References.** A. Author, Title.
#
# * Another one.
""", encoding="utf-8")
    table = "<table><tr><th></th><th>x</th></tr><tr><th>r</th><td>1</td></tr></table>"
    outputs = [nbformat.v4.new_output("stream", text="4 of 1,000 by 0.5\n"),
               nbformat.v4.new_output("display_data", {"text/html": table, "text/plain": "7"}),
               nbformat.v4.new_output("display_data", {"image/png": "", "text/plain": "640x480"})]
    cell = nbformat.v4.new_code_cell("1 + 1", outputs=outputs)
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "01_small.ipynb")
    found = prose.read(text)
    assert [size for size, _ in found["words in a sentence"]] == [9, 5, 13, 3]
    assert prose.mean(found) == 30 / 4
    assert [size for size, _ in found["parentheses in a paragraph"]] == [1, 2, 0]
    assert [size for size, _ in found["words between two pictures or cells of code"]] == [27, 3]
    assert [size for size, _ in found["rows of a table"]] == [1, 1]
    assert [size for size, _ in found["columns of a table"]] == [2, 2]
    assert [size for size, _ in found["numbers in a sentence"]] == [1, 0, 1, 0]
    assert found["numbers printed"] == [(4, "")]
