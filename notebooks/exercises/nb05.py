"""Exercises of notebook 05."""

import math
from collections import Counter
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from exercises import Exercise


def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    scores = queries @ keys.T / math.sqrt(queries.shape[1])
    later = torch.ones(scores.shape, dtype=torch.bool).triu(1)
    return scores.masked_fill(later, -math.inf).softmax(1) @ values


def verify_attend(answer: Callable[[Tensor, Tensor, Tensor], Tensor]) -> str | None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(5, 9, generator=generator) for _ in range(3))
    got = answer(q, k, v)
    if got is None:
        return "it returns None: replace the dots with a return statement"
    if got.shape != (5, 9):
        return f"the result should have shape (5, 9), yours has {tuple(got.shape)}"
    near = {"rtol": 1e-4, "atol": 1e-5}
    if torch.allclose(got, F.scaled_dot_product_attention(q, k, v, is_causal=True), **near):
        return None
    if torch.allclose(got, F.scaled_dot_product_attention(q, k, v), **near):
        return "every token looks at all the others; mask the scores of later tokens before softmax"
    if torch.allclose(got, F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=1.0),
                      **near):
        return "divide the scores by the square root of the number of features"
    if torch.allclose(got[0], v[0], **near):
        return ("the first token is right, the others are not: do you divide the scores by the "
                "square root of the number of features of these queries, 9 here?")
    return "the first token may look at nothing but itself, so row 0 should be values[0]"


def clipped_precision(hypothesis: Sequence[str], reference: Sequence[str], n: int) -> float:
    def ngrams(words: Sequence[str]) -> Counter[tuple[str, ...]]:
        return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))

    written, right = ngrams(hypothesis), ngrams(reference)
    return (written & right).total() / max(1, written.total())


def verify_precision(answer: Callable[[Sequence[str], Sequence[str], int], float]) -> str | None:
    cases = [("the the the the", "the cat is here", 1), ("a man rides a bike", "a man rides it", 1),
             ("a man rides a bike", "a man rides it", 2), ("a b c d", "a b c d", 4),
             ("d c b a", "a b c d", 2), ("a dog and a cat", "a cat and a dog", 1),
             ("a dog", "a dog", 4)]
    for hypothesis, reference, n in cases:
        h, r = hypothesis.split(), reference.split()
        got, truth = answer(h, r, n), clipped_precision(h, r, n)
        if got is None:
            return "it returns None: replace the dots with a return statement"
        if abs(got - truth) < 1e-9:
            continue
        if hypothesis.startswith("the"):
            return (f"'the the the the' against 'the cat is here' has precision 1/4, yours gives "
                    f"{got:.3g}: an n-gram counts at most as often as the reference has it")
        return (f"for '{hypothesis}' against '{reference}' with n = {n} it should be {truth:.3g}, "
                f"yours gives {got:.3g}")
    return None


def warmup(step: int, steps: int, share: float) -> float:
    done = step / steps
    return done / share if done < share else (1 - done) / (1 - share)


def verify_warmup(answer: Callable[[int, int, float], float]) -> str | None:
    for steps, share in ((1000, 0.1), (400, 0.25)):
        # A quarter of the way, too: half-way a cosine agrees with a straight line.
        for done in (0.0, share / 4, share / 2, share, (1 + 3 * share) / 4, (1 + share) / 2, 1.0):
            step = round(done * steps)
            got, truth = answer(step, steps, share), warmup(step, steps, share)
            if got is None:
                return "it returns None: replace the dots with a return statement"
            if abs(got - truth) > 1e-9:
                return (f"of {steps} steps with a share of {share:g} for the warm-up, step {step} "
                        f"should have the factor {truth:g}, yours gives {got:g}")
    return None


EXERCISES = [
    Exercise("5.1", verify_attend, attend,
             "scores = queries @ keys.T / sqrt(features); set what lies above the diagonal to "
             "minus infinity (masked_fill with a triu(1) mask); softmax over the last dimension; "
             "times values.",
             "Masked like this, a decoder can learn all the tokens of a sentence in one pass."),
    Exercise("5.2", verify_warmup, warmup,
             "done = step / steps; while done < share the factor is done / share; afterwards it "
             "falls in a straight line from 1 at done = share to 0 at done = 1."),
    Exercise("5.3", verify_precision, clipped_precision,
             "Count the n-grams of both with collections.Counter; the operator & keeps the smaller "
             "of two counts.",
             "BLEU is the geometric mean of four of these, for n = 1 to 4, times the brevity "
             "penalty."),
]
