"""Exercises of notebook 05."""

import math
from collections import Counter
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from exercises import Exercise
from exercises.answers import NOTHING


def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    scores = queries @ keys.T / math.sqrt(queries.shape[1])
    later = torch.ones(scores.shape, dtype=torch.bool).triu(1)
    return scores.masked_fill(later, -math.inf).softmax(1) @ values


def three(tokens: int = 5, features: int = 9) -> list[Tensor]:
    """Return queries, keys and values."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(tokens, features, generator=generator) for _ in range(3)]


def verify_attend(answer: Callable[[Tensor, Tensor, Tensor], Tensor]) -> str | None:
    q, k, v = three()
    got, truth = answer(q, k, v), F.scaled_dot_product_attention(q, k, v, is_causal=True)
    if got is None:
        return NOTHING
    if got.shape != truth.shape:
        return f"the result should have shape {tuple(truth.shape)}, yours has {tuple(got.shape)}"
    if torch.allclose(got, truth, rtol=1e-4, atol=1e-5):
        return None
    if torch.allclose(got[0], v[0], rtol=1e-4, atol=1e-5):
        return ("the first token is right, the others are not: do you divide the scores by the "
                "square root of the number of features of these queries, 9 here?")
    return "the first token may look at nothing but itself, so row 0 should be values[0]"


def scores_of(queries: Tensor, keys: Tensor) -> Tensor:
    return queries @ keys.T / math.sqrt(queries.shape[1])


def hidden(queries: Tensor, keys: Tensor, diagonal: int = 1) -> Tensor:
    """Return the scores with minus infinity from a diagonal on."""
    scores = scores_of(queries, keys)
    return scores.masked_fill(torch.ones_like(scores).triu(diagonal) > 0, -math.inf)


def clipped_precision(hypothesis: Sequence[str], reference: Sequence[str], n: int) -> float:
    def ngrams(words: Sequence[str]) -> Counter[tuple[str, ...]]:
        return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))

    written, right = ngrams(hypothesis), ngrams(reference)
    return (written & right).total() / max(1, written.total())


SENTENCES = [("the the the the", "the cat is here", 1), ("a man rides a bike", "a man rides it", 1),
             ("a man rides a bike", "a man rides it", 2), ("a b c d", "a b c d", 4),
             ("d c b a", "a b c d", 2), ("a dog and a cat", "a cat and a dog", 1),
             ("a dog", "a dog", 4)]


def listed(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return list(zip(*(words[i:] for i in range(n)), strict=False))


def shared(hypothesis: Sequence[str], reference: Sequence[str], n: int) -> int:
    """Return how many n-grams two sentences share."""
    return (Counter(listed(hypothesis, n)) & Counter(listed(reference, n))).total()


def warmup(step: int, steps: int, share: float) -> float:
    done = step / steps
    return done / share if done < share else (1 - done) / (1 - share)


# A quarter of the way, too: half-way a cosine agrees with a straight line.
STEPS = [(round(steps * done), steps, share) for steps, share in ((1000, 0.1), (400, 0.25))
         for done in (0.0, share / 4, share / 2, share, (1 + 3 * share) / 4, (1 + share) / 2, 1.0)]


def cosine(step: int, steps: int, share: float) -> float:
    rest = 1 - warmup(step, steps, share)
    return 1 - rest if step < share * steps else (1 + math.cos(math.pi * rest)) / 2


EXERCISES = [
    Exercise("5.1", verify_attend, attend,
             "scores = queries @ keys.T / sqrt(features); set what lies above the diagonal to "
             "minus infinity (masked_fill with a triu(1) mask); softmax over the last dimension; "
             "times values.",
             "Masked like this, a decoder can learn all the tokens of a sentence in one pass.",
             mistakes=(
                 (lambda q, k, v: scores_of(q, k).softmax(1) @ v,
                  "every token looks at all the others; mask the scores of later tokens before "
                  "softmax"),
                 (lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=1),
                  "divide the scores by the square root of the number of features"),
                 (lambda q, k, v: scores_of(q, k).softmax(1).tril() @ v,
                  "you mask after softmax, so that the weights of a token do not add up to 1; mask "
                  "the scores before it"),
                 (lambda q, k, v: scores_of(q, k).tril().softmax(1) @ v,
                  "a score of zero hides nothing, as exp(0) is 1; hide with minus infinity"),
                 (lambda q, k, v: hidden(q, k).softmax(0) @ v,
                  "softmax goes over the queries; it should go over the keys, so that each row "
                  "adds up to 1"),
                 (lambda q, k, v: hidden(q, k, diagonal=0).softmax(1) @ v,
                  "your mask hides the token itself, too, so the first has nothing to look at"),
                 (lambda q, k, v: hidden(k, q).T.softmax(1) @ v,
                  "your mask hides the earlier tokens; hide the later ones"),
             ),
             picture=("Attention weights: a row per query, a column per key",
                      lambda answer: answer(*three()[:2], torch.eye(5)))),
    Exercise("5.2", STEPS, warmup,
             "done = step / steps; while done < share the factor is done / share; afterwards it "
             "falls in a straight line from 1 at done = share to 0 at done = 1.",
             mistakes=(
                 (lambda step, steps, share: min(1, step / steps / share),
                  "yours stays at 1 after the warm-up; it must fall to 0 at the last step"),
                 (lambda step, steps, share: step / steps / share if step < share * steps
                  else 1 - step / steps,
                  "you fall along 1 - step / steps, which is below 1 already where the warm-up "
                  "ends; begin at 1 there"),
                 (cosine,
                  "you fall along a cosine; a straight line is wanted"),
                 (lambda step, steps, share: 1 - step / steps,
                  "yours has no warm-up: it begins at 1, and should begin at 0"),
                 (lambda step, steps, share: step / share if step < share
                  else (steps - step) / (steps - share),
                  "share is no number of steps; the warm-up takes share * steps of them"),
             ),
             picture=("The factor at each of 100 steps, with a share of 0.2",
                      lambda answer: [answer(step, 100, 0.2) for step in range(101)])),
    Exercise("5.3", [(h.split(), r.split(), n) for h, r, n in SENTENCES], clipped_precision,
             "Count the n-grams of both with collections.Counter; the operator & keeps the smaller "
             "of two counts.",
             "BLEU is the geometric mean of four of these, for n = 1 to 4, times the brevity "
             "penalty.",
             mistakes=(
                 (lambda h, r, n: sum(gram in listed(r, n) for gram in listed(h, n))
                  / max(1, len(listed(h, n))),
                  "an n-gram counts at most as often as the reference has it: clip the counts"),
                 (lambda h, r, n: len({*listed(h, n)} & {*listed(r, n)})
                  / max(1, len(listed(h, n))),
                  "a set holds an n-gram once, however often both sentences have it: count them"),
                 (lambda h, r, n: shared(h, r, n) / max(1, len(listed(r, n))),
                  "you divide by the n-grams of the reference: that is recall. Divide by those of "
                  "the hypothesis"),
                 (lambda h, r, n: shared(h, r, n) / len(h),
                  "you divide by the number of words; there are n - 1 fewer n-grams than words"),
                 (lambda h, r, n: clipped_precision(h, r, 1),
                  "you count single words, whatever n is"),
             )),
]
