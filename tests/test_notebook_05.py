"""Notebook 05: its pictures show what they are given, and exercise 5.1 is not given away."""

import math

import matplotlib.pyplot as plt
import torch
from test_notebooks import FOLDER

from exercises import drawings


def test_a_tree_shows_what_was_tried_and_what_was_kept() -> None:
    names = ["a", "b", "c", "d", "e"]
    steps = [[(-1.0, [0, 1]), (-0.5, [0, 2])],
             [(-2.0, [0, 1, 3]), (-1.1, [0, 1, 4]), (-0.7, [0, 2, 3]), (-3.0, [0, 2, 4])]]
    figure = drawings.search_tree(steps, 2, names)
    [axes] = figure.axes
    texts = {text.get_text(): text for text in axes.texts}
    assert set(texts) == {"(start) ", "b\n-1.00", "c\n-0.50", "d\n-2.00", "e\n-1.10", "d\n-0.70",
                          "e\n-3.00"}
    bold = {label for label, text in texts.items() if text.get_fontweight() == "bold"}
    assert bold == {"(start) ", "b\n-1.00", "c\n-0.50", "e\n-1.10", "d\n-0.70"}
    # Each line leads from a beginning to one that is a token longer; siblings stand together.
    ends = {tuple(line.get_xydata()[1]): tuple(line.get_xydata()[0]) for line in axes.lines}
    assert ends[texts["d\n-0.70"].get_position()] == texts["c\n-0.50"].get_position()
    assert ends[texts["e\n-1.10"].get_position()] == texts["b\n-1.00"].get_position()
    second = sorted((y, ends[x, y]) for x, y in ends if x == 2)
    assert second[0][1] == second[1][1] != second[2][1] == second[3][1]
    plt.close(figure)


def test_a_soft_look_up_shows_the_weights_of_the_keys() -> None:
    keys = {"left": torch.tensor([-2.0, 0.0]), "right": torch.tensor([2.0, 0.0])}
    figure = drawings.soft_look_up(keys, torch.tensor([0.0, 6.0]), torch.tensor([0.25, 0.75]), "x")
    plane, bars = figure.axes
    assert [bar.get_width() for bar in bars.patches] == [0.25, 0.75]
    assert plane.get_ylim()[1] > 6, "the query is in sight"
    assert bars.get_title() == "x"
    plt.close(figure)


def test_attention_weights_have_a_token_at_each_row_and_column() -> None:
    figure = drawings.attention_weights(torch.eye(2, 3), ["a", "b"], ["x", "y", "z"], "title")
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["x", "y", "z"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    assert math.isclose(axes.images[0].get_array()[1, 1], 1)
    plt.close(figure)


def test_exercise_1_is_not_given_away_before_it_is_asked() -> None:
    text = (FOLDER / "text" / "05_transformer_multi30k.py").read_text(encoding="utf-8")
    before, after = text.split('check("5.1", attend)')
    spoilers = ("triu", "tril", "masked_fill", "scaled_dot_product", "is_causal")
    assert not [word for word in spoilers if word in before]
    assert "def attention(" in after
