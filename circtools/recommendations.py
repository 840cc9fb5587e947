"""Which method, when: advice for practitioners, each with the numbers that support it."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from circtools import results, translation_claims
from circtools.multi30k_runs import PRESETS
from circtools.results import FACTORS, FEW
from circtools.translation_claims import levels_of
from circtools.verdicts import Interval, above_zero, with_all_levels


class Size:
    """What the results say of one size of the Transformer.

    Attributes:
        preset: its name.
        rejected: its networks whose settings were tried and not chosen.
        tuned: its tuned networks, untied, of the seeds that have all levels.
        each: the levels of claim 2, of :func:`circtools.translation_claims.compare`.
        mean: BLEU of pruned minus block-circulant at equal compression, over the levels.
        at_equal_size: the same in files of equal size, or None.
        sample: what the intervals are taken over.
    """

    def __init__(self, table: pd.DataFrame, preset: str, folder: Path) -> None:
        rows = table[(table["task"] == "multi30k") & (table["preset"] == preset)
                     & (table["tied"] == False)]  # noqa: E712 - a column of objects
        pairs = translation_claims.pairs_at_equal_compression(rows)
        seeds = with_all_levels(pairs)["seed"]
        self.preset = preset
        self.rejected = rows[rows["series"] == "rejected"]
        self.tuned = rows[(rows["series"] == "tuned") & rows["seed"].isin(seeds)]
        self.each, self.mean, self.sample = translation_claims.compare(pairs, folder)
        equal = translation_claims.pairs_at_equal_size(rows)
        self.at_equal_size = translation_claims.compare(equal, folder)[1] if len(equal) else None
        self.sizes = [f"{b}x" for b in equal["block_size"].unique()]

    def of(self, method: str) -> pd.DataFrame:
        """Return the rows of a method."""
        return self.tuned[self.tuned["method"] == method]

    def at(self, method: str, column: str = "test_bleu") -> list[float]:
        """Return the means over seeds of a column at 4x and 16x, or [] where one is missing."""
        rows = self.of(method)
        means = [rows.loc[levels_of(rows) == b, column].mean() for b in FEW]
        return means if np.isfinite(means).all() else []

    def within_one_bleu(self, method: str, by: str = "compression") -> pd.Series:
        """Tell for each compression of a method, in order, whether it costs at most one BLEU."""
        mean = self.of(method).groupby(["block_size", "round"])[[by, "test_bleu"]].mean()
        bleu = mean.set_index(by)["test_bleu"].sort_index()
        return bleu >= self.of("dense")["test_bleu"].mean() - 1

    def reach(self, method: str, by: str = "compression") -> str:
        """Return how far a method goes for one BLEU, and where before that it loses more."""
        near = self.within_one_bleu(method, by)
        if not near.any():
            return "nowhere" if len(near) else ""
        largest = near.index[near].max()
        # A curve of single runs is not smooth.
        but = [_times(x) for x, is_near in near.items() if x < largest and not is_near]
        return _times(largest) + (f" (not {_joined(but)})" if but else "")


def sizes(table: pd.DataFrame, folder: Path = results.FOLDER) -> list[Size]:
    """Return the sizes at which the two methods have been compared, the smallest first."""
    return [Size(table, preset, folder)
            for preset in reversed(translation_claims.presets_compared(table))]


def summary(sizes: Iterable[Size]) -> pd.DataFrame:
    """Return the numbers that the advice rests on, a column a size."""
    return pd.DataFrame({f"`{size.preset}`": _facts(size) for size in sizes}).fillna("")


def _facts(size: Size) -> dict[str, str]:
    p, each = PRESETS[size.preset], size.each
    decided = {sign: _joined(f"{b}x" for b in each.loc[each["decided"] == sign, "block_size"])
               for sign in (1, -1)}
    span = f"{each['block_size'].min()}x to {each['block_size'].max()}x"
    facts = {
        "Transformer": f"{p.layers} + {p.layers} layers, width {p.d_model}",
        "BLEU, dense": f"{size.of('dense')['test_bleu'].mean():.1f}",
        f"BLEU, pruned minus block-circulant: mean of {span}": _gap(size.mean),
        "... levels at which pruning is ahead (decided)": decided[1] or "none",
        "... levels at which block-circulant is ahead (decided)": decided[-1] or "none",
    }
    if size.at_equal_size:
        facts[f"... in files of equal size: mean of {size.sizes[0]} to {size.sizes[-1]}"] = _gap(
            size.at_equal_size)
    return facts | {
        "For one BLEU: pruning goes to": size.reach("pruned"),
        "... block-circulant layers to": size.reach("block_circulant"),
        "... pruning, output layer too, to (over all but the embeddings)":
            size.reach("pruned_all", "compression_all"),
        "Intervals, 95 %": size.sample,
    }


def advice(sizes: Iterable[Size]) -> list[str]:
    """Return what to do, a sentence or two each, as far as there are results for it."""
    found = list(sizes)
    lines = [_overall(found), _bytes(found), _smaller(found), _gradual(found), _projected(found),
             _output_layer(found), _learning_rate(found)]
    return [line for line in lines if line]


def _overall(found: list[Size]) -> str:
    heads = {"": "Which method keeps more depends on the size",
             "confirmed": "To store the fewest weights, prune",
             "refuted": "To store the fewest weights, share them in block-circulant layers",
             "undecided": "For the number of weights, the two methods are not surely different"}
    verdicts = {above_zero(size.mean) for size in found}
    head = heads[verdicts.pop() if len(verdicts) == 1 else ""]
    return (f"{head}: over all levels, pruning in rounds minus block-circulant layers is "
            f"{_at_each(found, lambda size: _gap(size.mean, ' BLEU'))}.")


def _bytes(found: list[Size]) -> str:
    known = [size for size in found if size.at_equal_size]
    if not known:
        return ""
    undecided = all(above_zero(size.at_equal_size) == "undecided" for size in known)
    gaps = _at_each(known, lambda size: _gap(size.at_equal_size, " BLEU"))

    def files(size: Size) -> str:
        pruned, circulant = (size.at(m, "file_bytes")[1] / 1e6 for m in ("pruned",
                                                                         "block_circulant"))
        whole = size.of("dense")["file_bytes"].mean() / 1e6
        return f"from {whole:.1f} MB to {pruned:.1f} and {circulant:.1f} MB"

    return (f"Count bytes, too, since a pruned weight stores its place: in files of equal size the "
            f"difference is {gaps}{', not decided' * undecided}. Layers at 16x, pruned "
            f"and block-circulant, shrink the file {_at_each(known, files)}: the rest is mostly "
            f"embeddings and the output layer.")


def _smaller(found: list[Size]) -> str:
    methods = {"small_dense": "", "pruned": ", where pruning has ",
               "block_circulant": " and block-circulant layers "}
    known = [size for size in found if all(size.at(name, "file_bytes") for name in methods)]
    if not known:
        return ""

    def text(size: Size) -> str:
        return "".join(
            f"{before}{_bleu(size.at(name))}{' BLEU' * (not before)} in "
            f"{_joined(f'{n / 1e6:.1f}' for n in size.at(name, 'file_bytes'))} MB"
            for name, before in methods.items())

    return (f"Try a smaller dense network first: its embeddings shrink, too. With as few weights "
            f"in its layers as at 4x and 16x it has {_at_each(known, text)}.")


def _gradual(found: list[Size]) -> str:
    known = [size for size in found
             if all(size.at(method, "epochs") for method in ("gradual", "pruned"))]
    if not known:
        return ""

    def text(size: Size) -> str:
        (epochs, _), rounds = (size.at(method, "epochs") for method in ("gradual", "pruned"))
        return (f"{_bleu(size.at('gradual'))} BLEU in {epochs:.0f} epochs, where rounds have "
                f"{_bleu(size.at('pruned'))} in {_joined(f'{n:.0f}' for n in rounds)}, and "
                f"block-circulant layers {_bleu(size.at('block_circulant'))} in {epochs:.0f}")

    return (f"Pruning does not need the rounds: done while the network is trained, at the dense "
            f"network's settings, it has at 4x and 16x {_at_each(known, text)}.")


def _projected(found: list[Size]) -> str:
    known = [size for size in found if size.at("projected", "epochs")]
    if not known:
        return ""

    def text(size: Size) -> str:
        return (f"{_bleu(size.at('projected'))} BLEU at 4x and 16x, where training from scratch "
                f"has {_bleu(size.at('block_circulant'))}")

    more = [known[0].at("projected", "epochs")[i]
            - known[0].of("dense")["epochs"].mean() for i in range(len(FEW))]
    return (f"A trained network can be made block-circulant: projected and fine-tuned for "
            f"{_joined(f'{n:.0f}' for n in more)} epochs it has {_at_each(known, text)}.")


def _output_layer(found: list[Size]) -> str:
    def text(size: Size) -> str:
        both, alone = (size.reach(method, "compression_all") for method in ("pruned_all", "pruned"))
        return f"{both} instead of {alone}"

    known = [size for size in found if size.reach("pruned_all", "compression_all")]
    return known and (
        f"Prune the output layer, too: for one BLEU all matrices but the embeddings then go to "
        f"{_at_each(known, text)}. (A block-circulant output layer has not been run.)")


def _learning_rate(found: list[Size]) -> str:
    lines = []
    for size in found[1:]:
        lent = size.rejected.merge(found[0].of("block_circulant")[["method", *FACTORS]]
                                   .drop_duplicates()).sort_values("block_size")
        own = size.of("block_circulant").set_index("block_size")["test_bleu"]
        if len(lent):
            blocks = _joined(f"{b}x" for b in lent["block_size"])
            lines.append(f"Choose the learning rate at the size that you will use: at "
                         f"`{size.preset}` block-circulant layers have {_bleu(lent['test_bleu'])} "
                         f"BLEU at {blocks} with the setting that is best at `{found[0].preset}`, "
                         f"and {_bleu(own[lent['block_size']])} with the one chosen there.")
    return " ".join(lines)


def _gap(mean: Interval, unit: str = "") -> str:
    return f"{mean.mean:+.2f}{unit} ({mean.low:+.2f} to {mean.high:+.2f})"


def _times(compression: float) -> str:
    return f"{compression:.2g}x" if compression < 99.5 else f"{compression:.0f}x"


def _bleu(values: Iterable[float]) -> str:
    return _joined(f"{value:.1f}" for value in values)


def _at_each(found: Iterable[Size], text: Callable[[Size], str]) -> str:
    return _joined(f"{text(size)} at `{size.preset}`" for size in found)


def _joined(words: Iterable[str]) -> str:
    *others, last = [*words] or [""]
    return f"{', '.join(others)} and {last}" if others else last
