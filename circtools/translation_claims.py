"""The poster's claims about translation, from the results of Multi30k."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from circtools import results, translation
from circtools.multi30k_runs import ROUNDS_AT
from circtools.verdicts import (
    Claim,
    Interval,
    above_zero,
    holm,
    interval,
    levels,
    over_levels,
    seeds_to_decide,
    with_all_levels,
)

POSTERS_GAP = 8.0  # BLEU by which pruning is said to win, on average
CLOSE = 2.0  # how near a gap must be to it, with its whole interval, to confirm that number
RESAMPLES = 2000
NAMES = {"pruned": "pruning", "block_circulant": "block-circulant layers"}
SIZES = ("poster", "course", "small")  # presets, the largest first


def presets_compared(table: pd.DataFrame) -> list[str]:
    """Return the presets of Multi30k with results of both methods, the largest first."""
    rows = table[(table["task"] == "multi30k") & (table["series"] == "tuned")]
    return [preset for preset in SIZES
            if set(NAMES) <= set(rows.loc[rows["preset"] == preset, "method"])]


def main_preset(table: pd.DataFrame) -> str | None:
    """Return the preset that the figures show, or None if none has both methods' results.

    It is the largest of those for which most methods have been run.
    """
    rows = table[(table["task"] == "multi30k") & (table["series"] == "tuned")]
    return max(presets_compared(table), default=None,
               key=lambda preset: rows.loc[rows["preset"] == preset, "method"].nunique())


def levels_of(rows: pd.DataFrame) -> pd.Series:
    """Return the compression that each row stands for: its block size, or that of its round.

    Rounds 3, 6, 9, 12, 15 of pruning stand against 2, 4, 8, 16, 32; other rounds give nan.
    """
    of_round = rows["round"].map({number: b for b, number in ROUNDS_AT.items()})
    return rows["block_size"].where(rows["round"] == 0, of_round).astype(float)


def pairs_at_equal_compression(table: pd.DataFrame, series: str = "tuned",
                               first: str = "pruned") -> pd.DataFrame:
    """Return the pruned and the block-circulant network of each level and seed.

    What stands against what, :func:`levels_of` says. Pruned networks have no series ``same``,
    because the dense hyper-parameters are none of fine-tuning.

    Args:
        table: rows of :func:`circtools.results.load`, of one preset.
        series: of the block-circulant networks.
        first: ``"pruned"``, in rounds, or ``"gradual"``, while it is trained.

    Returns:
        Columns ``block_size``, ``compression`` (of the block-circulant network), ``seed``,
        ``difference`` (BLEU of pruned minus block-circulant), ``first`` and ``second`` (run and
        round of the two).
    """
    pruned = table[(table["method"] == first) & (table["series"] == "tuned")]
    circulant = table[(table["method"] == "block_circulant") & (table["series"] == series)]
    rows = []
    for run in circulant.itertuples():
        matching = pruned[(pruned["seed"] == run.seed) & (levels_of(pruned) == run.block_size)]
        rows += [(run.block_size, run.compression, run.seed, other.test_bleu - run.test_bleu,
                  (other.run, other.round), (run.run, 0)) for other in matching.itertuples()]
    return _pairs(rows)


def slightly_pruned_pairs(table: pd.DataFrame, against: str) -> pd.DataFrame:
    """Return the network pruned for one round, and what it is compared with, of each seed.

    Args:
        table: rows of :func:`circtools.results.load`, of one preset.
        against: ``"dense"``, or ``"unpruned"`` for the same loop that prunes nothing.

    Returns:
        As :func:`pairs_at_equal_compression`.
    """
    tuned = table[(table["series"] == "tuned")]
    pruned = tuned[(tuned["method"] == "pruned") & (tuned["round"] == 1)]
    other = tuned[(tuned["method"] == against) & (tuned["round"] == (against == "unpruned"))]
    merged = pruned.merge(other, on="seed", suffixes=("", "_other"))
    return _pairs([(1, row.compression, row.seed, row.test_bleu - row.test_bleu_other,
                    (row.run, 1), (row.run_other, row.round_other))
                   for row in merged.itertuples()])


def _pairs(rows: list[tuple[object, ...]]) -> pd.DataFrame:
    columns = ["block_size", "compression", "seed", "difference", "first", "second"]
    return pd.DataFrame(rows, columns=columns).sort_values(["block_size", "seed"])


def compare(pairs: pd.DataFrame, folder: Path = results.FOLDER
            ) -> tuple[pd.DataFrame, Interval, str]:
    """Return the difference at each level, the mean over the levels, and what was sampled.

    Over seeds where there are several, else over test sentences (the paired bootstrap). Seeds that
    lack a level are left out.

    Args:
        pairs: of :func:`pairs_at_equal_compression` or :func:`slightly_pruned_pairs`.
        folder: where the results are.
    """
    pairs = with_all_levels(pairs)
    seeds = pairs["seed"].nunique()
    if seeds > 1:
        by_seed = pairs.groupby("seed")["difference"].mean()
        return levels(pairs), interval(by_seed), f"{seeds} seeds"
    drawn = np.stack([_resampled(*first, folder) - _resampled(*second, folder)
                      for first, second in zip(pairs["first"], pairs["second"], strict=True)])
    low, high = np.quantile(drawn, [0.025, 0.975], axis=1)
    each = pairs[["block_size", "compression"]].assign(
        mean=pairs["difference"], low=low, high=high,
        p=holm([_p_value(draws) for draws in drawn]))
    each["decided"] = np.where(each["p"] < 0.05, np.sign(each["mean"]), 0).astype(int)
    low, high = np.quantile(drawn.mean(0), [0.025, 0.975])
    mean = Interval(float(pairs["difference"].mean()), float(low), float(high))
    return each.reset_index(drop=True), mean, "1 seed, bootstrap over test sentences"


def _resampled(run: str, number: int, folder: Path) -> np.ndarray:
    """Return the BLEU of a run on resamples of the test sentences, the same for every run."""
    counts = results.counts(run, number, folder)  # (sentences, 10)
    n = len(counts)
    times = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), RESAMPLES)
    return translation.bleu_of_counts(times @ counts)  # (resamples,)


def _p_value(draws: np.ndarray) -> float:
    """Return the two-sided p-value of no difference, never zero."""
    smaller = min((draws <= 0).sum(), (draws >= 0).sum())
    return min(1.0, 2 * float(smaller + 1) / (len(draws) + 1))


def recommendations(rows: pd.DataFrame, folder: Path = results.FOLDER) -> list[str]:
    """Return advice for practitioners, a sentence each with the numbers that support it.

    Args:
        rows: of :func:`circtools.results.load`, the untied networks of one preset.
        folder: where the results are.
    """
    pairs = with_all_levels(pairs_at_equal_compression(rows))
    tuned = rows[(rows["series"] == "tuned") & rows["seed"].isin(pairs["seed"])]
    each, mean, sample = compare(pairs, folder)
    return [_overall(each, mean, sample), *_by_level(tuned, each), *_reaches(tuned),
            *_training(tuned), *_gradual(tuned, folder), *_projected(tuned), *_bytes(tuned)]


def _at(tuned: pd.DataFrame, method: str, column: str, b: int) -> float:
    """Return the mean over seeds of a column of a method at a compression."""
    chosen = tuned[tuned["method"] == method]
    return float(chosen.loc[levels_of(chosen) == b, column].mean())


def _overall(each: pd.DataFrame, mean: Interval, sample: str) -> str:
    between = f"between {each['block_size'].min()}x and {each['block_size'].max()}x"
    interval_ = f"{mean.low:+.1f} to {mean.high:+.1f}; {sample}"
    return {
        "confirmed": f"If stored weights are what counts, take pruning: {between} it is "
                     f"{mean.mean:.1f} BLEU ahead on average ({interval_}).",
        "refuted": f"If stored weights are what counts, take block-circulant layers: {between} "
                   f"pruning is {-mean.mean:.1f} BLEU behind on average ({interval_}).",
        "undecided": f"Neither method is ahead for sure: {between} pruning minus block-circulant "
                     f"is {mean.mean:+.1f} BLEU on average ({interval_}).",
    }[above_zero(mean)]


def _by_level(tuned: pd.DataFrame, each: pd.DataFrame) -> list[str]:
    advice = []
    for sign, verdict in ((1, "pruning is ahead"), (-1, "block-circulant layers are ahead"),
                          (0, "the results do not decide")):
        if blocks := each.loc[each["decided"] == sign, "block_size"].tolist():
            bleu = [_joined(f"{_at(tuned, method, 'test_bleu', b):.1f}" for b in blocks)
                    for method in NAMES]
            advice.append(f"At {_joined(f'{b}x' for b in blocks)} {verdict}: {bleu[0]} BLEU by "
                          f"pruning, against {bleu[1]} by block-circulant layers.")
    return advice


def _joined(words: Iterable[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last


def _reaches(tuned: pd.DataFrame) -> list[str]:
    dense = tuned.loc[tuned["method"] == "dense", "test_bleu"].mean()
    far, but = [], ""
    for method, name in NAMES.items():
        near = _within_one_bleu(tuned, method)
        largest = _largest(near)
        far.append(f"{name} can go to {largest:.2g}x" if largest else f"{name} cannot be used")
        # A curve of single runs is not smooth.
        if failing := [f"{x:.2g}x" for x, is_near in near.items() if x < largest and not is_near]:
            but += f"; at {_joined(failing)} more is lost by {name}"
    advice = [f"For at most one BLEU below the dense network's {dense:.1f}, {' and '.join(far)} "
              f"(of the Transformer's layers{but})."]
    together, alone = (_largest(_within_one_bleu(tuned, method, "compression_all"))
                       for method in ("pruned_all", "pruned"))
    if together > alone > 0:
        advice.append(f"Prune the output layer too: then all weight matrices but the embeddings "
                      f"can go to {together:.2g}x for that one BLEU, against {alone:.2g}x where "
                      "only the Transformer's layers are pruned.")
    return advice


def _training(tuned: pd.DataFrame) -> list[str]:
    pruned, circulant = ([_at(tuned, method, "epochs", b) for b in (4, 16)] for method in NAMES)
    if not np.isfinite([*pruned, *circulant]).all() or max(circulant) >= min(pruned):
        return []
    return [f"Pruning in rounds takes longer to train: {pruned[0]:.0f} epochs to 4x and "
            f"{pruned[1]:.0f} to 16x, where block-circulant layers had {max(circulant):.0f}."]


def _gradual(tuned: pd.DataFrame, folder: Path) -> list[str]:
    pairs = pairs_at_equal_compression(tuned, first="gradual")
    if pairs.empty:
        return []
    _, mean, sample = compare(pairs, folder)
    levels_ = " and ".join(f"{_at(tuned, 'gradual', 'test_bleu', b):.1f} BLEU at {b}x"
                           for b in pairs["block_size"].unique())
    return [f"Pruned while it is trained, in no more epochs than block-circulant layers, the "
            f"network has {levels_}: {mean.mean:+.1f} against them on average ({mean.low:+.1f} to "
            f"{mean.high:+.1f}; {sample})."]


def _projected(tuned: pd.DataFrame) -> list[str]:
    bleu = [_at(tuned, method, "test_bleu", b) for method in ("projected", "block_circulant")
            for b in (4, 16)]
    if not np.isfinite(bleu).all():
        return []
    return [f"A trained network can be projected onto block-circulant form and fine-tuned: "
            f"{bleu[0]:.1f} BLEU at 4x and {bleu[1]:.1f} at 16x, where training from scratch gives "
            f"{bleu[2]:.1f} and {bleu[3]:.1f}."]


def _bytes(tuned: pd.DataFrame) -> list[str]:
    sizes = [tuned.loc[tuned["method"] == "dense", "file_bytes"].mean(),
             *(_at(tuned, method, "file_bytes", 16) for method in NAMES)]
    if not np.isfinite(sizes).all():
        return []
    dense, pruned, circulant = (f"{size / 1e6:.1f}" for size in sizes)
    return [f"Look at the whole file before you compress: the dense model has {dense} MB; with "
            f"layers at 16x, {pruned} MB pruned (with its indices) and {circulant} MB "
            "block-circulant. Most of the rest are embeddings and the output layer."]


def _within_one_bleu(tuned: pd.DataFrame, method: str, by: str = "compression") -> pd.Series:
    """Tell for each compression of a method, in order, whether it costs at most one BLEU."""
    dense = tuned.loc[tuned["method"] == "dense", "test_bleu"].mean()
    levels_ = tuned[tuned["method"] == method].groupby(["block_size", "round"])
    mean = levels_[[by, "test_bleu"]].mean().set_index(by)["test_bleu"].sort_index()
    return mean >= dense - 1


def _largest(near: pd.Series) -> float:
    """Return the largest compression for which ``near`` holds, or 0."""
    return float(near.index[near].max()) if near.any() else 0.0


def claims(table: pd.DataFrame, folder: Path = results.FOLDER) -> list[Claim]:
    """Return the verdicts on claims 2 and 3, as far as there are results.

    Args:
        table: rows of :func:`circtools.results.load`.
        folder: where the results are.
    """
    multi30k = table[table["task"] == "multi30k"]
    sizes = {name: multi30k[multi30k["preset"] == name] for name in SIZES}
    found: list[Claim] = []
    for preset in presets_compared(table):
        for series in ("tuned", "same"):
            pairs = pairs_at_equal_compression(sizes[preset], series)
            found += _claim_2(pairs, series, preset, folder)
    for preset, rows in sizes.items():
        for against in ("dense", "unpruned"):
            found += _claim_3(slightly_pruned_pairs(rows, against), against, preset, folder)
    return found


def _claim_2(pairs: pd.DataFrame, series: str, preset: str, folder: Path) -> Sequence[Claim]:
    if pairs.empty:
        return []
    each, mean, sample = compare(pairs, folder)
    where = f"Multi30k ({preset}): "
    wins = over_levels("2", where + "at equal compression of the Transformer's layers, pruning "
                       "has a higher BLEU than block-circulant", series, each, mean, "BLEU", sample)
    verdict = "undecided"
    if not mean.low <= POSTERS_GAP <= mean.high:
        verdict = "refuted"
    elif max(POSTERS_GAP - mean.low, mean.high - POSTERS_GAP) <= CLOSE:
        verdict = "confirmed"
    size = Claim("2", where + f"pruning is ahead by {POSTERS_GAP:g} BLEU on average", series,
                 *mean, "BLEU", verdict, f"the mean of {len(each)} levels, {sample}")
    return [wins, size]


def _claim_3(pairs: pd.DataFrame, against: str, preset: str, folder: Path) -> Sequence[Claim]:
    if pairs.empty:
        return []
    each, mean, sample = compare(pairs, folder)
    verdict = above_zero(mean)
    evidence = f"{each['compression'].mean():.3g}x, {sample}"
    if verdict == "undecided":
        needed = seeds_to_decide(pairs["difference"])
        evidence += (f"; a difference of this size would take about {needed} seeds" if needed
                     else "; more seeds are needed to say how many would decide")
    other = {"dense": "the uncompressed one",
             "unpruned": "one that went through the same loop with nothing pruned"}[against]
    return [Claim("3", f"Multi30k ({preset}): the slightly pruned Transformer has a higher BLEU "
                  f"than {other}", "tuned", *mean, "BLEU", verdict, evidence)]
