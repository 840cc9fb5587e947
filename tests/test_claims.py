"""The statistics and the verdicts, on tables whose answer is known."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from circtools import claims


def rows(method: str, errors: dict[tuple[float, int], float], series: str = "tuned",
         pixels: str = "natural") -> list[dict[str, object]]:
    """Rows of results from test errors by (compression, seed)."""
    return [{"task": "mnist", "preset": "course", "series": series, "layers": "first",
             "method": method, "pixels": pixels, "block_size": round(compression),
             "compression": compression, "seed": seed, "test_error": error}
            for (compression, seed), error in errors.items()]


def benchmark(gap: dict[float, float], noise: float = 1e-4) -> pd.DataFrame:
    """Block-circulant at 2 % throughout, pruning worse by ``gap`` percentage points."""
    spread = dict(enumerate((-1.0, -0.5, 0.0, 0.5, 1.0)))
    circulant = {(c, seed): 0.02 for c in gap for seed in spread}
    pruned = {(c, seed): 0.02 + gap[c] / 100 + noise * s * c**0.5
              for c in gap for seed, s in spread.items()}
    return pd.DataFrame(rows("block_circulant", circulant) + rows("pruned", pruned))


def test_interval_is_the_t_interval() -> None:
    values = [1.0, 2.0, 4.0]
    half = stats.t.ppf(0.975, 2) * np.std(values, ddof=1) / np.sqrt(3)
    mean = np.mean(values)
    assert claims.interval(values) == pytest.approx((mean, mean - half, mean + half))
    assert np.isnan(claims.interval([1.0]).low)


def test_holm_against_a_worked_example() -> None:
    # Sorted 0.01, 0.02, 0.03, 0.04: times 4, 3, 2, 1, never falling.
    assert claims.holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert claims.holm([0.9, 0.8]).max() == 1.0


def test_difference_is_interpolated_in_the_logarithm_for_each_seed() -> None:
    table = pd.DataFrame(
        rows("block_circulant", {(4.0, 0): 0.020, (4.0, 1): 0.025})
        + rows("pruned", {(2.0, 0): 0.02, (8.0, 0): 0.04, (2.0, 1): 0.03, (8.0, 1): 0.03}))
    difference = claims.pruned_minus_circulant(table, "tuned").set_index("seed")["difference"]
    assert difference[0] == pytest.approx(1.0)  # halfway between 2x and 8x is 3 %
    assert difference[1] == pytest.approx(0.5)


def test_levels_out_of_reach_of_the_pruned_network_are_left_out() -> None:
    table = pd.DataFrame(
        rows("block_circulant", {(4.0, 0): 0.02, (99.0, 0): 0.02})
        + rows("pruned", {(2.0, 0): 0.02, (8.0, 0): 0.04}))
    assert claims.pruned_minus_circulant(table, "tuned")["block_size"].tolist() == [4]


@pytest.mark.parametrize(("gap", "verdict", "growth"), [
    ({2.0: 0.5, 8.0: 1.0, 32.0: 1.5}, "confirmed", "confirmed"),
    ({2.0: -0.5, 8.0: -1.0, 32.0: -1.5}, "refuted", "refuted"),
    ({2.0: -0.5, 8.0: 1.0, 32.0: 2.0}, "refuted", "confirmed"),  # one level is surely against
])
def test_verdicts(gap: dict[float, float], verdict: str, growth: str) -> None:
    table = claims.table_of_claims(benchmark(gap)).set_index("statement")["verdict"]
    assert table.filter(like="lower test error than pruning").iloc[0] == verdict
    assert table.filter(like="gap grows").iloc[0] == growth


def test_a_gap_within_the_noise_is_undecided() -> None:
    table = claims.table_of_claims(benchmark({2.0: 0.05, 8.0: 0.05, 32.0: 0.05}, noise=5e-3))
    assert set(table["verdict"]) == {"undecided"}


def test_permutation_is_paired_by_seed() -> None:
    table = pd.DataFrame(
        rows("block_circulant", {(8.0, 0): 0.02, (8.0, 1): 0.03})
        + rows("block_circulant", {(8.0, 0): 0.021, (8.0, 1): 0.031}, pixels="permuted"))
    difference = claims.permuted_minus_natural(table, "tuned")["difference"]
    assert difference.tolist() == pytest.approx([0.1, 0.1])


def test_report_replaces_only_what_is_between_the_marks(tmp_path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{claims.BEGIN}\nold\n{claims.END}\nafter\n", encoding="utf-8")
    table = benchmark({2.0: 0.5, 8.0: 1.0})
    assert not claims.write_report(table, readme, check=True)
    assert "old" in readme.read_text(encoding="utf-8")
    claims.write_report(table, readme)
    text = readme.read_text(encoding="utf-8")
    assert text.startswith("before\n") and text.endswith("after\n")
    assert "confirmed" in text and "old" not in text
    assert claims.write_report(table, readme, check=True)


def test_report_names_missing_marks(tmp_path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("nothing here\n", encoding="utf-8")
    with pytest.raises(ValueError, match="lacks the marks"):
        claims.write_report(benchmark({2.0: 0.5, 8.0: 1.0}), readme)
