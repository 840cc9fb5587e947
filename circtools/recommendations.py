"""Which method, when: advice for practitioners, each with the numbers that support it."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from pandas.api.typing import DataFrameGroupBy

from circtools import results, translation_claims
from circtools.multi30k_runs import PRESETS
from circtools.results import FACTORS, FEW, select
from circtools.translation_claims import levels_of
from circtools.verdicts import Interval, above_zero, verdict_over_levels

METHODS = {"pruned": "Pruned in rounds", "gradual": "Pruned while it is trained",
           "block_circulant": "Block-circulant", "projected": "Block-circulant, projected",
           "small_dense": "Smaller dense", "low_rank": "Low rank"}
SHOWN: dict[str, tuple[Callable[[float], str], str]] = {
    "test_bleu": ("{:.1f}".format, "BLEU"), "file_bytes": (lambda n: f"{n / 1e6:.1f}", "MB"),
    "epochs": ("{:.0f}".format, "epochs")}


class Reach(NamedTuple):
    """How far a method goes for one BLEU; ``but`` are smaller compressions that cost more."""

    compression: float
    test_bleu: float
    file_bytes: float
    but: list[float]


class Size:
    """What the results say of one size of the Transformer.

    Attributes:
        preset: its name.
        rejected: its networks whose settings were tried and not chosen.
        tuned: its tuned networks, untied, of the seeds that have all levels.
        each: the levels of claim 2, of :func:`circtools.translation_claims.compare`.
        mean: BLEU of pruned minus block-circulant at equal compression, over the levels.
        at_equal_size: the mean in files of nearly equal size, or None.
        span_of_sizes: the levels that it is over.
        mean_there: BLEU of pruned minus block-circulant at equal compression, over these levels.
        sample: what the intervals are taken over.
    """

    def __init__(self, table: pd.DataFrame, preset: str, folder: Path) -> None:
        rows = select(table, task="multi30k", preset=preset, tied=False)
        pairs = translation_claims.pairs_at_equal_compression(rows)
        self.preset = preset
        self.rejected = select(rows, series="rejected")
        self.tuned = select(translation_claims.of_compared_seeds(rows), series="tuned")
        self.each, self.mean, self.sample = translation_claims.compare(pairs, folder)
        equal = translation_claims.pairs_at_equal_size(rows)
        self.at_equal_size: Interval | None = None
        if len(equal):
            levels, self.at_equal_size, _ = translation_claims.compare(equal, folder)
            self.span_of_sizes = _span(levels)
            there = pairs[pairs["block_size"].isin(levels["block_size"])]
            _, self.mean_there, _ = translation_claims.compare(there, folder)

    def of(self, method: str) -> pd.DataFrame:
        """Return the rows of a method."""
        return select(self.tuned, method=method)

    def at(self, method: str, columns: Iterable[str] = SHOWN) -> str:
        """Return BLEU, bytes of the file and epochs of a method at 4x and 16x, as far as known.

        They are means over the seeds that have both.
        """
        rows = self.of(method).assign(level=levels_of)
        rows = rows[rows["level"].isin(FEW)]
        rows = rows[rows.groupby("seed")["level"].transform("nunique") == len(FEW)]
        return _shown(rows.groupby("level"), columns) if len(rows) else ""

    def furthest(self, method: str, by: str = "compression") -> Reach | None:
        """Return the largest compression of a method within one BLEU of dense, if there is one."""
        levels = self.of(method).groupby(["block_size", "round"])[[by, "test_bleu", "file_bytes"]]
        levels = levels.mean().sort_values(by)
        near = levels["test_bleu"] >= self.of("dense")["test_bleu"].mean() - 1
        if not near.any():
            return None
        far = levels[near].iloc[-1]
        # A curve of single runs is not smooth.
        but = levels.loc[~near & (levels[by] < far[by]), by]
        return Reach(*far, list(but))

    def reach(self, method: str, by: str = "compression") -> str:
        """Return in words how far a method goes for one BLEU; empty if it has not been run."""
        far = self.furthest(method, by)
        if far is None:
            return "nowhere" if len(self.of(method)) else ""
        but = f" (though more is lost at {_joined(map(_times, far.but))})" if far.but else ""
        return _times(far.compression) + but


def sizes(table: pd.DataFrame, folder: Path = results.FOLDER) -> list[Size]:
    """Return the sizes at which the two methods have been compared, the smallest first."""
    found = [Size(table, preset, folder)
             for preset in reversed(translation_claims.presets_compared(table))]
    return [size for size in found if len(size.of("dense"))]


def summary(sizes: Iterable[Size]) -> pd.DataFrame:
    """Return the numbers that the advice rests on, a column a size."""
    return pd.DataFrame({f"`{size.preset}`": _facts(size) for size in sizes}).fillna("")


def _facts(size: Size) -> dict[str, str]:
    p, each = PRESETS[size.preset], size.each
    decided = {sign: _joined(f"{b}x" for b in each.loc[each["decided"] == sign, "block_size"])
               for sign in (1, -1)}
    facts = {
        "Transformer": f"{p.layers} + {p.layers} layers, width {p.d_model}",
        "Dense": _shown(size.of("dense").groupby("block_size")),
        **{f"{name}, at 4x and 16x": size.at(method) for method, name in METHODS.items()},
        f"BLEU, pruned minus block-circulant: mean of {_span(each)}": size.mean.text(),
        "... levels at which pruning is ahead (decided)": decided[1] or "none",
        "... levels at which block-circulant is ahead (decided)": decided[-1] or "none",
    }
    if size.at_equal_size:
        facts[f"... in files of nearly equal size: mean of {size.span_of_sizes}"] = (
            size.at_equal_size.text())
    return facts | {
        "Largest compression within one BLEU of dense, pruned": size.reach("pruned"),
        "... block-circulant": size.reach("block_circulant"),
        "... pruned with the output layer, over all matrices but the embeddings":
            size.reach("pruned_all", "compression_all"),
        "Intervals, 95 %": size.sample,
    }


def advice(sizes: Iterable[Size]) -> list[str]:
    """Return what to do, as far as there are results for it: the advice, a colon, its numbers."""
    found = list(sizes)
    lines = [
        _overall(found),
        _method(found, "small_dense", "For a small file, try a smaller dense network first: its "
                "embeddings shrink, too; with half and a quarter of the width, so 4x and 16x fewer "
                "weights in its layers, it has"),
        _bytes(found),
        _method(found, "gradual", "Pruning needs no rounds: done while the network is trained, at "
                "the dense network's settings, it has at 4x and 16x", beside="pruned"),
        _method(found, "projected", "A trained network can be made block-circulant: projected and "
                "fine-tuned it has at 4x and 16x, all epochs counted,"),
        _output_layer(found), _learning_rate(found)]
    return [line for line in lines if line]


def _overall(found: list[Size]) -> str:
    verdicts = {verdict_over_levels(size.each, size.mean) for size in found}
    head = "At an equal number of weights, "
    if verdicts == {"confirmed"}:
        head += "prune"
    elif verdicts == {"refuted"}:
        head += "share weights in block-circulant layers"
    elif verdicts >= {"confirmed", "refuted"}:
        head += "the better method depends on the size of the network"
    else:
        head += "neither method is surely ahead at every size of the network"
    numbers = (f"on average from {_span(found[0].each)}, pruning in rounds minus block-circulant "
               f"layers is {_at_each(found, lambda size: size.mean.text('BLEU'))}.")
    epochs = [pd.concat(rows.loc[levels_of(rows).notna(), "epochs"] for rows in
                        (size.of(method) for size in found))
              for method in ("pruned", "block_circulant")]
    if all(trained.notna().all() for trained in epochs):
        pruned, circulant = (" to ".join(f"{n:.0f}" for n in dict.fromkeys([e.min(), e.max()]))
                             for e in epochs)
        numbers += (f" (The pruned networks have been trained for {pruned} epochs, the "
                    f"block-circulant ones for {circulant}.)")
    return f"{head}: {numbers}"


def _bytes(found: list[Size]) -> str:
    known = [size for size in found if size.at_equal_size]
    if not known:
        return ""
    undecided = all(above_zero(size.at_equal_size) == "undecided" for size in known)
    return (f"A pruned weight stores its place, too: in files of nearly equal size, from "
            f"{known[0].span_of_sizes}, the difference is "
            f"{_at_each(known, lambda size: size.at_equal_size.text('BLEU'))}"
            f"{', not decided' * undecided}; with equally many weights it is, over the same "
            f"levels, {_at_each(known, lambda size: size.mean_there.text('BLEU'))}.")


def _method(found: list[Size], method: str, head: str, beside: str | None = None) -> str:
    """Return the numbers of a method after some words; or, beside another's, but the bytes."""
    def text(size: Size) -> str:
        if beside is None:
            return size.at(method)
        own, other = (size.at(name, ("test_bleu", "epochs")) for name in (method, beside))
        return own + f" ({METHODS[beside].lower()}: {other})" * bool(other)

    known = [size for size in found if size.at(method)]
    return f"{head} {_at_each(known, text)}." if known else ""


def _output_layer(found: list[Size]) -> str:
    reached = {size.preset: (both, size.reach("pruned", "compression_all")) for size in found
               if (both := size.furthest("pruned_all", "compression_all"))}

    def text(size: Size) -> str:
        both, alone = reached[size.preset]
        return (f"{_times(both.compression)} instead of {alone} ({_bleu([both.test_bleu])} BLEU, "
                f"{both.file_bytes / 1e6:.1f} MB)")

    if not reached:
        return ""
    known = [size for size in found if size.preset in reached]
    return (f"Prune the output layer, too: at a loss of at most one BLEU, all matrices but the "
            f"embeddings then shrink {_at_each(known, text)}. (A block-circulant output layer has "
            f"not been run.)")


def _learning_rate(found: list[Size]) -> str:
    lines = []
    for size in found[1:]:
        setting = found[0].of("block_circulant")[["method", *FACTORS]].drop_duplicates()
        lent, own = (rows.groupby("block_size")["test_bleu"].mean() for rows in
                     (size.rejected.merge(setting), size.of("block_circulant")))
        blocks = lent.index.intersection(own.index)
        if len(blocks):
            lines.append(f"Tune the learning rate at the size and the compression that you will "
                         f"use: with the setting that was chosen at `{found[0].preset}`, "
                         f"block-circulant layers have at `{size.preset}` {_bleu(lent[blocks])} "
                         f"BLEU at {_joined(f'{b}x' for b in blocks)}; with the one that was "
                         f"chosen at `{size.preset}` itself, {_bleu(own[blocks])}.")
    return " ".join(lines)


def _span(each: pd.DataFrame) -> str:
    return f"{each['block_size'].min()}x to {each['block_size'].max()}x"


def _shown(levels: DataFrameGroupBy, columns: Iterable[str] = SHOWN) -> str:
    """Return the mean of each column, of :data:`SHOWN`, level by level, where it is known."""
    means = {column: levels[column].mean() for column in columns}
    return ", ".join(f"{_joined(dict.fromkeys(map(SHOWN[column][0], values)))} {SHOWN[column][1]}"
                     for column, values in means.items() if values.notna().all())


def _times(compression: float) -> str:
    return f"{compression:.2g}x" if compression < 99.5 else f"{compression:.0f}x"


def _bleu(values: Iterable[float]) -> str:
    return _joined(f"{value:.1f}" for value in values)


def _at_each(found: Iterable[Size], text: Callable[[Size], str]) -> str:
    return _joined(f"at `{size.preset}` {text(size)}" for size in found)


def _joined(words: Iterable[str]) -> str:
    *others, last = [*words] or [""]
    return f"{', '.join(others)} and {last}" if others else last
