"""The statistics and the verdicts, on tables whose answer is known."""

import shutil
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from circtools.experiments import bleu, choices, results, store
from circtools.experiments.corpus import EXTRA, captions
from circtools.experiments.methods import ROUNDS_AT
from circtools.report import (
    claims,
    comparisons,
    gallery,
    network_figures,
    statistics,
    style,
    translation_figures,
)


def rows(method: str, errors: dict[tuple[float, int], float], series: str = "tuned",
         pixels: str = "natural") -> list[dict[str, object]]:
    """Rows of results from test errors by (compression, seed)."""
    return [{"task": "mnist", "preset": "base", "series": series, "layers": "first",
             "method": method, "pixels": pixels, "block_size": round(compression),
             "compression": compression, "seed": seed, "test_error": error}
            for (compression, seed), error in errors.items()]


def table(rows: list[dict[str, object]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(results.COLUMNS))


def benchmark(gap: dict[float, float], noise: float = 1e-4) -> pd.DataFrame:
    """Block-circulant at 2 % throughout, pruning worse by ``gap`` percentage points."""
    spread = dict(enumerate((-1.0, -0.5, 0.0, 0.5, 1.0)))
    circulant = {(c, seed): 0.02 for c in gap for seed in spread}
    pruned = {(c, seed): 0.02 + gap[c] / 100 + noise * s * c**0.5
              for c in gap for seed, s in spread.items()}
    return table(rows("block_circulant", circulant) + rows("pruned", pruned))


def test_interval_is_the_t_interval() -> None:
    values = [1.0, 2.0, 4.0]
    half = stats.t.ppf(0.975, 2) * np.std(values, ddof=1) / np.sqrt(3)
    mean = np.mean(values)
    assert statistics.interval(values) == pytest.approx((mean, mean - half, mean + half))
    assert np.isnan(statistics.interval([1.0]).low)


def test_holm_against_a_worked_example() -> None:
    # Sorted 0.01, 0.02, 0.03, 0.04: times 4, 3, 2, 1, never falling.
    assert statistics.holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert statistics.holm([0.9, 0.8]).max() == 1.0


def test_two_samples_are_compared_as_welch_does() -> None:
    first, second = [3.0, 4.0, 6.0], [1.0, 1.5, 0.0, 2.0]
    mean, p = statistics.difference(first, second)
    expected = stats.ttest_ind(first, second, equal_var=False)
    assert p == pytest.approx(expected.pvalue)
    assert tuple(mean)[1:] == pytest.approx(tuple(expected.confidence_interval(0.95)))
    mean, p = statistics.difference(first, second[:3], paired=True)
    assert p == pytest.approx(stats.ttest_rel(first, second[:3]).pvalue)
    assert np.isnan(statistics.difference([1.0], [2.0])[0].low)


@pytest.mark.slow
@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("spread", [(0.4, 0.2), (0.1, 1.0), (0.0, 2.0)], ids=str)
def test_the_interval_covers_trainings_and_sentences(paired: bool, spread: tuple[float, float]
                                                     ) -> None:
    """95 % of the intervals hold the truth, whichever of the two the scores vary more with."""
    of_training, of_sentence = spread
    rng = np.random.default_rng(0)
    seeds, sentences, draws, hits = 3, 50, 2000, 0
    for _ in range(draws):
        both = rng.normal(0, 3, sentences)  # a hard sentence is hard for both methods
        start = rng.normal(0, 1, (seeds, 1))  # that two networks share, if they share one
        sides = []
        for truth in (1.0, 0.0):
            own = truth + both + of_sentence * rng.normal(0, 3, sentences)
            training = of_training * rng.normal(size=(seeds, 1)) + paired * start
            effects = own + training + rng.normal(0, 1, (seeds, sentences))
            sides.append((effects.mean(1), effects))
        (a, of_a), (b, of_b) = sides
        mean, _ = statistics.difference(a, b, of_a.mean(0) - of_b.mean(0), paired=paired)
        hits += mean.low <= 1.0 <= mean.high
    assert 0.93 <= hits / draws <= 0.97


def test_sentence_effects_give_the_spread_that_a_bootstrap_gives() -> None:
    rng = np.random.default_rng(0)
    references = [english for _, english in captions()[:400]]
    texts = [text if rng.random() < 0.7 else text.split(" ", 1)[1] for text in references]
    counts = bleu.sentence_counts(texts, references)
    drawn = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), 4000)
    bootstrap = bleu.bleu_of_counts(drawn @ counts).std()
    effects = bleu.sentence_effects(counts)
    assert effects.std(ddof=1) / len(counts) ** 0.5 == pytest.approx(bootstrap, rel=0.05)


def test_difference_is_interpolated_in_the_logarithm_for_each_seed() -> None:
    frame = table(
        rows("block_circulant", {(4.0, 0): 0.020, (4.0, 1): 0.025})
        + rows("pruned", {(2.0, 0): 0.02, (8.0, 0): 0.04, (2.0, 1): 0.03, (8.0, 1): 0.03}))
    gap = comparisons.mnist_pairs(frame, "tuned").set_index("seed")
    assert gap["first"].tolist() == pytest.approx([-3.0, -3.0])  # halfway between 2x and 8x
    assert gap["second"].tolist() == pytest.approx([-2.0, -2.5])


def test_levels_out_of_reach_of_the_pruned_network_are_left_out() -> None:
    frame = table(
        rows("block_circulant", {(4.0, 0): 0.02, (99.0, 0): 0.02})
        + rows("pruned", {(2.0, 0): 0.02, (8.0, 0): 0.04}))
    assert comparisons.mnist_pairs(frame, "tuned")["block_size"].tolist() == [4]


@pytest.mark.parametrize(("gap", "verdict", "growth"), [
    ({2.0: 0.5, 8.0: 1.0, 32.0: 1.5}, "confirmed", "confirmed"),
    ({2.0: -0.5, 8.0: -1.0, 32.0: -1.5}, "refuted", "refuted"),
    ({2.0: -0.5, 8.0: 1.0, 32.0: 2.0}, "refuted", "confirmed"),  # one level is surely against
])
def test_verdicts(gap: dict[float, float], verdict: str, growth: str) -> None:
    found = {claim.key: claim for claim in claims.all_claims(benchmark(gap))}
    assert found["claim1_first"].verdict == verdict
    assert found["claim1_growth"].verdict == growth
    assert found["claim1_first"].difference.mean == pytest.approx(-np.mean([*gap.values()]))


def test_a_gap_within_the_noise_is_undecided() -> None:
    found = claims.all_claims(benchmark({2.0: 0.05, 8.0: 0.05, 32.0: 0.05}, noise=5e-3))
    assert {claim.verdict for claim in found} == {"undecided"}


def test_two_trainings_give_no_verdict() -> None:
    frame = benchmark({2.0: 0.5, 8.0: 1.0, 32.0: 1.5})
    found = claims.all_claims(frame[frame["seed"] < 2])
    assert {claim.verdict for claim in found} == {"no verdict"}


def test_the_order_of_the_pixels() -> None:
    frame = table(
        rows("block_circulant", {(8.0, 0): 0.02, (8.0, 1): 0.03})
        + rows("block_circulant", {(8.0, 0): 0.021, (8.0, 1): 0.031}, pixels="permuted"))
    sides = [("block_circulant", pixels) for pixels in ("natural", "permuted")]
    gap = comparisons.classifier_pairs(frame, "tuned", *sides)
    assert (gap["first"] - gap["second"]).tolist() == pytest.approx([0.1, 0.1])
    assert comparisons.classifier_pairs(frame[:2], "tuned", *sides).empty


def test_circulant_blocks_beside_random_sharing_and_tiles() -> None:
    """Claimed: ahead on natural pixels, level on permuted ones, and strided tiles ahead."""
    def errors(shift: float) -> dict[tuple[float, int], float]:
        return {(b, seed): 0.02 + (shift + 0.01 * seed) / 100 for b in (4.0, 16.0)
                for seed in range(3)}

    frame = table([
        *rows("block_circulant", errors(0.0)), *rows("random_sharing", errors(0.2)),
        *rows("block_circulant", errors(0.3), pixels="permuted"),
        *rows("random_sharing", errors(0.32), pixels="permuted"),
        *rows("tiles_strided", errors(0.5)), *rows("tiles_raster", errors(0.4))])
    found = {claim.key: claim for claim in claims.all_claims(frame)}
    assert found["claim4_structure"].difference.mean == pytest.approx(0.2)
    assert {key: claim.verdict for key, claim in found.items()} == {
        "claim4_order": "confirmed", "claim4_structure": "confirmed",
        "claim4_level": "confirmed", "claim4_tiles": "refuted"}


@pytest.mark.parametrize(("mean", "bounds", "decided", "seeds", "verdict"), [
    (0.1, (-0.4, 0.49), 0, 3, "confirmed"),
    (0.1, (-0.4, 0.51), 0, 3, "undecided"),
    (-0.1, (-0.51, 0.3), 0, 3, "undecided"),
    (0.8, (0.51, 1.0), 0, 3, "refuted"),
    (-0.8, (-1.0, -0.51), 0, 3, "refuted"),
    (0.1, (-0.4, 0.49), 1, 3, "refuted"),  # a single level is far off
    (0.1, (-0.4, 0.49), 0, 2, "no verdict"),
])
def test_level_within_a_margin(mean: float, bounds: tuple[float, float], decided: int, seeds: int,
                               verdict: str) -> None:
    each = pd.DataFrame({"mean": [0.7, 0.1], "decided": [decided, 1]})
    interval = statistics.Interval(mean, *bounds)
    assert statistics.level_verdict(each, interval, seeds, 0.5) == verdict


# --- Translation ---------------------------------------------------------------------------------


def bleu_row(method: str, bleu: float, seed: int = 0, block_size: int = 1, number: int = 0
             ) -> dict[str, object]:
    return {"task": "multi30k", "preset": "small", "series": "tuned", "method": method,
            "block_size": block_size, "round": number, "compression": float(block_size),
            "seed": seed, "tied": False, "test_bleu": bleu, "run": f"{method}{block_size}",
            "folder": Path("nowhere")}


def sweep(gap: float, seeds: int, spread: float = 0.2) -> pd.DataFrame:
    """Pruning better than block-circulant by ``gap`` BLEU at every level, give or take."""
    rng = np.random.default_rng(0)
    return table([row for seed in range(seeds) for b, number in ROUNDS_AT.items()
                         for row in (bleu_row("block_circulant", 30.0, seed, b),
                                     bleu_row("pruned", 30 + gap + spread * rng.normal(), seed,
                                              number=number))])


@pytest.fixture
def no_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    """Test sentences that are all alike, so that only trainings are sampled."""
    monkeypatch.setattr(store, "counts", lambda *run: np.ones((50, 10), dtype=int))


@pytest.mark.usefixtures("no_sentences")
@pytest.mark.parametrize(("gap", "wins", "by_eight"), [
    (8.0, "confirmed", "confirmed"), (1.0, "confirmed", "refuted"), (-1.0, "refuted", "refuted"),
    (0.0, "undecided", "refuted")])
def test_claim_2_over_seeds(gap: float, wins: str, by_eight: str) -> None:
    found = claims.all_claims(sweep(gap, seeds=4))
    assert [claim.verdict for claim in found] == [wins, by_eight]
    assert [claim.difference.mean for claim in found] == pytest.approx([gap, gap], abs=0.2)
    assert found[0].seeds == 4 and len(found[0].levels) == len(ROUNDS_AT)


@pytest.mark.usefixtures("no_sentences")
def test_a_seed_that_lacks_levels_does_not_count() -> None:
    frame = sweep(1.0, seeds=3)
    begun = table([bleu_row("block_circulant", 30.0, 3, 32),
                   bleu_row("pruned", 20.0, 3, number=15)])
    assert claims.all_claims(frame) == claims.all_claims(pd.concat([frame, begun]))
    uneven = frame[~((frame["seed"] == 0) & (frame["block_size"] == 32)
                     | (frame["seed"] == 1) & (frame["block_size"] == 2))]
    kept = statistics.with_all_levels(comparisons.pairs_at_equal_compression(uneven))
    assert set(kept["seed"]) == {2}, "the others lack a level each, and not the same"


def test_block_circulant_networks_with_half_the_dropout() -> None:
    """They take the place of those with the chosen setting, and differ from it in nothing else."""
    settings = {"chosen": (1.0, 4.0, "tuned"), "half": (0.5, 4.0, "rejected"),
                "half, other rate": (0.5, 1.0, "rejected")}
    frame = table([bleu_row("block_circulant", 30.0, 0, 4) | {
        "lr_factor": 1.0, "dropout_factor": dropout, "matrix_lr_scale": rate, "series": series,
        "run": run} for run, (dropout, rate, series) in settings.items()]
        + [bleu_row("pruned", 31.0, 0, number=6)])
    found = comparisons.with_half_dropout(frame)
    assert list(found["method"]) == ["pruned", "block_circulant"]
    assert found["run"].iloc[1] == "half" and found["series"].iloc[1] == "tuned"
    alone = comparisons.with_half_dropout(frame[~frame["run"].isin(["half"])])
    assert set(alone["method"]) == {"pruned"}


@pytest.mark.usefixtures("no_sentences")
@pytest.mark.parametrize(("lead", "control", "verdicts"), [
    ((0.5, 0.5, 0.5), 0.0, ["confirmed", "confirmed"]),
    ((0.5, 0.5, 0.5), 0.5, ["confirmed", "undecided"]),  # so does a round that prunes nothing
    ((0.5, 0.5, -0.6), 0.0, ["refuted", "refuted"])])  # one round is clearly worse
def test_claim_3_over_the_first_rounds(lead: tuple[float, ...], control: float,
                                       verdicts: list[str]) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for seed in range(10):
        start = 38 + rng.normal()
        of = [("dense", start, 0)]
        of += [("pruned", start + more + 0.1 * rng.normal(), i) for i, more in enumerate(lead, 1)]
        of += [("finetune_control", start + control + 0.1 * rng.normal(), i) for i in (1, 2, 3)]
        rows += [bleu_row(method, bleu, seed, number=i) | {
            "preset": choices.SLIGHT, "compression": 0.79**-i} for method, bleu, i in of]
    found = claims.all_claims(table(rows))
    assert [claim.key for claim in found] == ["claim3_dense", "claim3_control"]
    assert [claim.verdict for claim in found] == verdicts
    assert all(claim.seeds == 10 and len(claim.levels) == 3 for claim in found)


def test_methods_that_share_no_seed_are_not_compared() -> None:
    frame = table([bleu_row("block_circulant", 30.0, 0, 4), bleu_row("pruned", 31.0, 1, number=6)])
    assert comparisons.presets_compared(frame) == []


def test_in_files_of_equal_size_pruning_has_fewer_weights() -> None:
    rows = [bleu_row("block_circulant", 30.0, block_size=b) | {"file_bytes": 1000 / b}
            for b in (2, 4, 8)]
    rows += [bleu_row("pruned", 30.0 - n, number=n) | {"file_bytes": 1000 * 0.79**n + 90}
             for n in range(1, 9)]
    pairs = comparisons.pairs_at_equal_size(table(rows))
    # 500 and 250 bytes; 125 are beyond round 8.
    assert pairs["block_size"].tolist() == [2, 4]
    assert [number for _, number, _ in pairs["first_run"]] == [4, 8]
    assert (pairs["first"] - pairs["second"]).tolist() == [-4, -8]


def test_claim_2_over_sentences_for_a_single_seed(tmp_path: Path) -> None:
    references = [english for _, english in captions()[:200]]
    half = [text if i % 2 else "no idea" for i, text in enumerate(references)]
    frame = sweep(1.0, seeds=1).assign(folder=tmp_path)
    for row in frame.itertuples():
        texts = references if row.method == "pruned" else half
        store.write_counts(bleu.sentence_counts(texts, references),
                             tmp_path / f"{row.run}.json", row.round)
    wins, by_eight = claims.all_claims(frame)
    assert wins.verdict == by_eight.verdict == "no verdict", "it is a single training"
    assert wins.difference.mean == pytest.approx(1.0, abs=0.3)
    assert 5 < wins.difference.high - wins.difference.mean < 10, "half of the sentences are missing"
    pairs = comparisons.pairs_at_equal_compression(frame)
    same = pairs.assign(second=pairs["first"], second_run=pairs["first_run"])
    each, mean, _ = comparisons.compare(same)
    assert (each["decided"] == 0).all() and tuple(mean) == (0, 0, 0)


@pytest.mark.usefixtures("no_sentences")
def test_claim_3_is_paired_with_the_network_that_it_started_from() -> None:
    noise = [0.0, 3.0, -3.0, 1.0]  # of the start, which all three share
    frame = table(
        [bleu_row("dense", 35.0 + noise[seed], seed) for seed in range(4)]
        + [bleu_row("pruned", 36.0 + noise[seed] + 0.1 * seed, seed, number=1)
           for seed in range(4)]
        + [bleu_row("finetune_control", 36.15 + noise[seed] + 0.1 * (seed - 1)**2, seed, number=1)
           for seed in range(4)]).assign(preset=choices.SLIGHT)
    dense, control = claims.all_claims(frame)
    assert dense.verdict == "confirmed" and dense.difference.mean == pytest.approx(1.15)
    assert control.verdict == "undecided"


def test_four_test_sets_are_scored_together(tmp_path: Path) -> None:
    """On its own set a network is level, on the others behind; of what lacks them nothing is said.
    """
    english = [english for _, english in captions()[:300]]
    worse = [text if i % 3 else "no idea" for i, text in enumerate(english)]
    rows = [bleu_row(method, 50.0, seed, number=number) | {
        "run": f"{method}{seed}", "folder": tmp_path, "preset": choices.SLIGHT, "extra": {}}
        for seed in range(3) for method, number in (("dense", 0), ("pruned", 1))]
    for row in rows:
        path = tmp_path / f"{row['run']}.json"
        for test_set in ("", *EXTRA):
            texts = worse if test_set and row["method"] == "pruned" else english
            store.write_counts(bleu.sentence_counts(texts, english), path, row["round"], test_set)
    own, four = claims.all_claims(table(rows))
    assert (own.key, own.verdict, own.difference.mean) == ("claim3_dense", "undecided", 0)
    assert (four.key, four.verdict) == ("claim3_dense_four", "refuted")
    both = bleu.score(english + 3 * worse, 4 * english, resamples=0).bleu
    assert four.difference.mean == pytest.approx(both - 100)
    assert [claim.key for claim in claims.all_claims(table(rows).assign(extra=None))] == [own.key]


def test_other_networks_stand_beside_block_circulant_ones(tmp_path: Path) -> None:
    english = [english for _, english in captions()[:100]]
    rows = [bleu_row(method, 50.0, seed, b) | {"folder": tmp_path, "extra": {},
                                               "run": f"{method}{b}{seed}", "dropout_factor": 1.0}
            for method in ("gradual", "block_circulant") for b in (2, 4, 16) for seed in (1, 2)]
    for row in rows:
        better = row["method"] == "gradual" and row["block_size"] != 2
        texts = english if better else ["no idea", *english[1:]]
        for test_set in ("", *EXTRA):
            store.write_counts(bleu.sentence_counts(texts, english),
                               tmp_path / f"{row['run']}.json", 0, test_set)
    only, = comparisons.on_four_sets(table(rows))
    assert (only["method"], only["seeds"]) == ("gradual", 2)
    assert only["four"].mean == pytest.approx(100 - bleu.score(
        4 * ["no idea", *english[1:]], 4 * english, resamples=0).bleu)
    assert only["four"].mean > 0 == only["own"].mean, "the column of results against the counts"


# --- Where the numbers come from -----------------------------------------------------------------


@pytest.mark.slow
def test_everything_is_read_from_the_folder_of_the_table(
    tmp_path: Path
) -> None:
    """In the copy all sentences score alike, so that one training has an interval without width."""
    copy = shutil.copytree(store.FOLDER, tmp_path / "results")
    for path in copy.rglob("*.counts.npz"):
        with np.load(path) as file:
            alike = np.broadcast_to(file["counts"].sum(0).astype(np.uint32), file["counts"].shape)
        store.write_arrays({"counts": alike}, path)
    changed, opened = results.load(copy), []
    sys.addaudithook(lambda event, given: opened.append(str(given[0])) if event == "open" else None)
    for claim in claims.all_claims(changed):
        width = claim.difference.high - claim.difference.low
        assert (width == 0) == (claim.task == "multi30k" and claim.seeds == 1), claim
    with style.context():
        for name, draw in gallery.FIGURES.items():
            figure = draw(changed)
            if name == "translation_gap":
                bars = [segment for lines in figure.axes[0].collections
                        for segment in lines.get_segments()]
                widths = np.ptp(bars, axis=1)[:, 1]
                assert len(bars) > 10 and (widths == 0).sum() == 9, "those of one training"
            plt.close(figure)
    network_figures.learning_curves(changed)
    network_figures.artefacts(changed, "pruned")
    translation_figures.bleu_by_length(changed)
    gallery.numbers(changed)
    plt.close("all")
    assert any(name.startswith(str(copy)) for name in opened)
    assert not [name for name in opened if name.startswith(str(store.FOLDER))]
