"""Speed of BlockCirculantLinear's algorithms as a ratio to nn.Linear, in one run.

    python benchmarks/layer_speed.py --features 784 --tokens 128

Prints, for every block size and algorithm, how many times as fast as ``nn.Linear`` a training
step (forward and backward) of the layer is; above 1 is faster. The two are timed in turn, and the
median over the repetitions is given. Do not run anything else beside it.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from circtools import BlockCirculantLinear
from circtools.layers import ALGORITHMS, choose_algorithm


def step(layer: nn.Module, x: Tensor) -> Callable[[], None]:
    """Return one forward and backward pass as a function without arguments."""
    def run() -> None:
        layer.zero_grad(set_to_none=True)
        layer(x).sum().backward()

    return run


def ratio(reference: Callable[[], None], other: Callable[[], None], repeats: int) -> float:
    """Return how many times as fast ``other`` is, timed in turn with ``reference``."""
    ratios = []
    for repeat in range(repeats + 2):
        seconds = []
        for run in (reference, other):
            start = time.perf_counter()
            for _ in range(5):
                run()
            seconds.append(time.perf_counter() - start)
        if repeat >= 2:  # the first two warm up
            ratios.append(seconds[0] / seconds[1])
    return statistics.median(ratios)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--features", type=int, default=1024, help="input and output width")
    parser.add_argument("--tokens", type=int, default=256, help="rows of the input")
    parser.add_argument("--blocks", type=int, nargs="+", default=[2, 4, 8, 16, 32, 64, 128])
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    n = options.features
    x = torch.randn(options.tokens, n)
    reference = step(nn.Linear(n, n), x)
    print(f"n = {n}, {options.tokens} tokens, {torch.get_num_threads()} threads, "
          f"torch {torch.__version__}; times nn.Linear, forward + backward")
    print("block " + "".join(f"{name:>8}" for name in ALGORITHMS) + "   auto")
    for block in options.blocks:
        cells = [ratio(reference, step(BlockCirculantLinear(n, n, block, algorithm=name), x),
                       options.repeats) for name in ALGORITHMS]
        print(f"{block:5} " + "".join(f"{cell:8.2f}" for cell in cells)
              + f"   {choose_algorithm(block)}")


if __name__ == "__main__":
    main()
