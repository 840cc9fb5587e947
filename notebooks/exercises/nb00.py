"""Exercises of notebook 00."""

from exercises import Exercise


def remaining(rounds: int) -> float:
    return 0.79**rounds


def overall_compression(layers: list[tuple[int, int]]) -> float:
    return sum(dense for dense, _ in layers) / sum(stored for _, stored in layers)


def share_per_round(factor: float, rounds: int) -> float:
    return 1 - (1 / factor) ** (1 / rounds)


EXERCISES = [
    Exercise(
        "0.1", [(3,), (1,), (15,), (0,)], remaining,
        "After one round 0.79 of the weights remain; the next round leaves 0.79 of those.",
        "Three rounds give 2x, six 4x, fifteen 34x.",
        mistakes=(
            (lambda rounds: 1 - 0.79**rounds,
             "that is the share that is gone, not what remains"),
            (lambda rounds: 1 - 0.21 * rounds,
             "each round takes 21 % of what *remains*, so the shares multiply; yours takes 21 % of "
             "the original weights each time"),
            (lambda rounds: 0.21**rounds,
             "0.21 is the share that goes in a round; multiply the shares that stay"),
            (lambda rounds: 0.79 * rounds,
             "each round multiplies once more, so it takes a power of 0.79, not a multiple"),
            (lambda rounds: 1 / 0.79**rounds,
             "that is the compression, how many times fewer weights; the share is its reciprocal"),
        ),
    ),
    Exercise(
        "0.2", [([(100, 10)],), ([(614_656, 76_832), (7_840, 7_840)],),
                ([(10, 5), (1000, 10), (7, 7)],)], overall_compression,
        "Add up all the dense weights, add up all the stored ones, then divide once.",
        "One uncompressed layer, even a small one, soon limits the whole.",
        mistakes=(
            (lambda layers: sum(dense / stored for dense, stored in layers) / len(layers),
             "you average the ratios of the layers; large layers must count for more"),
            (lambda layers: 1 / overall_compression(layers),
             "you divide stored by dense; a compression of 8 means 8 times *fewer* weights"),
            (lambda layers: layers[0][0] / layers[0][1],
             "that is the first layer alone; add up all the layers before you divide"),
            (lambda layers: 1 - 1 / overall_compression(layers),
             "that is the share of weights that is saved, not how many times fewer there are"),
        ),
    ),
    Exercise(
        "0.3", [(32, 15), (4, 2), (32, 5), (16, 1)], share_per_round,
        "The share that stays in one round, to the power of rounds, must be 1 / factor. Take the "
        "root; what goes is the rest.",
        "Now compare 32x in 1, 5, 15 and 33 rounds.",
        mistakes=(
            (lambda factor, rounds: (1 / factor) ** (1 / rounds),
             "that is the share that stays in a round; return the one that goes"),
            (lambda factor, rounds: (1 - 1 / factor) / rounds,
             "each round takes its share of what *remains*, so the shares that stay multiply: take "
             "a root instead of dividing"),
            (lambda factor, rounds: 1 - 1 / factor,
             "that takes all in a single round; share it out over the rounds"),
            (lambda factor, rounds: 100 * share_per_round(factor, rounds),
             "that is in percent; return a share, between 0 and 1"),
        ),
    ),
]
