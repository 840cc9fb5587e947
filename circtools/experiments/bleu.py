"""BLEU of translations, and what it counts in each sentence."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sacrebleu.metrics import BLEU, CHRF


@dataclass(frozen=True)
class Score:
    """Lower-cased BLEU with its 95 % bootstrap interval over sentences, and chrF."""

    bleu: float
    bleu_low: float
    bleu_high: float
    chrf: float
    signature: str  # of sacreBLEU, which says how the BLEU was computed


def score(hypotheses: Sequence[str], references: Sequence[str], resamples: int = 1000) -> Score:
    """Score translations against one reference each, in the order of the sentences.

    A ValueError says that there are no sentences, or not as many references as translations.

    Source: M. Post, "A Call for Clarity in Reporting BLEU Scores", WMT 2018; the interval after P.
    Koehn, "Statistical Significance Tests for Machine Translation Evaluation", EMNLP 2004.
    """
    if len(hypotheses) != len(references) or not references:
        raise ValueError(f"got {len(hypotheses)} hypotheses and {len(references)} references; each "
                         "sentence needs one of either")
    metric = BLEU(lowercase=True)  # lower-cases both sides itself
    result = metric.corpus_score(hypotheses, [references], n_bootstrap=resamples)
    chrf = CHRF(lowercase=True).corpus_score(hypotheses, [references])
    middle, half = (result._mean, result._ci) if resamples > 1 else (result.score, 0.0)
    return Score(result.score, middle - half, middle + half, chrf.score,
                 str(metric.get_signature()))


def sentence_counts(hypotheses: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """Return what BLEU counts in each sentence, so that any resample of them can be scored.

    They are integers, (sentences, 10): matching n-grams and all n-grams of the hypothesis for n = 1
    ... 4, words of the hypothesis, words of the reference.
    """
    metric = BLEU(lowercase=True, effective_order=True)
    each = [metric.sentence_score(h, [r]) for h, r in zip(hypotheses, references, strict=True)]
    return np.array([[*s.counts, *s.totals, s.sys_len, s.ref_len] for s in each], dtype=np.int32)


def bleu_of_counts(counts: np.ndarray) -> np.ndarray:
    """Return the BLEU, not smoothed, of sums of :func:`sentence_counts`, (..., 10) to (...)."""
    precisions = counts[..., :4] / np.maximum(counts[..., 4:8], 1)
    brevity = np.minimum(0.0, 1 - counts[..., 9] / np.maximum(counts[..., 8], 1e-9))
    with np.errstate(divide="ignore"):
        return 100 * np.exp(brevity + np.log(precisions).mean(-1))


def sentence_effects(counts: np.ndarray) -> np.ndarray:
    """Return what each test sentence adds to a network's BLEU, (sentences, 10) to (sentences,).

    They are the jackknife's: BLEU with all sentences minus BLEU without this one, times the number
    of sentences less one. Their variance divided by the number of sentences is that of BLEU over
    test sets. Unlike a bootstrap it hangs on no random numbers.

    Source: B. Efron, C. Stein, "The Jackknife Estimate of Variance", Ann. Statist. 9 (1981).
    """
    total = counts.sum(0)
    return (len(counts) - 1) * (bleu_of_counts(total) - bleu_of_counts(total - counts))
